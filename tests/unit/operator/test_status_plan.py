"""What conditions say of what a pass found."""

from __future__ import annotations

import pytest

from laneway_operator.conditions import ConditionType, Reason
from laneway_operator.plan.status import Finding, conditions, failed, held, magnitude, same_but_for_times

TOPICS, LIMITER = ConditionType.TOPICS_READY, ConditionType.LIMITER_READY
GOOD = Finding(LIMITER, True, Reason.READY)
WAITING = Finding(LIMITER, False, Reason.DEPENDENCY_UNAVAILABLE, "Redis is away")
GROWING = Finding(ConditionType.WORKERS_AVAILABLE, True, Reason.PODS_STARTING, "1 of 2")
STUCK = Finding(ConditionType.WORKERS_AVAILABLE, False, Reason.ROLLOUT_STUCK, "0 of 2")
FOREIGN = Finding(TOPICS, False, Reason.FOREIGN_TOPIC, "t exists")


def told(*findings: Finding, paused: str = "") -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in conditions(findings, 7, paused=paused)}


@pytest.mark.parametrize(
    ("findings", "ready", "reconciling", "stalled"),
    [
        pytest.param([GOOD], ("True", "Ready"), "False", "False", id="all is well"),
        pytest.param([GROWING], ("True", "Ready"), "True", "False", id="what grows is ready, and being worked on"),
        pytest.param([STUCK], ("False", "RolloutStuck"), "False", "True", id="a rollout that got stuck is stalled"),
        pytest.param(
            [WAITING], ("False", "DependencyUnavailable"), "True", "False", id="what waiting cures is being worked on"
        ),
        pytest.param([FOREIGN], ("False", "ForeignTopic"), "False", "True", id="what only people cure is stalled"),
        pytest.param(
            [WAITING, FOREIGN], ("False", "ForeignTopic"), "True", "True", id="of both, people hear what they can do"
        ),
    ],
)
def test_ready_reconciling_and_stalled_are_made_of_what_was_found(
    findings: list[Finding], ready: tuple[str, str], reconciling: str, stalled: str
) -> None:
    found = told(*findings)
    assert (found["Ready"], found["Reconciling"][0], found["Stalled"][0]) == (ready, reconciling, stalled)
    for finding in findings:
        assert found[finding.type] == ("True" if finding.ok else "False", finding.reason)


def test_every_condition_says_which_generation_it_is_about_and_is_there_once() -> None:
    found = conditions([WAITING, Finding(ConditionType.READY, False, Reason.DELETING)], 7)
    assert {one["observedGeneration"] for one in found} == {7}
    assert len({one["type"] for one in found}) == len(found)


def test_a_pause_is_no_trouble() -> None:
    found = told(GOOD, paused="spec.paused")
    assert (found["Ready"][0], found["Paused"]) == ("True", ("True", "Paused"))


def test_a_long_message_is_cut_to_what_the_schema_allows() -> None:
    found = conditions([Finding(LIMITER, False, Reason.INVALID_SPEC, "x" * 10_000)], 1)
    assert max(len(one["message"]) for one in found) == 4_000


def test_a_held_object_keeps_its_status_and_says_that_it_is_paused() -> None:
    before = {"depth": 5, "conditions": conditions([GOOD], 3)}
    after = held(before, 4)
    assert after["depth"] == 5
    paused = [one for one in after["conditions"] if one["type"] == "Paused"]
    assert [(one["status"], one["observedGeneration"]) for one in paused] == [("True", 4)]
    rest = [one for one in conditions([GOOD], 3) if one["type"] != "Paused"]
    assert [one for one in after["conditions"] if one["type"] != "Paused"] == rest


def test_an_object_whose_pass_broke_is_not_ready_and_else_as_last_seen() -> None:
    before = {"depth": 5, "conditions": conditions([GOOD], 3)}
    after = failed(before, 4, ValueError("never thought of"))
    found = {one["type"]: (one["status"], one["reason"]) for one in after["conditions"]}
    assert found["Ready"] == ("False", "ReconcileError")
    assert found["Reconciling"] == ("True", "ReconcileError")
    assert (found["LimiterReady"], found["Stalled"]) == (("True", "Ready"), ("False", "UpToDate"))
    assert after["depth"] == 5
    assert "never thought of" in after["conditions"][0]["message"]


def test_statuses_are_compared_without_the_times_of_their_conditions() -> None:
    one = {"depth": 1, "conditions": [{"type": "Ready", "lastTransitionTime": "a"}]}
    other = {"depth": 2, "lanes": None, "conditions": [{"type": "Ready", "lastTransitionTime": "b"}]}
    assert not same_but_for_times(one, other)
    assert same_but_for_times(one, other, without=("depth",))


@pytest.mark.parametrize(("count", "order"), [(None, 0), (0, 0), (1, 1), (9, 1), (10, 2), (99, 2), (100, 3)])
def test_the_order_of_magnitude_of_a_depth(count: int | None, order: int) -> None:
    assert magnitude(count) == order
