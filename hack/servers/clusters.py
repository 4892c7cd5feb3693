"""The three kinds of cluster that `hack/cluster` knows: one that is given, one made by kind, and our own node."""

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from servers import kubernetes_build
from servers.kube_client import KubeClient
from servers.node import images
from servers.node.needs import NODE_PROGRAMS, lacks_for_node
from servers.node.run import run
from servers.node.settings import Layout
from servers.node.start import enter, in_new_namespaces
from servers.node.state import NodeState, remove_folder

Say = Callable[[str], None]
_KIND = "laneway"
_KIND_CONFIG = """kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    kubeadmConfigPatches:
      - |
        kind: ClusterConfiguration
        controllerManager:
          extraArgs:
            horizontal-pod-autoscaler-sync-period: 5s
"""
_WITH_NAMES = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


class ClusterFailed(RuntimeError):
    """A cluster cannot do what was asked of it; the message says what would be right."""


class Cluster(ABC):
    """One kind of cluster, whether or not it is up."""

    kind: str
    kubeconfig: Path

    @abstractmethod
    def lacks(self) -> list[str]:
        """What is missing for this kind on this machine, in sentences; empty if nothing."""

    @abstractmethod
    def running(self) -> bool:
        """True if it is up."""

    @abstractmethod
    def up(self, say: Say) -> None:
        """Bring it up, unless it is."""

    @abstractmethod
    def down(self, say: Say) -> None:
        """Remove all that `up` made."""

    @abstractmethod
    def load_image(self, name: str, archive: Path | None) -> None:
        """Make an image known to the node: from a docker-archive, else from buildah's (kind: Docker's) store."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` where the cluster's addresses are reached."""
        return list(argv)

    def problems(self) -> list[str]:
        """What is wrong with it while it is up."""
        return []


class GivenCluster(Cluster):
    """The cluster of KUBECONFIG: never brought up or down here."""

    kind = "given"

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def lacks(self) -> list[str]:
        if not self.kubeconfig.is_file():
            return [f"KUBECONFIG is set to {self.kubeconfig}, which is no file: unset it, or give one file"]
        return []

    def running(self) -> bool:
        try:
            return not self.lacks() and KubeClient(self.kubeconfig).ready()
        except (KeyError, ValueError, OSError):
            return False

    def up(self, say: Say) -> None:
        if not self.running():
            raise ClusterFailed(f"the cluster of KUBECONFIG={self.kubeconfig} does not answer: start it, or unset it")
        say(f"using the cluster of KUBECONFIG={self.kubeconfig}")

    def down(self, say: Say) -> None:
        say(f"the cluster of KUBECONFIG={self.kubeconfig} is not ours to end")

    def load_image(self, name: str, archive: Path | None) -> None:
        raise ClusterFailed(
            f"a cluster that is given takes its images from a registry: push {name} to one that it reaches"
        )


class KindCluster(Cluster):
    """A cluster in a Docker container."""

    kind = "kind"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kind.kubeconfig"

    def lacks(self) -> list[str]:
        if shutil.which("docker") is None or shutil.which("kind") is None:
            return ["docker and kind are not both on PATH"]
        if subprocess.run(["docker", "info"], capture_output=True, stdin=subprocess.DEVNULL).returncode != 0:
            return ["docker is there, and its daemon does not answer (`docker info`)"]
        return []

    def running(self) -> bool:
        return self.kubeconfig.is_file() and KubeClient(self.kubeconfig).ready()

    def up(self, say: Say) -> None:
        if self.running():
            return
        self.folder.mkdir(exist_ok=True)
        say("creating a cluster by kind")
        argv = ["kind", "create", "cluster", "--name", _KIND, "--wait", "120s", "--config", "-"]
        run([*argv, "--kubeconfig", str(self.kubeconfig)], text=_KIND_CONFIG)

    def down(self, say: Say) -> None:
        run(["kind", "delete", "cluster", "--name", _KIND, "--kubeconfig", str(self.kubeconfig)])
        self.kubeconfig.unlink(missing_ok=True)
        say("deleted the cluster by kind")

    def load_image(self, name: str, archive: Path | None) -> None:
        if archive is None:
            run(["kind", "load", "docker-image", "--name", _KIND, name])
        else:
            run(["kind", "load", "image-archive", "--name", _KIND, str(archive)])


class NodeCluster(Cluster):
    """Our own node, in namespaces of its own on this machine."""

    kind = "node"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder / "node")
        self.state_file = folder / "node.json"
        self.kubeconfig = self.layout.api / "admin.kubeconfig"

    def lacks(self) -> list[str]:
        return lacks_for_node()

    def running(self) -> bool:
        state = NodeState.load(self.state_file)
        return state is not None and state.entrance() is not None

    def problems(self) -> list[str]:
        state = NodeState.load(self.state_file)
        dead = state.dead() if state is not None else []
        return [f"{name} has ended (log {self.layout.logs / name}.log)" for name in dead]

    def up(self, say: Say) -> None:
        if self.running():
            if problems := self.problems():
                raise ClusterFailed(f"{'; '.join(problems)}: `hack/cluster down`, then up again")
            return
        self.down(lambda _line: None)
        kubernetes_build.build((*NODE_PROGRAMS, "helm"), say)
        images.ensure("pause", say)
        self.layout.folder.mkdir(parents=True)
        say("starting the node")
        status = in_new_namespaces([sys.executable, str(Path(__file__).parents[1] / "cluster"), "start-node"])
        if status != 0:
            # Its logs are worth more than a clean folder.
            raise ClusterFailed(
                f"the node did not start; logs are in {self.layout.logs}; `hack/cluster down` clears up"
            )

    def down(self, say: Say) -> None:
        state = NodeState.load(self.state_file)
        ended = state.end() if state is not None else 0
        say(f"ended the node ({ended} processes)" if ended else "no node was running")
        if self.layout.folder.exists():
            remove_folder(self.layout.folder)
        self.state_file.unlink(missing_ok=True)

    def command(self, argv: Sequence[str]) -> list[str]:
        # The names of Services are found too: /etc/resolv.conf is the cluster's for the command alone.
        private = ["unshare", "--mount", "--propagation", "private"]
        inside = [*private, "sh", "-c", _WITH_NAMES, "sh", str(self.layout.resolv_conf), *argv]
        return [*enter(self._entrance()), *inside]

    def load_image(self, name: str, archive: Path | None) -> None:
        address = str(self.layout.folder / "run" / "containerd.sock")
        ctr = ["ctr", "--address", address, "-n", "k8s.io", "images"]
        self._entrance()
        with tempfile.TemporaryDirectory(prefix="laneway-image-") as work:
            if archive is None:
                archive = Path(work) / "image.tar"
                images.export(name, archive)
            run([*ctr, "import", "--all-platforms", "--no-unpack", str(archive)])
        if name not in run([*ctr, "list", "-q"]).split():
            raise ClusterFailed(f"{archive} does not hold an image called {name}: give the name with its tag, as in it")

    def _entrance(self) -> int:
        state = NodeState.load(self.state_file)
        process = state.entrance() if state is not None else None
        if process is None:
            raise ClusterFailed("the node is not up: `hack/cluster up` first")
        return process.pid


def choose(folder: Path) -> Cluster:
    """The kind to use: that of KUBECONFIG, else the one that is up, else kind where it works, else the node."""
    if given := os.environ.get("KUBECONFIG"):
        # Commands that `hack/cluster exec` runs have our own node's.
        own = NodeCluster(folder)
        return own if Path(given) == own.kubeconfig else GivenCluster(Path(given))
    kind, node = KindCluster(folder), NodeCluster(folder)
    if node.running():
        return node
    return kind if not kind.lacks() else node
