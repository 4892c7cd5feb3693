"""Redis or Kafka away: conditions say so, nothing is torn down, other queues go on, and it heals by itself.

One outage for all tests here, since each part of it takes a while: one Redis is killed, another hangs, Kafka hangs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from servers.kafka import KafkaServer
from servers.redis import RedisServer

#: More queues than passes run at once.
_HANGING = tuple(f"hang-{n}" for n in range(20))
_LONG_S = 40.0


@dataclass
class Outage:
    """``lost``, ``hang-0`` to ``hang-19`` and ``unsent`` are queues whose server is away."""

    world: World
    killed: RedisServer
    hanging: RedisServer
    fine: RedisServer
    kafka: KafkaServer
    gateways: dict[str, str]

    def condition(self, queue: str, type: str, status: str, reason: str = "") -> dict[str, str]:
        """A condition of a queue, once it is so."""
        return self.world.told("TaskQueue", queue, type, status, reason, timeout=_LONG_S)


@pytest.fixture(scope="module")
def outage(
    _world_session: World, redis7: RedisServer, redis7_binary: Path, _kafka_session: KafkaServer
) -> Iterator[Outage]:
    world, kafka = _world_session, _kafka_session
    redis7.ensure()
    kafka.ensure()
    with RedisServer(redis7_binary) as killed, RedisServer(redis7_binary) as hanging:
        world.create("TaskQueue", "lost", {"redis": {"url": killed.url}})
        world.create("PriorityLane", "lost-a", {"queueRef": {"name": "lost"}})
        for name in _HANGING:
            world.create("TaskQueue", name, {"redis": {"url": hanging.url}})
        of_kafka = {"bootstrapServers": [kafka.bootstrap], "partitions": 2}
        world.create("TaskQueue", "unsent", {"redis": {"url": redis7.url}, "kafka": of_kafka})
        world.run_queue("lost")
        world.told("PriorityLane", "lost-a", "Ready", "True")
        world.run_queue("unsent")
        for name in _HANGING:
            world.told("TaskQueue", name, "LimiterReady", "True")
        gateways = {name: world.get("Deployment", f"laneway-{name}-gateway")["metadata"]["uid"]
                    for name in ("lost", "hang-0", "unsent")}  # fmt: skip
        killed.kill()
        hanging.pause()
        kafka.pause()
        try:
            yield Outage(world, killed, hanging, redis7, kafka, gateways)
        finally:
            kafka.resume()
            hanging.resume()


@pytest.mark.parametrize("queue", ["lost", "hang-0"])
def test_a_redis_that_is_away_is_told_and_waited_for(outage: Outage, queue: str) -> None:
    outage.condition(queue, "LimiterReady", "False", "DependencyUnavailable")
    server = outage.killed if queue == "lost" else outage.hanging
    assert str(server.port) in outage.condition(queue, "Ready", "False", "DependencyUnavailable")["message"]
    outage.condition(queue, "Reconciling", "True", "DependencyUnavailable")
    outage.condition(queue, "Stalled", "False")


def test_a_lane_says_that_its_queue_can_not_be_reached(outage: Outage) -> None:
    outage.world.told("PriorityLane", "lost-a", "Ready", "False", "DependencyUnavailable", timeout=_LONG_S)


def test_a_kafka_that_is_away_is_told_with_the_topics_as_last_seen(outage: Outage) -> None:
    assert "Kafka" in outage.condition("unsent", "TopicsReady", "False", "DependencyUnavailable")["message"]
    topics = outage.world.get("TaskQueue", "unsent")["status"]["topics"]
    assert [(topic["partitions"], topic["owned"]) for topic in topics] == [(2, True), (1, True), (1, True)]


def test_nothing_is_torn_down_and_pods_need_not_wait(outage: Outage) -> None:
    for queue, uid in outage.gateways.items():
        assert outage.world.get("Deployment", f"laneway-{queue}-gateway")["metadata"]["uid"] == uid
        limits = {"limits": {"maxDepth": 9}, "gateway": {"replicas": 2}}
        outage.world.patch("TaskQueue", queue, {"spec": limits})
    for queue in outage.gateways:
        until(f"2 gateways of {queue}", lambda queue=queue: (  # type: ignore[misc]
            outage.world.get("Deployment", f"laneway-{queue}-gateway")["spec"]["replicas"] == 2
        ))  # fmt: skip


def test_the_limiter_does_not_wait_for_kafka(outage: Outage) -> None:
    outage.world.patch("TaskQueue", "unsent", {"spec": {"limits": {"maxDepth": 11}}})
    limiter = Limiter(outage.fine.url, outage.world.namespace, "unsent")
    until("the limiter follows", lambda: (config := limiter.config()) is not None and config.max_depth == 11)


def test_servers_that_hang_hold_up_no_other_queue(outage: Outage) -> None:
    outage.world.create("TaskQueue", "free", {"redis": {"url": outage.fine.url}})
    outage.world.told("TaskQueue", "free", "LimiterReady", "True", timeout=5)


@pytest.fixture(scope="module")
def recovered(outage: Outage) -> Outage:
    outage.killed.start()
    outage.hanging.resume()
    outage.kafka.resume()
    return outage


@pytest.mark.parametrize("queue", ["lost", *_HANGING])
def test_a_redis_that_is_back_is_configured_as_was_asked_for_meanwhile(recovered: Outage, queue: str) -> None:
    recovered.condition(queue, "LimiterReady", "True")
    server = recovered.killed if queue == "lost" else recovered.hanging
    config = Limiter(server.url, recovered.world.namespace, queue).config()
    assert config is not None
    if queue in recovered.gateways:
        assert config.max_depth == 9


def test_a_kafka_that_is_back_is_used_again(recovered: Outage) -> None:
    recovered.condition("unsent", "TopicsReady", "True")
    recovered.world.patch("TaskQueue", "unsent", {"spec": {"kafka": {"partitions": 4}}})
    until("the topic has grown",
          lambda: recovered.world.get("TaskQueue", "unsent")["status"]["topics"][0]["partitions"] == 4)  # fmt: skip


def test_the_operator_stays_well_through_all_of_this(recovered: Outage) -> None:
    operator = recovered.world.operator
    assert operator.metric("laneway_operator_leader") == 1
    assert operator.metric("laneway_operator_reconciles_total", result="failed") == 0
    assert operator.metric("laneway_operator_reconciles_total", result="timeout") == 0
    for name in ("lost", *_HANGING):  # their servers end with this module
        recovered.world.patch("TaskQueue", name, {"spec": {"drainTimeout": "0s"}})
        recovered.world.delete("TaskQueue", name)
    until("they are gone", lambda: all(recovered.world.find("TaskQueue", name) is None for name in _HANGING))
