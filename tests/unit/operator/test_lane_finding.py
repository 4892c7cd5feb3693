"""What a lane tells of itself, by what its queue's last pass found."""

from __future__ import annotations

import pytest

from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.manifests import PriorityLane
from laneway_operator import names
from laneway_operator.conditions import ConditionType, Reason
from laneway_operator.passes.lane_pass import lane_finding
from laneway_operator.passes.live import LiveQueue, LiveQueues
from laneway_operator.plan.status import Finding

LANE = PriorityLane.model_validate({"metadata": {"name": "a"}, "spec": {"queueRef": {"name": "q"}, "laneName": "high"}})
GOOD = Finding(ConditionType.LIMITER_READY, True, Reason.READY)
AWAY = Finding(ConditionType.LIMITER_READY, False, Reason.DEPENDENCY_UNAVAILABLE, "Redis is away")
CONFIG = QueueConfig(lanes=(LaneConfig(n=1, name="high"),))
OTHER = QueueConfig(lanes=(LaneConfig(n=1, name="low"),))


@pytest.mark.parametrize(
    ("there", "live", "ok", "reason"),
    [
        pytest.param(False, None, False, Reason.QUEUE_NOT_FOUND, id="no queue"),
        pytest.param(True, None, False, Reason.PROGRESSING, id="the queue had no pass yet"),
        pytest.param(True, LiveQueue(GOOD, CONFIG, {"a": 2}), True, Reason.READY, id="in force"),
        pytest.param(True, LiveQueue(GOOD, CONFIG, {"a": 1}), False, Reason.PROGRESSING, id="an older one is in force"),
        pytest.param(True, LiveQueue(GOOD, OTHER, {"a": 2}), False, Reason.PROGRESSING, id="not in force yet"),
        pytest.param(
            True, LiveQueue(AWAY, CONFIG, {"a": 2}), False, Reason.DEPENDENCY_UNAVAILABLE, id="nobody can tell now"
        ),
        pytest.param(
            True, LiveQueue(GOOD, CONFIG, {"a": 2}, {"a": "older"}), False, Reason.RESOURCE_CONFLICT, id="beaten"
        ),
    ],
)
def test_a_lane_is_ready_when_this_generation_of_it_is_in_force(
    there: bool, live: LiveQueue | None, ok: bool, reason: Reason
) -> None:
    found = lane_finding(LANE, 2, there, live)
    assert (found.ok, found.reason) == (ok, reason)


def test_lanes_are_woken_only_when_their_queue_has_news() -> None:
    queues, key = LiveQueues(), names.queue_key("team", "q")
    assert queues.put(key, LiveQueue(GOOD, CONFIG, {"a": 1}))
    assert not queues.put(key, LiveQueue(GOOD, CONFIG, {"a": 1}))
    assert queues.put(key, LiveQueue(GOOD, CONFIG, {"a": 2}))
    queues.forget(key)
    assert queues.get(key) is None
