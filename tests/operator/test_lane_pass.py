"""PriorityLanes become lanes of the live configuration, and tell whether they are in force."""

from __future__ import annotations

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from laneway.model.config import LaneConfig
from servers.redis import RedisServer


@pytest.fixture
def redis(redis7: RedisServer) -> RedisServer:
    redis7.ensure()
    return redis7


class Lanes:
    """One queue and its lanes."""

    def __init__(self, world: World, redis: RedisServer, queue: str) -> None:
        self.world = world
        self.queue = queue
        self.limiter = Limiter(redis.url, world.namespace, queue)
        world.create("TaskQueue", queue, {"redis": {"url": redis.url}})

    def create(self, name: str, **spec: object) -> None:
        """A lane of the queue."""
        self.world.create("PriorityLane", name, {"queueRef": {"name": self.queue}, **spec})

    def live(self, lane: str) -> LaneConfig | None:
        """The lane in the live configuration."""
        config = self.limiter.config()
        return config.lane(lane) if config else None


def test_a_lane_is_in_force_and_says_its_number(world: World, redis: RedisServer) -> None:
    lanes = Lanes(world, redis, "ln")
    lanes.create("ln-high", laneName="high", priority=5, maxRunning=7)
    world.told("PriorityLane", "ln-high", "Ready", "True", "Ready")
    live = lanes.live("high")
    assert live is not None
    status = world.get("PriorityLane", "ln-high")["status"]
    assert (live.prio, live.max, live.n) == (5, 7, status["number"])
    assert status["observedGeneration"] == 1

    world.patch("PriorityLane", "ln-high", {"spec": {"maxRunning": 9}})
    until("generation 2 is told", lambda: (
        world.get("PriorityLane", "ln-high")["status"]["observedGeneration"] == 2
        and world.condition("PriorityLane", "ln-high", "Ready")["status"] == "True"
    ))  # fmt: skip
    changed = lanes.live("high")
    assert changed is not None
    assert (changed.max, changed.n) == (9, live.n)


def test_a_paused_lane_says_so(world: World, redis: RedisServer) -> None:
    lanes = Lanes(world, redis, "lnp")
    lanes.create("lnp-a", laneName="a", paused=True)
    world.told("PriorityLane", "lnp-a", "Ready", "True")
    assert world.condition("PriorityLane", "lnp-a", "Paused")["status"] == "True"
    live = lanes.live("a")
    assert live is not None
    assert live.paused


def test_a_lane_of_no_queue_waits_for_one(world: World, redis: RedisServer) -> None:
    world.create("PriorityLane", "early", {"queueRef": {"name": "later"}})
    told = world.told("PriorityLane", "early", "Ready", "False", "QueueNotFound")
    assert "there is no TaskQueue later" in told["message"]
    world.create("TaskQueue", "later", {"redis": {"url": redis.url}})
    world.told("PriorityLane", "early", "Ready", "True")


def test_of_two_objects_for_one_lane_the_older_wins(world: World, redis: RedisServer) -> None:
    lanes = Lanes(world, redis, "two")
    lanes.create("two-b", laneName="x", priority=1)
    world.next_second()
    lanes.create("two-a", laneName="x", priority=2)
    told = world.told("PriorityLane", "two-a", "Ready", "False", "ResourceConflict")
    assert "the older PriorityLane two-b" in told["message"]
    world.told("PriorityLane", "two-b", "Ready", "True")
    live = lanes.live("x")
    assert live is not None
    assert live.prio == 1
    assert "number" not in world.get("PriorityLane", "two-a")["status"]
    world.delete("PriorityLane", "two-b")
    world.told("PriorityLane", "two-a", "Ready", "True")
    until("the other is in force", lambda: (one := lanes.live("x")) is not None and one.prio == 2)


def test_a_deleted_lane_is_worked_off_and_then_forgotten(world: World, redis: RedisServer) -> None:
    lanes = Lanes(world, redis, "del")
    lanes.create("del-a", laneName="a")
    lanes.create("del-b", laneName="b", priority=3)
    world.told("PriorityLane", "del-a", "Ready", "True")
    world.told("PriorityLane", "del-b", "Ready", "True")
    until("the default lane is a", lambda: (
        (config := lanes.limiter.config()) is not None and config.default_lane == "a"
    ))  # fmt: skip
    lanes.limiter.submit()
    world.delete("PriorityLane", "del-a")
    until("it is gone", lambda: (one := lanes.live("a")) is not None and one.gone)
    held = lanes.limiter.start()
    assert held is not None
    lanes.limiter.end(held)


def test_a_lane_with_the_reconcile_annotation_stays_as_it_is(world: World, redis: RedisServer) -> None:
    lanes = Lanes(world, redis, "lnh")
    lanes.create("lnh-a", laneName="a", priority=1)
    lanes.create("lnh-b", laneName="b", priority=2)
    world.told("PriorityLane", "lnh-a", "Ready", "True")
    world.patch("PriorityLane", "lnh-a", {"metadata": {"annotations": {"laneway.dev/reconcile": "Paused"}}})
    world.told("PriorityLane", "lnh-a", "Paused", "True")
    world.patch("PriorityLane", "lnh-a", {"spec": {"priority": 100}})
    world.patch("PriorityLane", "lnh-b", {"spec": {"priority": 50}})
    until("the other changes", lambda: (one := lanes.live("b")) is not None and one.prio == 50)
    live = lanes.live("a")
    assert live is not None
    assert live.prio == 1
    world.patch("PriorityLane", "lnh-a", {"metadata": {"annotations": {"laneway.dev/reconcile": None}}})
    until("it changes too", lambda: (one := lanes.live("a")) is not None and one.prio == 100)
