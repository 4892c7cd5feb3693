"""The step of a pass that applies what an object owns, and takes away what it no longer wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from laneway_operator import names
from laneway_operator.apply.objects import ForeignObject, apply_if_different, delete_if_owned
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.engine.errors import Unreachable
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.plan.status import Finding
from laneway_operator.toolbox import Toolbox

_CONDITIONS: Final = {
    "gateway": ConditionType.GATEWAY_AVAILABLE,
    "poller": ConditionType.POLLER_AVAILABLE,
    "worker": ConditionType.WORKERS_AVAILABLE,
}
_FOUND: Final[tuple[type[Exception], ...]] = (Unreachable, *TROUBLES)
_LEFTOVER: Final = "waits until {key} is gone, which belonged to a deleted object of this name"


async def apply_objects(tools: Toolbox, owner: Body, wanted: Sequence[Body]) -> dict[str, Finding]:
    """Applies what differs and deletes what ``owner`` owns beside. Returns, by component, what went wrong.

    Raises:
        NotLeading: nothing more was written.
        Unreachable: the API server was not reached; the pass is to be tried again. (What it says of one object, such as
            that a webhook fails, is found, and the others are applied.)
    """
    found: dict[str, Finding] = {}
    applied: list[str] = []
    for desired in wanted:
        key = key_of(desired)
        try:
            if await apply_if_different(tools.cluster, tools.cache, desired):
                applied.append(f"{key.kind} {key.name}")
        except _FOUND as error:
            component = desired["metadata"]["labels"][names.COMPONENT_LABEL]
            if isinstance(error, Unreachable):
                if not error.answered:
                    raise
                finding = Finding(_CONDITIONS[component], False, Reason.DEPENDENCY_UNAVAILABLE, str(error))
            elif isinstance(error, ForeignObject) and _of_a_predecessor(tools, key, owner):
                finding = Finding(_CONDITIONS[component], False, Reason.PROGRESSING, _LEFTOVER.format(key=key))
            else:
                finding = finding_of(_CONDITIONS[component], error)
            found.setdefault(component, finding)
    uid = owner["metadata"]["uid"]
    keep = {key_of(desired) for desired in wanted}
    for body in tools.cache.owned_by(uid):
        key = key_of(body)
        if key.kind in names.OWNED_KINDS and key not in keep:
            await delete_if_owned(tools.cluster, tools.cache, key, uid)
    # The first time goes without saying; hundreds of new queues would else be as many events more.
    if applied and (owner.get("status") or {}).get("observedGeneration"):
        tools.events.emit(owner, EventType.NORMAL, Happening.OBJECTS_APPLIED, f"applied {', '.join(applied)}")
    return found


def _of_a_predecessor(tools: Toolbox, key: ObjectKey, owner: Body) -> bool:
    """Whether an object belongs to one that had the owner's kind and name and was deleted."""
    live = tools.cache.get(key)
    return live is not None and any(
        (one.get("kind"), one.get("name")) == (owner["kind"], owner["metadata"]["name"])
        for one in live["metadata"].get("ownerReferences", ())
    )
