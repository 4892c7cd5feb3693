"""Kills containers as a crash would: SIGKILL to their first process, from outside."""

from __future__ import annotations

import subprocess
from typing import Any

from servers.clusters import Cluster, KindCluster, NodeCluster


class CannotKill(AssertionError):
    """A cluster that is given does not let its nodes' processes be reached."""


def kill_container(cluster: Cluster, pod: dict[str, Any], container: str) -> None:
    """SIGKILL to process 1 of a container; the kubelet then starts it anew in the same pod."""
    (status,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == container)
    runtime, _, identity = status["containerID"].partition("://")
    assert runtime == "containerd", f"containers are run by {runtime}: only containerd is known here"
    kill = ["-n", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", identity]
    if isinstance(cluster, NodeCluster):
        argv = ["ctr", "--address", str(cluster.layout.folder / "run" / "containerd.sock"), *kill]
    elif isinstance(cluster, KindCluster):
        argv = ["docker", "exec", f"{pod['spec']['nodeName']}", "ctr", *kill]
    else:
        raise CannotKill("processes of a cluster that is given can't be killed from here; its pods are deleted instead")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
