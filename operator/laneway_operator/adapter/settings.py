"""The adapter's settings: those of the operator that it shares, and its own."""

from __future__ import annotations

from dataclasses import dataclass

from laneway.kit.names import dns_label
from laneway_operator.permissions import ADAPTER_SECRET
from laneway_operator.settings import OperatorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """What one adapter process goes by."""

    operator: OperatorSettings
    """``namespaces``, ``kubeconfig``, ``context``, ``identity``, the default Redis, and ``host`` and ``port`` of
    health and metrics; the rest is not used."""
    namespace: str = "default"
    """The adapter's own namespace."""
    service: str = "laneway-adapter"
    """The Service in front of the adapter: the API server reaches it by that name, which its certificate has."""
    secret: str = ADAPTER_SECRET
    """The Secret in the own namespace that replicas share their certificates by."""
    owner: str = ""
    """A ClusterRole that the APIService is to go with, so that an uninstalled adapter leaves none behind; "": none."""
    adapter_host: str = "0.0.0.0"
    """Where metrics are served by TLS."""
    adapter_port: int = 6443
    """Where metrics are served by TLS; 0 takes a free port."""
    service_port: int = 443
    """The Service's port."""

    def __post_init__(self) -> None:
        dns_label(self.namespace, "the adapter's namespace")
        dns_label(self.service, "the adapter's Service")
        dns_label(self.secret, "the adapter's Secret")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that the serving certificate has."""
        name = f"{self.service}.{self.namespace}"
        return (f"{name}.svc", f"{name}.svc.cluster.local", name)
