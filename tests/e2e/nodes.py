"""What is done on a node itself, past the API server."""

from __future__ import annotations

import subprocess
from typing import Any

from servers.clusters import Cluster, KindCluster, NodeCluster


class OutOfReach(AssertionError):
    """A cluster that is given does not let its nodes be reached."""


def kill_container(cluster: Cluster, pod: dict[str, Any], container: str) -> None:
    """SIGKILL to process 1 of a container, as a crash would; the kubelet then starts it anew in the same pod."""
    (status,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == container)
    runtime, _, identity = status["containerID"].partition("://")
    assert runtime == "containerd", f"containers are run by {runtime}: only containerd is known here"
    _ctr(cluster, pod["spec"]["nodeName"], "tasks", "kill", "--signal", "SIGKILL", identity)


def tag_image(cluster: Cluster, name: str, other: str) -> None:
    """Another name for an image that the cluster has."""
    _ctr(cluster, "laneway-control-plane", "images", "tag", "--force", name, other)


def _ctr(cluster: Cluster, node: str, *argv: str) -> None:
    if isinstance(cluster, NodeCluster):
        ctr = ["ctr", "--address", str(cluster.layout.folder / "run" / "containerd.sock")]
    elif isinstance(cluster, KindCluster):
        ctr = ["docker", "exec", node, "ctr"]
    else:
        raise OutOfReach("the nodes of a cluster that is given can't be reached from here")
    done = subprocess.run([*ctr, "-n", "k8s.io", *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"ctr {' '.join(argv)}: {done.stderr}"
