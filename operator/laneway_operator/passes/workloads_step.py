"""The step of a pass that tells whether the pods of its object's Deployments work."""

from __future__ import annotations

from functools import partial
from typing import Final

from laneway_operator import names
from laneway_operator.conditions import Condition, ConditionType
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.keys import Body, ObjectKey
from laneway_operator.plan.status import Finding
from laneway_operator.plan.workloads import pods

_CONDITIONS: Final = {
    "gateway": ConditionType.GATEWAY_AVAILABLE,
    "poller": ConditionType.POLLER_AVAILABLE,
    "worker": ConditionType.WORKERS_AVAILABLE,
}


def deployment_of(cache: ObjectCache, owner: ObjectKey, component: str) -> Body | None:
    """The newest body of a part's Deployment; ``owner`` is a queue's key, or a pool's for workers."""
    name = {"gateway": names.gateway_name, "poller": names.poller_name, "worker": names.worker_name}[component]
    return cache.get(ObjectKey("Deployment", owner.namespace, name(owner.name)))


def workload(
    cache: ObjectCache, owner: Body, key: ObjectKey, component: str, wanted: int | None, was: Body | None
) -> Finding:
    """Whether a part's pods work. ``was`` is its Deployment as it was before this pass, and ``owner`` the object with
    the status that was told last."""
    now, type = deployment_of(cache, key, component), _CONDITIONS[component]
    return pods(
        type,
        now,
        wanted,
        before=told_last(owner, type),
        changed=was is not None and now is not None and was["spec"]["template"] != now["spec"]["template"],
        there=partial(_pods, cache, key, component),
    )


def told_last(body: Body, type: ConditionType) -> Condition | None:
    """The condition of this type that an object's status has."""
    said: list[Condition] = (body.get("status") or {}).get("conditions") or []
    return next((one for one in said if one["type"] == type), None)


def _pods(cache: ObjectCache, owner: ObjectKey, component: str) -> list[Body]:
    index = "pool" if component == "worker" else "queue"
    found = cache.find(index, owner.namespace, owner.name, names.POD)
    return [pod for pod in found if pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) == component]
