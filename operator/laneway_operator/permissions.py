"""All that the operator may do at the API server, each with its reason: the one source of it.

The chart's roles grant exactly this (a test compares them), `laneway-operator check` asks the API server for
exactly this, and docs/reference/permissions.md is generated from it (hack/docs_chart.py).

What is not here is on purpose. Secrets are read one by one by the names that manifests give, so nobody who
holds the operator's token can list them; and what is in one is never changed, only a missing one made.
CustomResourceDefinitions and Namespaces are not read: the chart installs the ones and the settings name the others, so
kopf's own scanning is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LEASE = "laneway-operator"
"""The name of the Lease that the leader holds, in the operator's own namespace, unless the settings say another."""

ADAPTER_SECRET = "laneway-adapter-tls"
"""The Secret that replicas of the adapter share their certificates by, unless the settings say another."""

ADAPTER_ROLE = "laneway-adapter"
"""The adapter's own ClusterRole, which the APIService is uninstalled with, unless the settings say another."""

APISERVICE = "v1beta1.external.metrics.k8s.io"
"""The APIService that leads the API server to the metrics adapter."""


class Part(StrEnum):
    """Who needs a permission."""

    OPERATOR = "operator"
    ADAPTER = "adapter"


class Where(StrEnum):
    """Where a permission holds."""

    WATCHED = "watched namespaces"
    """In each namespace that the operator watches: in all when none is named."""
    OWN = "own namespace"
    """In the namespace that the operator runs in."""
    CLUSTER = "cluster"
    """For objects that belong to no namespace."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one resource of one API group, and why they are needed."""

    part: Part
    where: Where
    group: str
    """The API group; empty: the core group."""
    resource: str
    """The plural name, with `/subresource` if it is one."""
    verbs: tuple[str, ...]
    why: str
    name: str = ""
    """The only object that it holds for; empty: all."""


def _operator(group: str, resource: str, verbs: str, why: str) -> Permission:
    return Permission(Part.OPERATOR, Where.WATCHED, group, resource, tuple(verbs.split()), why)


_OWNED = "get list watch create patch delete"
"""create: server-side apply, a patch, needs it where the object is not there yet; get: to see whose an object is that
stands in the way; delete: what is not wanted any more, such as a PodDisruptionBudget of one replica."""

PERMISSIONS: tuple[Permission, ...] = (
    _operator(
        "laneway.dev",
        "taskqueues",
        "list watch patch",
        "wakes a pass on each change; patch puts on the finalizer that cleans up, and takes it off",
    ),
    _operator("laneway.dev", "workerpools", "list watch", "wakes a pass on each change"),
    _operator("laneway.dev", "prioritylanes", "list watch", "wakes a pass on each change"),
    _operator("laneway.dev", "taskqueues/status", "patch", "says in the status what was observed"),
    _operator("laneway.dev", "workerpools/status", "patch", "says in the status what was observed and decided"),
    _operator("laneway.dev", "prioritylanes/status", "patch", "says in the status what was observed"),
    _operator(
        "laneway.dev",
        "taskqueues/finalizers",
        "update",
        "owns Deployments and more by ownerReferences that block deletion; some clusters ask for this right then",
    ),
    _operator(
        "laneway.dev",
        "workerpools/finalizers",
        "update",
        "owns Deployments and more by ownerReferences that block deletion; some clusters ask for this right then",
    ),
    _operator("apps", "deployments", _OWNED, "runs gateways, pollers and workers, and repairs them"),
    _operator("", "services", _OWNED, "gives each queue's gateway its address"),
    _operator("policy", "poddisruptionbudgets", _OWNED, "keeps gateways, pollers and workers through node drains"),
    _operator("networking.k8s.io", "networkpolicies", _OWNED, "lets in only what gateways, pollers and workers serve"),
    _operator(
        "autoscaling",
        "horizontalpodautoscalers",
        _OWNED,
        "makes one for a WorkerPool with scaling.controller: HorizontalPodAutoscaler",
    ),
    _operator("", "pods", "list watch patch", "reads workers' pods; patch writes which of them are idle enough to go"),
    _operator("", "secrets", "get", "reads the credentials that a manifest names, by name only"),
    _operator(
        "",
        "secrets",
        "create",
        "makes <queue>-gateway-keys, once, for a queue that says nothing of authentication (no name bounds create)",
    ),
    _operator("", "events", "create", "tells transitions, refusals and abandoned clean-ups as events"),
    Permission(
        Part.OPERATOR,
        Where.OWN,
        "coordination.k8s.io",
        "leases",
        ("create",),
        "makes the Lease that replicas elect their leader by (a name cannot bound create)",
    ),
    Permission(
        Part.OPERATOR,
        Where.OWN,
        "coordination.k8s.io",
        "leases",
        ("get", "update"),
        "takes, renews and gives back the leader's Lease",
        LEASE,
    ),
    Permission(
        Part.ADAPTER,
        Where.WATCHED,
        "laneway.dev",
        "taskqueues",
        ("list",),
        "finds the Redis of the queue whose metric is asked for",
    ),
    Permission(
        Part.ADAPTER,
        Where.WATCHED,
        "laneway.dev",
        "workerpools",
        ("list",),
        "finds the pool that a metric is asked for",
    ),
    Permission(
        Part.ADAPTER,
        Where.WATCHED,
        "",
        "secrets",
        ("get",),
        "reads the credentials of Redis that a TaskQueue names, by name only",
    ),
    Permission(
        Part.ADAPTER,
        Where.CLUSTER,
        "apiregistration.k8s.io",
        "apiservices",
        ("get", "create", "patch"),
        "registers itself, and renews the certificate that the API server trusts it by",
        APISERVICE,
    ),
    Permission(
        Part.ADAPTER,
        Where.CLUSTER,
        "authorization.k8s.io",
        "subjectaccessreviews",
        ("create",),
        "asks the API server whether whoever reads a metric may",
    ),
    Permission(
        Part.ADAPTER,
        Where.CLUSTER,
        "rbac.authorization.k8s.io",
        "clusterroles",
        ("get",),
        "has its own ClusterRole own the APIService, so that an uninstalled adapter leaves none behind",
        ADAPTER_ROLE,
    ),
    Permission(
        Part.ADAPTER,
        Where.OWN,
        "",
        "secrets",
        ("create",),
        "makes the Secret with its certificates (a name cannot bound create)",
    ),
    Permission(
        Part.ADAPTER,
        Where.OWN,
        "",
        "secrets",
        ("get", "update"),
        "keeps its certificates, which replicas share, and renews them",
        ADAPTER_SECRET,
    ),
    Permission(
        Part.ADAPTER,
        Where.OWN,
        "",
        "events",
        ("create",),
        "tells of an APIService that belongs to another adapter",
    ),
)
"""In the order that the docs show. One entry for each reason; no entry grants what another does."""


def needed(*, adapter: bool = False) -> Iterator[Permission]:
    """What the operator needs, or instead the metrics adapter."""
    part = Part.ADAPTER if adapter else Part.OPERATOR
    return (permission for permission in PERMISSIONS if permission.part is part)
