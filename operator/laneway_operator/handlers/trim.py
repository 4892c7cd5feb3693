"""What of each object is kept in memory: what passes read, and no more. Pure."""

from __future__ import annotations

from typing import Any

from laneway_operator import names
from laneway_operator.keys import Body

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_META = ("name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp", "deletionTimestamp")


def without_last_applied(body: Body) -> Body:
    """Without the annotation in which kubectl keeps a copy of the whole object."""
    annotations = body["metadata"].get("annotations")
    if not annotations or _LAST_APPLIED not in annotations:
        return body
    rest = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return {**body, "metadata": {**body["metadata"], "annotations": rest}}


def pod(body: Body) -> Body:
    """A pod's names, owners and deletion cost; its node, phase, readiness, address and restarts."""
    meta, status = body["metadata"], body.get("status", {})
    kept: dict[str, Any] = {name: meta[name] for name in _POD_META if name in meta}
    if meta.get("ownerReferences"):
        kept["ownerReferences"] = meta["ownerReferences"]
    cost = meta.get("annotations", {}).get(names.DELETION_COST)
    if cost is not None:
        kept["annotations"] = {names.DELETION_COST: cost}
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": kept,
        "spec": {"nodeName": body.get("spec", {}).get("nodeName", "")},
        "status": {
            "phase": status.get("phase", ""),
            "podIP": status.get("podIP", ""),
            "startTime": status.get("startTime", ""),
            "conditions": [entry for entry in status.get("conditions", ()) if entry.get("type") == "Ready"],
        },
    }


TRIMMERS = {
    **dict.fromkeys((*names.OUR_KINDS, *names.OWNED_KINDS), without_last_applied),
    names.POD: pod,
}
