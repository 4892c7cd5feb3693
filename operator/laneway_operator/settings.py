"""The operator's settings: one frozen dataclass, checked as it is made.

Each comes from a flag of `laneway-operator run` or from ``LANEWAY_OPERATOR_<FIELD>``; flags win.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from laneway.kit.names import dns_label
from laneway_operator.permissions import LEASE

ENV_PREFIX = "LANEWAY_OPERATOR"
RUNTIME_IMAGE = "laneway:latest"
_LABEL_KEY = re.compile(r"([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


class SecretRef(NamedTuple):
    """A key of a Secret that is in the namespace of whoever refers to it."""

    name: str
    key: str


class Label(NamedTuple):
    """A label that an object has."""

    key: str
    value: str


def secret_ref(text: str) -> SecretRef:
    """``NAME/KEY``. Raises ValueError saying what would be right."""
    name, slash, key = text.partition("/")
    if not (slash and name and key) or "/" in key:
        raise ValueError(f"must be NAME/KEY of a Secret, such as redis/url, not {text[:80]!r}")
    dns_label(name, "the name of a Secret")
    return SecretRef(name, key)


def label(text: str) -> Label:
    """``KEY=VALUE``. Raises ValueError saying what would be right."""
    key, equals, value = text.partition("=")
    if not (equals and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
        raise ValueError(f"must be KEY=VALUE of a label, such as laneway.dev/usable=true, not {text[:80]!r}")
    return Label(key, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """What one operator process goes by. Times are in seconds."""

    namespaces: tuple[str, ...] = ()
    """The namespaces that are watched; empty: all."""
    kubeconfig: str = ""
    """A kubeconfig file; "": the one of the environment or home if there is one, or the pod's own account."""
    context: str = ""
    """The kubeconfig's context; "": the current one."""
    identity: str = ""
    """Who this process is, in the Lease, in events and in logs; a suffix of its own is added, so that no two
    processes are the same. "": the pod's name, or host-pid."""
    lease_name: str = LEASE
    lease_namespace: str = "default"
    """Where the Lease is: the operator's own namespace."""
    lease_duration: float = 10.0
    """After so long without a renewal another process may lead."""
    lease_renew: float = 2.0
    """The leader renews this often."""
    lease_margin: float = 4.0
    """The leader stops so long before another may lead; longer than any request of its own takes."""
    runtime_image: str = RUNTIME_IMAGE
    """The image of gateways and pollers whose TaskQueue names none."""
    redis_url: str = ""
    """The Redis of TaskQueues without spec.redis; "": they must name theirs."""
    redis_secret: SecretRef | None = None
    """Instead of ``redis_url``: a Secret in the TaskQueue's own namespace that has the URL."""
    secrets_label: Label | None = None
    """The label that a Secret must have before anything of it is used; None: TaskQueues and WorkerPools may name any of
    their namespace."""
    max_passes: int = 16
    """How many passes run at once."""
    pass_timeout: float = 60.0
    """After so long a pass is cancelled and tried again."""
    stop_grace: float = 20.0
    """So long passes may go on after SIGTERM."""
    host: str = "0.0.0.0"
    """Where health and metrics are served."""
    port: int = 8081
    """Where health and metrics are served."""
    cleanup_deadline: float = 60.0
    """So long after its drainTimeout a deleted TaskQueue waits for what can't be reached, before it goes without."""
    resync: float = 600.0
    """All objects are listed anew this often, in case a watch missed a deletion."""

    def __post_init__(self) -> None:
        for namespace in self.namespaces:
            dns_label(namespace, "the name of a namespace")
        dns_label(self.lease_namespace, "the lease's namespace")
        if self.redis_url and self.redis_secret:
            raise ValueError("the default Redis is given by its URL or by a Secret, not by both")
        if self.redis_url.startswith("unix:"):
            raise ValueError(
                "the default Redis must be named by HOST:PORT, such as redis://redis.data:6379, not a socket"
            )
        if not self.lease_renew * 2 <= self.lease_duration - self.lease_margin:
            raise ValueError(
                f"the lease's duration ({self.lease_duration:g} s) must be at least its margin ({self.lease_margin:g}"
                f" s) and two renewals ({self.lease_renew:g} s each), or one lost renewal ends the leadership"
            )
        if not 1 <= self.max_passes <= 256:
            raise ValueError(f"max_passes must be 1 to 256, not {self.max_passes}")
        if not self.runtime_image:
            raise ValueError("the runtime image must be named, such as registry.example.com/laneway:1.0")

    @property
    def clusterwide(self) -> bool:
        """Whether all namespaces are watched."""
        return not self.namespaces


def default_identity(environ: Mapping[str, str] = os.environ) -> str:
    """The pod's name, or host-pid."""
    return environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


def unique_identity(name: str) -> str:
    """``name`` with a suffix that no other process has: even one that was given the same name is another."""
    return f"{name}_{secrets.token_hex(4)}"
