"""Where the node keeps what, its addresses, and the configuration files of its parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from servers.node.images import IMAGES
from servers.node.needs import CNI_PLUGINS

NAME = "laneway"
ADDRESS = "10.99.0.1"
"""The node's own address, where the API server (port 6443) and the DNS server (port 53) listen."""
API_PORT = 6443
PODS = "10.244.0.0/24"
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Layout:
    """The folders of a node, all under one."""

    folder: Path

    @property
    def usual(self) -> dict[str, Path]:
        """What stands in the usual places in the node's own mount namespace, and where that really is.

        Programs have these paths built in, and the paths of sockets have to be short.
        """
        return {
            "/var/lib/kubelet": self.folder / "kubelet",
            "/var/lib/containerd": self.folder / "containerd",
            "/var/lib/cni": self.folder / "cni",
            "/var/log/pods": self.folder / "logs" / "pods",
            "/var/log/containers": self.folder / "logs" / "containers",
            "/run/containerd": self.folder / "run",
        }

    @property
    def config(self) -> Path:
        """Configuration files and kubeconfigs."""
        return self.folder / "config"

    @property
    def logs(self) -> Path:
        """The log of each part."""
        return self.folder / "logs"

    @property
    def api(self) -> Path:
        """The API server's and etcd's folder, with all certificates."""
        return self.folder / "api"

    @property
    def resolv_conf(self) -> Path:
        """What /etc/resolv.conf is to pods of the host network, and to `hack/cluster exec`."""
        return self.config / "resolv.conf"


def containerd(layout: Layout) -> str:
    """config.toml of containerd 1.6 or newer."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGES["pause"].name}"
  # Where the machine does not let a process have a lower score than its parent, runc could not start it.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{layout.config / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def cni() -> dict[str, Any]:
    """The pods' network: one bridge."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        # Nothing leaves the node, so pods are seen by their own addresses everywhere.
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": NAME, "plugins": [bridge, ports]}


def kubelet(layout: Layout, cgroup_root: str, cert: Path, key: Path, client_ca: Path) -> dict[str, Any]:
    """The kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(cert),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDomain": DOMAIN,
        "clusterDNS": [ADDRESS],
        "resolvConf": str(layout.resolv_conf),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # A development machine's disk may be rather full.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
        "registryPullQPS": 0,
        "nodeStatusUpdateFrequency": "5s",
        "featureGates": {},
    }


def kube_proxy(kubeconfig: Path) -> dict[str, Any]:
    """kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "iptables": {"minSyncPeriod": "200ms", "syncPeriod": "30s"},
        # The limits on connections are the machine's, not ours to change.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def corefile(kubeconfig: Path) -> str:
    """CoreDNS's configuration: the cluster's names, and for all others that there is no such name."""
    zones = f"{DOMAIN} in-addr.arpa ip6.arpa"
    return f"""{zones} {{
    bind {ADDRESS}
    errors
    kubernetes {zones} {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
. {{
    bind {ADDRESS}
    errors
    ready {ADDRESS}:8181
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def write_yaml(path: Path, document: dict[str, Any]) -> Path:
    """Write one document; JSON files are YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path
