"""What people read of a scaling decision: ``status.scaling`` and the condition ScalingActive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from laneway.policy.scaling import Decision, LimitedBy, Work
from laneway_operator.conditions import Condition, ConditionType, Reason, condition

#: A new limit at the same size is told this long (s) after the last decision that was told: it may come and go each
#: second, and a status is not for that.
_SAME_SIZE_S: Final = 30.0


def is_news(told: Mapping[str, Any] | None, decision: Decision, shadow: bool, now: datetime) -> bool:
    """Whether a status that says ``told`` has to be written anew: at once for another size, or when reading began or
    ceased to work; a while later for another limit at the same size."""
    if not told or bool(told.get("shadow")) != shadow or told.get("desired") != decision.desired:
        return True
    limit = told.get("limitedBy")
    if limit == decision.limited_by:
        return False
    if LimitedBy.UNREADABLE in (limit, decision.limited_by):
        return True
    return (now - _parsed(told.get("decidedAt"))).total_seconds() >= _SAME_SIZE_S


def scaling_status(
    decision: Decision, work: Work | None, *, slots: int, replicas: int | None, shadow: bool, now: datetime
) -> dict[str, Any]:
    """``status.scaling`` of a decision: its inputs, its formula, and what limited it. Fields that are None are left
    out by who writes it."""
    inputs: dict[str, Any] = {"slotsPerReplica": slots, "replicas": replicas}
    if work is not None:
        inputs |= {"queued": work.queued, "running": work.running}
        if work.run_s > 0:
            inputs["meanRunMilliseconds"] = round(work.run_s * 1000)
    return {
        "decidedAt": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "desired": decision.desired,
        "raw": decision.raw,
        "formula": decision.formula[:512],
        "limitedBy": str(decision.limited_by),
        "inputs": {name: value for name, value in inputs.items() if value is not None},
        "shadow": shadow,
    }


def scaling_condition(told: Mapping[str, Any], generation: int) -> Condition:
    """ScalingActive for a decision that was told as ``told``."""
    formula = str(told["formula"])
    limit, desired = told["limitedBy"], told["desired"]
    if limit == LimitedBy.UNREADABLE:
        return active(False, Reason.METRIC_UNREADABLE, formula, generation)
    if told.get("shadow"):
        return active(True, Reason.SHADOW, f"would have {desired} replicas: {formula}", generation)
    if limit == LimitedBy.PAUSED:
        return active(True, Reason.QUEUE_PAUSED, f"{desired} replicas: {formula}", generation)
    if desired == 0:
        return active(True, Reason.SCALED_TO_ZERO, f"nothing to do: {formula}", generation)
    return active(True, Reason.SCALED, f"{desired} replicas: {formula}", generation)


def active(status: bool, reason: Reason, message: str, generation: int) -> Condition:
    """The condition ScalingActive."""
    return condition(ConditionType.SCALING_ACTIVE, status, reason, message, generation=generation)


def _parsed(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
