"""The command `hack/cluster`."""

import argparse
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servers import kubernetes_build
from servers.clusters import Cluster, ClusterFailed, NodeCluster, choose
from servers.kube_client import KubeError
from servers.node import images
from servers.node.needs import lacks_for_images
from servers.node.run import CommandFailed
from servers.node.start import NodeStart
from servers.process import ServerFailed


def main(argv: Sequence[str], folder: Path, about: str) -> int:
    """Run the command; its state is in `folder`. 1 if it fails, or for `status` if no cluster is up."""
    options = _parse(argv, about)
    try:
        return _act(options, folder)
    except (ClusterFailed, CommandFailed, ServerFailed, KubeError, kubernetes_build.BuildFailed) as error:
        print(error, file=sys.stderr)
        return 1


def _act(options: argparse.Namespace, folder: Path) -> int:
    match options.action:
        case "build":
            kubernetes_build.build(options.program or kubernetes_build.PROGRAMS, _say)
        case "base-image":
            return _make_images(options.image or ["base"])
        case "start-node":
            # Called by `up` alone, in namespaces of the node's own.
            node = NodeCluster(folder)
            NodeStart(node.layout, node.state_file, _cgroup(folder)).run()
        case "status":
            return _status(choose(folder), options.json)
        case "up":
            with _alone(folder):
                return _up(choose(folder))
        case "down":
            with _alone(folder):
                choose(folder).down(_say)
        case "load-image":
            choose(folder).load_image(options.name, options.archive)
        case "exec":
            return _exec(choose(folder), options.command)
    return 0


def _up(cluster: Cluster) -> int:
    if not cluster.running() and (lacks := cluster.lacks()):
        raise ClusterFailed("\n".join([f"no cluster can be started here ({cluster.kind}):", *lacks]))
    cluster.up(_say)
    print(f"up ({cluster.kind}); kubeconfig {cluster.kubeconfig}")
    if isinstance(cluster, NodeCluster):
        print("reached from within its own network only: hack/cluster exec kubectl get pods -A")
    return 0


def _status(cluster: Cluster, as_json: bool) -> int:
    running = cluster.running()
    lacks = [] if running else cluster.lacks()
    problems = cluster.problems() if running else []
    if as_json:
        said = {"kind": cluster.kind, "running": running, "lacks": lacks, "problems": problems}
        print(json.dumps({**said, "kubeconfig": str(cluster.kubeconfig)}))
        return 0 if running and not problems else 1
    if running:
        print(f"a cluster is up ({cluster.kind}); kubeconfig {cluster.kubeconfig}")
    elif lacks:
        print(f"no cluster is up, and none can be started here ({cluster.kind}):")
    else:
        print(f"no cluster is up; `hack/cluster up` would start one ({cluster.kind})")
    for line in (*lacks, *problems):
        print(f"  {line}")
    return 0 if running and not problems else 1


def _exec(cluster: Cluster, command: Sequence[str]) -> int:
    argv = list(command[1:] if command[:1] == ["--"] else command)
    if not argv:
        raise ClusterFailed("say what to run: hack/cluster exec kubectl get pods -A")
    if not cluster.running():
        raise ClusterFailed(f"the cluster ({cluster.kind}) is not up: `hack/cluster up` first")
    found = (kubernetes_build.find(program) for program in ("kubectl", "helm"))
    folders = dict.fromkeys(str(program.parent) for program in found if program is not None)
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    wrapped = cluster.command(argv)
    try:
        os.execvpe(wrapped[0], wrapped, env)
    except OSError as error:
        raise ClusterFailed(f"{wrapped[0]} could not be run: {error}") from error


def _make_images(keys: Sequence[str]) -> int:
    if lacks := lacks_for_images():
        raise ClusterFailed("\n".join(["no images can be made here:", *lacks]))
    for key in keys:
        archive = images.ensure(key, _say)
        print(f"{images.IMAGES[key].name} {archive}")
    return 0


def _parse(argv: Sequence[str], about: str) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="cluster", description=about, formatter_class=raw)
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="up|down|status|exec|load-image|base-image|build"
    )
    actions.add_parser("up", help="bring the cluster up; the first time programs are built (some minutes)")
    actions.add_parser("down", help="end it and remove all that up made")
    status = actions.add_parser("status", help="say which cluster is up, or what this machine lacks for one")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    run = actions.add_parser("exec", help="run a command in the cluster's network, with KUBECONFIG, kubectl and helm")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    load = actions.add_parser("load-image", help="give the cluster an image of buildah's store (kind: Docker's)")
    load.add_argument("name", help="with its tag, such as localhost/laneway:dev")
    load.add_argument("archive", nargs="?", type=Path, help="take it from this docker-archive instead")
    base = actions.add_parser("base-image", help="make images where no registry is reached, and print their names")
    base.add_argument("image", nargs="*", help=f"{', '.join(images.IMAGES)}; base if not said")
    build = actions.add_parser("build", help="build Kubernetes' own programs, Helm and CoreDNS into the cache")
    build.add_argument("program", nargs="*", help="all if not said")
    actions.add_parser("start-node")
    options = parser.parse_args(argv)
    for name, known in (("image", tuple(images.IMAGES)), ("program", kubernetes_build.PROGRAMS)):
        if unknown := set(getattr(options, name, ())) - set(known):
            parser.error(f"no such {name}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return options


def _cgroup(folder: Path) -> str:
    """A cgroup of this clone's own: a kubelet ends all that it does not know under its root."""
    return f"/laneway-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One `up` or `down` at a time."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
