"""Starts the node, from inside namespaces that `unshare` has just made for it."""

import json
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from servers.envtest import Envtest
from servers.kube_client import KubeClient, KubeError
from servers.kubernetes_build import find
from servers.node import settings
from servers.node.images import IMAGES
from servers.node.run import run
from servers.node.settings import ADDRESS, API_PORT, NAME, Layout, write_yaml
from servers.node.state import NodeState, cgroup_controllers, own_mount_namespace
from servers.process import ServerFailed, ServerProcess

_READY_S = 90.0
# What the kubelet sets for the machine as a whole, when its folder is another's too.
_SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_KEYS = ("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")


class NodeStart:
    """One start of a node in this process's namespaces; everything that it does is in `state`'s file at once."""

    def __init__(self, layout: Layout, state_file: Path, cgroup: str) -> None:
        self.layout = layout
        self._file = state_file
        self.state = NodeState(own_mount_namespace(), cgroup=cgroup)

    def run(self) -> None:
        """Start everything; return when the node is Ready. Raises ServerFailed, KubeError, CommandFailed."""
        self._keep_what_the_kubelet_changes()
        self._mount()
        self._network()
        api = Envtest(
            API_PORT,
            self.layout.api,
            host=ADDRESS,
            aggregator_routing=True,
            extra=["disable-admission-plugins=", "endpoint-reconciler-type=lease"],
        )
        self.state.kubeconfig = str(api.kubeconfig)
        api.start()
        self._record("etcd", api.etcd.process)
        self._record("kube-apiserver", api.process)
        self._controllers(api)
        self._containerd()
        self._kubelet(api)
        self._dns(api)
        self._wait_for_node(api.admin)

    def _keep_what_the_kubelet_changes(self) -> None:
        for name in (*_SYSCTLS, *_KEYS):
            self.state.sysctls[name] = Path("/proc/sys", name).read_text().strip()
        self.state.save(self._file)

    def _mount(self) -> None:
        # Mounts made from here on reach containers, and nothing outside this namespace.
        run(["mount", "--make-rshared", "/"])
        for place, real in self.layout.usual.items():
            real.mkdir(parents=True, exist_ok=True)
            target = Path(place)
            for folder in (*reversed(target.parents), target):
                if not folder.exists():
                    folder.mkdir()
                    self.state.made.append(str(folder))
            self.state.save(self._file)
            run(["mount", "--bind", str(real), place])
            run(["mount", "--make-shared", place])
        for controller in cgroup_controllers():
            (controller / self.state.cgroup.strip("/")).mkdir(exist_ok=True)

    def _network(self) -> None:
        # Both ends stay in here: no packet can leave. The default route lets connections to Service addresses
        # begin, which kube-proxy's rules then turn to pods.
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "link", "add", "node0", "type", "veth", "peer", "name", "nowhere"])
        run(["ip", "address", "add", f"{ADDRESS}/24", "dev", "node0"])
        for link in ("node0", "nowhere"):
            run(["ip", "link", "set", link, "up"])
        run(["ip", "route", "add", "default", "dev", "node0"])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if bridged.exists():
            bridged.write_text("1")
        resolv_conf = self.layout.resolv_conf
        resolv_conf.parent.mkdir(parents=True, exist_ok=True)
        resolv_conf.write_text(f"nameserver {ADDRESS}\nsearch svc.{settings.DOMAIN} {settings.DOMAIN}\n")

    def _controllers(self, api: Envtest) -> None:
        manager = api.user_kubeconfig("system:kube-controller-manager")
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={manager}",
            f"--root-ca-file={api.authority.cert}",
            f"--service-account-private-key-file={api.service_account_key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--horizontal-pod-autoscaler-sync-period=5s",
        )
        scheduler = api.user_kubeconfig("system:kube-scheduler")
        self._start("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--bind-address=127.0.0.1")

    def _containerd(self) -> None:
        config = self.layout.config / "containerd.toml"
        config.write_text(settings.containerd(self.layout))
        network = self.layout.config / "cni" / "10-laneway.conflist"
        network.parent.mkdir(parents=True, exist_ok=True)
        network.write_text(json.dumps(settings.cni()))
        process = self._start("containerd", f"--config={config}", program="containerd")
        process.wait_ready(lambda: _listens("/run/containerd/containerd.sock"), _READY_S)
        pause = IMAGES["pause"]
        run(["ctr", "-n", "k8s.io", "images", "import", str(pause.archive)])

    def _kubelet(self, api: Envtest) -> None:
        node = api.user_kubeconfig(f"system:node:{NAME}", groups=["system:nodes"])
        serving = api.authority.issue("kubelet", hosts=[NAME, ADDRESS])
        config = settings.kubelet(
            self.layout, self.state.cgroup, serving.cert, serving.key, client_ca=api.authority.cert
        )
        self._start(
            "kubelet",
            f"--config={write_yaml(self.layout.config / 'kubelet.yaml', config)}",
            f"--kubeconfig={node}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        )
        proxy = settings.kube_proxy(api.user_kubeconfig("system:kube-proxy"))
        self._start("kube-proxy", f"--config={write_yaml(self.layout.config / 'kube-proxy.yaml', proxy)}")

    def _dns(self, api: Envtest) -> None:
        corefile = self.layout.config / "Corefile"
        corefile.write_text(settings.corefile(api.user_kubeconfig("coredns", groups=["system:masters"])))
        dns = self._start("coredns", f"-conf={corefile}")
        dns.wait_ready(lambda: _connects(ADDRESS, 53), _READY_S)

    def _wait_for_node(self, admin: KubeClient) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if dead := self.state.dead():
                raise ServerFailed(f"{dead[0]} ended while starting:\n{self._tail(dead[0])}")
            if _node_ready(admin) and _has_default_account(admin):
                return
            time.sleep(0.1)
        raise ServerFailed(f"the node was not ready within {_READY_S:g} s; the kubelet says:\n{self._tail('kubelet')}")

    def _start(self, name: str, *arguments: str, program: str | None = None) -> ServerProcess:
        binary = program or str(find(name))
        log = self.layout.logs / f"{name}.log"
        process = ServerProcess(name, [binary, *arguments], cwd=self.layout.folder, log=log)
        process.start()
        self._record(name, process)
        return process

    def _record(self, name: str, process: ServerProcess) -> None:
        process.detach()
        self.state.processes[name] = (process.pid, psutil.Process(process.pid).create_time())
        self.state.save(self._file)

    def _tail(self, name: str) -> str:
        lines = (self.layout.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


def enter(pid: int) -> list[str]:
    """The command line that enters the network namespace of the process `pid`."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def in_new_namespaces(argv: Sequence[str]) -> int:
    """Run `argv` in new network and mount namespaces; its exit status."""
    return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", *argv]).returncode


def _node_ready(admin: KubeClient) -> bool:
    try:
        conditions = admin.request("GET", f"/api/v1/nodes/{NAME}")["status"].get("conditions", [])
    except KubeError as error:
        if error.status == 404:
            return False
        raise
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _has_default_account(admin: KubeClient) -> bool:
    """True once pods are admitted into the namespace `default`."""
    status, _text = admin.raw("GET", "/api/v1/namespaces/default/serviceaccounts/default")
    return status == 200


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
