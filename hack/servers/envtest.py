"""A real Kubernetes API server on its own etcd, on loopback: no node, no controllers, so nothing runs in it.

Authorization is RBAC and the aggregation layer is on, as on a real cluster. `admin` may do all; other users
and ServiceAccounts get kubeconfigs of their own, so that a program can be tested with just its own rights.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from servers.certificates import Authority, signing_key
from servers.etcd import EtcdServer
from servers.kube_client import Credentials, KubeClient
from servers.kubernetes_build import find
from servers.ports import free_port
from servers.process import DataFolder, ServerFailed, ServerProcess

_READY_S = 60.0
_SERVICES = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"


class Envtest:
    """One API server with its etcd. `port` None takes a free one; `dir` None takes a temporary folder.

    `extra` is more of kube-apiserver's command line; a flag that is here already is replaced. An APIService
    whose Service is of the type ExternalName (`localhost`) reaches a server that the test runs itself; with
    `aggregator_routing` on, requests go to a Service's endpoints instead, as they must where kube-proxy runs
    in another network. `controllers` are those of kube-controller-manager that are to run, by its own names, such
    as "garbage-collector-controller" and "namespace-controller".
    """

    def __init__(
        self,
        port: int | None = None,
        dir: Path | None = None,
        *,
        host: str = "127.0.0.1",
        aggregator_routing: bool = False,
        controllers: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> None:
        self.host = host
        self.port = free_port() if port is None else port
        self._folder = DataFolder(dir, "laneway-kubernetes-")
        self.dir = self._folder.path
        pki = self.dir / "pki"
        self.authority = Authority(pki, "kubernetes")
        front = Authority(pki, "front-proxy-ca")
        self.service_account_key, public = signing_key(pki / "service-accounts.key")
        serving = self.authority.issue(
            "kube-apiserver",
            hosts=[
                *("localhost", "127.0.0.1", host, _FIRST_SERVICE),
                *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
            ],
        )
        to_kubelet = self.authority.issue("kube-apiserver-kubelet-client", groups=["system:masters"])
        to_extensions = front.issue("front-proxy")
        self.front_proxy_ca = front.cert
        self.etcd = EtcdServer(_program("etcd"), self.dir / "etcd")
        flags = {
            "etcd-servers": self.etcd.url,
            "bind-address": host,
            "advertise-address": host,
            "secure-port": str(self.port),
            "tls-cert-file": str(serving.cert),
            "tls-private-key-file": str(serving.key),
            "client-ca-file": str(self.authority.cert),
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",
            "service-cluster-ip-range": _SERVICES,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(public),
            "service-account-signing-key-file": str(self.service_account_key),
            "kubelet-client-certificate": str(to_kubelet.cert),
            "kubelet-client-key": str(to_kubelet.key),
            "kubelet-preferred-address-types": "InternalIP",
            "requestheader-client-ca-file": str(front.cert),
            "requestheader-allowed-names": "front-proxy",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": str(to_extensions.cert),
            "proxy-client-key-file": str(to_extensions.key),
            "enable-aggregator-routing": str(aggregator_routing).lower(),
            # No controller makes the default ServiceAccount, without which this plugin would refuse all pods.
            "disable-admission-plugins": "ServiceAccount",
            # A loopback address is no valid endpoint of the Service `kubernetes`.
            "endpoint-reconciler-type": "none",
        }
        for flag in extra:
            name, _, value = flag.removeprefix("--").partition("=")
            flags[name] = value
        argv = [str(_program("kube-apiserver")), *(f"--{name}={value}" for name, value in flags.items() if value)]
        self.process = ServerProcess(
            f"kube-apiserver on port {self.port}", argv, cwd=self.dir, log=self.dir / "kube-apiserver.log"
        )
        self.kubeconfig = self.user_kubeconfig("admin", groups=["system:masters"])
        """The kubeconfig of the user `admin`, who may do all."""
        self.manager = self._manager(controllers) if controllers else None

    @property
    def url(self) -> str:
        """Where the API server listens; its certificate is signed by `authority`."""
        return f"https://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The API server's process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """True while the API server's process runs."""
        return self.process.alive

    @property
    def admin(self) -> KubeClient:
        """Requests by the user `admin`."""
        return KubeClient(self.kubeconfig)

    def start(self) -> "Envtest":
        """Start etcd and the API server; return once /readyz says ok (so with RBAC's own roles made)."""
        self.etcd.start()
        # A third of its time goes into collecting garbage by default; it lives for minutes and may take some memory.
        self.process.start({"GOGC": os.environ.get("GOGC", "300")})
        self.process.wait_ready(self.admin.ready, _READY_S)
        if self.manager is not None:
            self.manager.start()
        return self

    def stop(self) -> None:
        """SIGTERM to the API server, then to etcd; the data stays."""
        if self.manager is not None:
            self.manager.kill()
        # It ends watches only after a minute: what a test leaves open must not hold it up.
        self.process.stop(timeout=3)
        self.etcd.stop()

    def kill(self) -> None:
        """SIGKILL to the API server, as a crash would; etcd goes on."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP to the API server: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def restart(self) -> None:
        """Stop, and start on the same port and data."""
        self.stop()
        self.start()

    def ensure(self) -> None:
        """Running and answering again, whatever was done to it."""
        self.resume()
        self.start()

    def close(self) -> None:
        """Stop it, and delete its folder if that was a temporary one."""
        if self._folder.temporary:
            # Nothing of this is read again.
            self.kill()
            self.etcd.process.kill()
        self.stop()
        self._folder.remove()

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig by client certificate for a user of these groups."""
        pair = self.authority.issue(user, file=f"user-{_file_name(user)}", groups=groups)
        credentials = Credentials(self.url, self.authority.cert, pair.cert, pair.key)
        return credentials.write(self.dir / f"{_file_name(user)}.kubeconfig")

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig by a token of this ServiceAccount (made if it is not there), good for so many seconds."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        self.admin.apply(f"{accounts}/{name}", account)
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        token = self.admin.request("POST", f"{accounts}/{name}/token", wanted)["status"]["token"]
        credentials = Credentials(self.url, self.authority.cert, token=token)
        return credentials.write(self.dir / f"sa-{_file_name(namespace)}-{_file_name(name)}.kubeconfig")

    def create_namespace(self, prefix: str = "test-") -> str:
        """Create a namespace of a new name, and return the name."""
        metadata = {"generateName": prefix}
        made = self.admin.request("POST", "/api/v1/namespaces", {"metadata": metadata})
        return str(made["metadata"]["name"])

    def _manager(self, controllers: Sequence[str]) -> ServerProcess:
        argv = [
            str(_program("kube-controller-manager")),
            f"--kubeconfig={self.user_kubeconfig('system:kube-controller-manager')}",
            f"--controllers={','.join(controllers)}",
            f"--service-account-private-key-file={self.service_account_key}",
            f"--root-ca-file={self.authority.cert}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # It serves nothing that is asked for here.
            "--secure-port=0",
        ]
        log = self.dir / "kube-controller-manager.log"
        return ServerProcess("kube-controller-manager", argv, cwd=self.dir, log=log)

    def __enter__(self) -> "Envtest":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _program(name: str) -> Path:
    found = find(name)
    if found is None:
        raise ServerFailed(f"{name} is not there: see `hack/parts up kubernetes`")
    return found


def _file_name(user: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", user)
