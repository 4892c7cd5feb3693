"""What a machine needs to run the node or to make its images, and what it lacks of that."""

import os
import shutil
import sys
from pathlib import Path

from servers import kubernetes_build

CNI_PLUGINS = Path("/usr/lib/cni")
_NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "buildah": "buildah",
    "gcc": "gcc libc6-dev",
}
"""Commands, and the Debian package that brings each."""
_IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
NODE_PROGRAMS = (*_PROGRAMS, "coredns")


def lacks_for_node() -> list[str]:
    """What this machine lacks to run the node, in sentences; built programs count if they can be built."""
    lacks = _lacks(_NODE, "run the node")
    if not (CNI_PLUGINS / "bridge").exists():
        lacks.append(f"no CNI plugins in {CNI_PLUGINS} (Debian: apt-get install containernetworking-plugins)")
    if absent := kubernetes_build.cannot_build(NODE_PROGRAMS):
        lacks.append(absent)
    return lacks


def lacks_for_images() -> list[str]:
    """What this machine lacks to make images, in sentences."""
    return _lacks(_IMAGES, "make images")


def _lacks(commands: dict[str, str], purpose: str) -> list[str]:
    lacks = []
    if sys.platform != "linux":
        lacks.append(f"only Linux can {purpose}")
    elif os.geteuid() != 0:
        lacks.append(f"only root can {purpose}")
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        packages = dict.fromkeys(commands[command] for command in absent)
        names = f"{', '.join(absent)}: not on PATH"
        lacks.append(f"{names} (Debian: apt-get install --no-install-recommends {' '.join(packages)})")
    return lacks
