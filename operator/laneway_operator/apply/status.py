"""Status, written when it differs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from laneway.kit.logs import get_logger
from laneway_operator.apply.compare import fingerprint
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.keys import Body, key_of

_log = get_logger(__name__)


class _Refused(NamedTuple):
    """The API server made another status out of one that was applied (a field that its schema does not have)."""

    wanted: str
    got: str


async def write_status_if_different(
    cluster: Cluster, cache: ObjectCache, body: Body, status: Body, *, now: datetime | None = None
) -> bool:
    """Makes the status of ``body`` be ``status``, whole. Returns whether something was written.

    Conditions come without lastTransitionTime: it stays while a condition's status stays, and is ``now`` else.
    Fields that are None are left out.

    Raises:
        NotLeading: nothing was written.
        NotFound: the object is gone.
        ClusterError: the API server refused, or was not reached.
    """
    key = key_of(body)
    known = cache.get(key)
    live: Body = (known if known is not None else body).get("status") or {}
    wanted = timed(_without_none(status), live, now or datetime.now(UTC))
    if wanted == live:
        return False
    note = cache.note(key)
    prints = fingerprint(wanted), fingerprint(live)
    if isinstance(note, _Refused) and note == prints:
        return False
    named: Body = {
        "apiVersion": body["apiVersion"],
        "kind": key.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": wanted,
    }
    answer = await cluster.patch_status(named)
    answer.setdefault("kind", key.kind)
    cache.put(answer, ours=True)
    got = answer.get("status") or {}
    if got != wanted:
        _log.warning("the API server did not take over all of a status", object=str(key))
    cache.set_note(key, _Refused(prints[0], fingerprint(got)))
    return True


def timed(status: Body, live: Body, now: datetime) -> Body:
    """``status`` with the times of its conditions: those of ``live`` where the condition's status is the same."""
    if "conditions" not in status:
        return status
    old = {condition["type"]: condition for condition in live.get("conditions") or ()}
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = []
    for condition in status["conditions"]:
        before = old.get(condition["type"])
        same = before is not None and before.get("status") == condition["status"]
        conditions.append(
            {**condition, "lastTransitionTime": before["lastTransitionTime"] if before and same else stamp}
        )
    return {**status, "conditions": conditions}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
