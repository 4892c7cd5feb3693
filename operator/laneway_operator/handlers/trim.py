"""What of each object is kept in memory: what passes read, and no more. Pure."""

from __future__ import annotations

from typing import Any, Final

from laneway_operator import names
from laneway_operator.keys import Body

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_META = ("name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp", "deletionTimestamp")
#: So much (characters) is kept of what a container or the scheduler says of a failure.
_LONGEST: Final = 400


def without_last_applied(body: Body) -> Body:
    """Without the annotation in which kubectl keeps a copy of the whole object."""
    annotations = body["metadata"].get("annotations")
    if not annotations or _LAST_APPLIED not in annotations:
        return body
    rest = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return {**body, "metadata": {**body["metadata"], "annotations": rest}}


def pod(body: Body) -> Body:
    """A pod's names, owners and deletion cost; its node, phase, readiness and address; and, of one that is not well,
    what is wrong with it."""
    meta, status = body["metadata"], body.get("status", {})
    kept: dict[str, Any] = {name: meta[name] for name in _POD_META if name in meta}
    if meta.get("ownerReferences"):
        kept["ownerReferences"] = meta["ownerReferences"]
    cost = meta.get("annotations", {}).get(names.DELETION_COST)
    if cost is not None:
        kept["annotations"] = {names.DELETION_COST: cost}
    told: dict[str, Any] = {
        "phase": status.get("phase", ""),
        "podIP": status.get("podIP", ""),
        "startTime": status.get("startTime", ""),
        "conditions": [_bounded(entry) for entry in status.get("conditions", ()) if _says(entry)],
    }
    for field in ("initContainerStatuses", "containerStatuses"):
        if ill := [found for entry in status.get(field) or () if (found := _failure(entry))]:
            told[field] = ill
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": kept,
        "spec": {"nodeName": body.get("spec", {}).get("nodeName", "")},
        "status": told,
    }


def _says(condition: Body) -> bool:
    """Whether a pod's condition is read: its readiness, and that no node has room for it."""
    return condition.get("type") == "Ready" or (
        condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    )


def _failure(container: Body) -> Body | None:
    """Why a container does not run, or what it ended of before; None for one that is well."""
    if container.get("ready"):
        return None
    found: Body = {}
    for field in ("state", "lastState"):
        states = container.get(field) or {}
        kept = {name: _bounded(states[name]) for name in ("waiting", "terminated") if states.get(name)}
        if kept:
            found[field] = kept
    return {"name": container.get("name", ""), "image": container.get("image", ""), **found} if found else None


def _bounded(said: Body) -> Body:
    """Without what is not read, and with the message's end only if it is long: a log's last lines say the most."""
    kept: Body = {name: said[name] for name in ("type", "status", "reason", "exitCode", "message") if name in said}
    if len(kept.get("message") or "") > _LONGEST:
        kept["message"] = kept["message"][:_LONGEST] if "exitCode" not in kept else kept["message"][-_LONGEST:]
    return kept


TRIMMERS = {
    **dict.fromkeys((*names.OUR_KINDS, *names.OWNED_KINDS), without_last_applied),
    names.POD: pod,
}
