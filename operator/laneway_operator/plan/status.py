"""What the status of an object says, from what a pass found. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from laneway_operator.conditions import Condition, ConditionType, Reason, condition
from laneway_operator.keys import Body

#: The CRDs bound messages.
_LONGEST: Final = 4_000

#: Waiting cures none of these: somebody has to do something.
STALLED: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.QUEUE_NOT_FOUND,
        Reason.SECRET_NOT_FOUND,
        Reason.SECRET_INVALID,
        Reason.ACCESS_DENIED,
        Reason.RESOURCE_CONFLICT,
        Reason.FOREIGN_TOPIC,
        Reason.TOPICS_LACKING,
        Reason.KAFKA_REFUSED,
        Reason.SERVER_REFUSED,
        Reason.SCHEMA_TOO_NEW,
        Reason.REDIS_MOVED,
        Reason.ROLLOUT_STUCK,
    }
)

#: What is under way: no news, and no trouble.
_UNDER_WAY: Final = frozenset({Reason.PROGRESSING, Reason.PODS_STARTING})


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pass found of one aspect. ``ok`` None: not known."""

    type: ConditionType
    ok: bool | None
    reason: Reason
    message: str = ""


def conditions(findings: Sequence[Finding], generation: int, *, paused: str = "") -> list[Condition]:
    """All conditions of an object: those of the findings, and Ready, Reconciling, Stalled and Paused made of them.
    ``paused`` says why it is, if it is."""
    trouble = [finding for finding in findings if not finding.ok]
    stalled = next((finding for finding in trouble if finding.reason in STALLED), None)
    working = next((finding for finding in trouble if finding.reason not in STALLED), None)
    # What somebody has to do something about is told first.
    worst = stalled or working
    # What works, and is not yet as large as asked for, is being worked on and ready.
    working = working or next((finding for finding in findings if finding.reason is Reason.PODS_STARTING), None)
    made = [
        Finding(ConditionType.READY, False, worst.reason, worst.message)
        if worst
        else Finding(ConditionType.READY, True, Reason.READY),
        Finding(ConditionType.RECONCILING, True, working.reason, working.message)
        if working
        else Finding(ConditionType.RECONCILING, False, Reason.UP_TO_DATE),
        Finding(ConditionType.STALLED, True, stalled.reason, stalled.message)
        if stalled
        else Finding(ConditionType.STALLED, False, Reason.UP_TO_DATE),
        Finding(ConditionType.PAUSED, True, Reason.PAUSED, paused)
        if paused
        else Finding(ConditionType.PAUSED, False, Reason.NOT_PAUSED),
    ]
    # A finding of a type that is made of all of them (Ready) has been told by that.
    own = [finding for finding in findings if finding.type not in {one.type for one in made}]
    return [_condition(finding, generation) for finding in (*made, *own)]


def held(status: Mapping[str, Any], generation: int, *, deleting: bool = False) -> Body:
    """The status of an object whose reconciliation an annotation has stopped: as it was, and paused. ``deleting``: it
    is being deleted, and that waits too."""
    waits = ", and so the object's deletion waits" if deleting else ""
    said = f"the annotation laneway.dev/reconcile: Paused stops all changes{waits}"
    paused = Finding(ConditionType.PAUSED, True, Reason.PAUSED, said)
    before = [one for one in status.get("conditions") or () if one["type"] != ConditionType.PAUSED]
    return {**status, "conditions": [*before, _condition(paused, generation)]}


def failed(status: Mapping[str, Any], generation: int, error: Exception) -> Body:
    """The status of an object whose pass broke: as it was, but not ready."""
    finding = Finding(
        ConditionType.READY, False, Reason.RECONCILE_ERROR, f"the operator's own error, see its log: {error!r}"
    )
    made = conditions([finding], generation)[:2]  # Ready and Reconciling; the others are as last seen
    kept = [one for one in status.get("conditions") or () if one["type"] not in {each["type"] for each in made}]
    return {**status, "conditions": [*made, *kept]}


def same_but_for_times(one: Mapping[str, Any], other: Mapping[str, Any], *, without: Collection[str] = ()) -> bool:
    """Whether two statuses say the same, whenever their conditions became so; fields in ``without`` do not count."""
    return _plain(one, without) == _plain(other, without)


def magnitude(count: int | None) -> int:
    """The order of magnitude of a count: 0 for none, 1 for 1 to 9, 2 for 10 to 99 and so on."""
    return len(str(count)) if count else 0


def told(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions whose changes are worth an event: that something is under way is not."""
    return [one for one in conditions if one["reason"] not in _UNDER_WAY]


def _condition(finding: Finding, generation: int) -> Condition:
    message = finding.message if len(finding.message) <= _LONGEST else f"{finding.message[: _LONGEST - 3]}..."
    return condition(finding.type, finding.ok, finding.reason, message, generation=generation)


def _plain(status: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    kept = {name: value for name, value in status.items() if name not in without and value is not None}
    if "conditions" in kept:
        kept["conditions"] = [
            {name: value for name, value in one.items() if name != "lastTransitionTime"} for one in kept["conditions"]
        ]
    return kept
