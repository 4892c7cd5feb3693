"""A deleted TaskQueue drains, goes by its policy, and is never held up for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until
from tests.operator.topics import TestTopics

from laneway.model.topics import TopicSpec
from servers.kafka import KafkaServer
from servers.ports import free_port
from servers.redis import RedisServer


@pytest.fixture
def redis(redis7: RedisServer) -> RedisServer:
    redis7.ensure()
    return redis7


def create(world: World, name: str, redis: str, kafka: str = "", **spec: Any) -> list[str]:
    """A queue that is ready but for its pods; returns the names of its topics."""
    of_kafka = {"kafka": {"bootstrapServers": [kafka]}, "source": "Direct"} if kafka else {}
    world.create("TaskQueue", name, {"redis": {"url": redis}, **of_kafka, **spec})
    return [f"laneway.{world.namespace}.{name}.{part}" for part in ("events", "dead")]


def test_retain_leaves_topics_and_data_and_a_new_queue_goes_on(
    world: World, redis: RedisServer, kafka: KafkaServer
) -> None:
    topics = create(world, "keep", redis.url, kafka.bootstrap)
    world.told("TaskQueue", "keep", "TopicsReady", "True")
    world.told("TaskQueue", "keep", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "keep")
    limiter.submit()
    world.delete("TaskQueue", "keep")
    until("it is gone", lambda: world.find("TaskQueue", "keep") is None)
    assert world.find("Service", "laneway-keep") is None
    assert world.find("Deployment", "laneway-keep-gateway") is None
    config = limiter.config()
    assert config is not None
    assert config.paused  # nothing starts while nobody owns it
    assert set(TestTopics(kafka.bootstrap).get(*topics)) == set(topics)

    # Without Adopt they are foreign to it, as the manifest's reference says.
    create(world, "keep", redis.url, kafka.bootstrap)
    world.told("TaskQueue", "keep", "TopicsReady", "False", "ForeignTopic")
    world.patch("TaskQueue", "keep", {"spec": {"kafka": {"topics": "Adopt"}}})
    world.told("TaskQueue", "keep", "TopicsReady", "True")
    world.told("TaskQueue", "keep", "LimiterReady", "True")
    until("the task that was kept starts", limiter.start)
    # No garbage collector runs here, so the first one's poller is there yet: that is no conflict.
    told = world.told("TaskQueue", "keep", "PollerAvailable", "False", "Progressing")
    assert "belonged to a deleted object of this name" in told["message"]
    world.delete("Deployment", "laneway-keep-poller")
    until("ours is made", lambda: world.find("Deployment", "laneway-keep-poller"))


def test_delete_takes_topics_and_data_with_it(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    topics = create(world, "away", redis.url, kafka.bootstrap, deletionPolicy="Delete")
    world.told("TaskQueue", "away", "TopicsReady", "True")
    world.told("TaskQueue", "away", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "away")
    limiter.submit()
    assert limiter.keys() > 3
    world.delete("TaskQueue", "away")
    until("it is gone", lambda: world.find("TaskQueue", "away") is None)
    assert limiter.keys() == 0
    assert topics[0] in world.event("away", "QueueErased")[2]
    until("the topics are gone", lambda: TestTopics(kafka.bootstrap).get(*topics) == {})


def test_delete_takes_no_topic_that_is_not_its_own(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    there = TestTopics(kafka.bootstrap)
    name = f"laneway.{world.namespace}.mixed.events"
    there.make(TopicSpec(name, 1, 1))
    events, dead = create(world, "mixed", redis.url, kafka.bootstrap, deletionPolicy="Delete")
    world.told("TaskQueue", "mixed", "TopicsReady", "False", "ForeignTopic")
    world.delete("TaskQueue", "mixed")
    until("it is gone", lambda: world.find("TaskQueue", "mixed") is None)
    until("ours is gone", lambda: list(there.get(events, dead)) == [events])


def test_what_runs_may_end_before_the_queue_goes_and_nothing_new_starts(world: World, redis: RedisServer) -> None:
    create(world, "drain", redis.url, deletionPolicy="Delete", drainTimeout="10m")
    world.told("TaskQueue", "drain", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "drain")
    limiter.submit()
    limiter.submit()
    held = limiter.start()
    assert held is not None
    world.delete("TaskQueue", "drain")
    told = world.told("TaskQueue", "drain", "Ready", "False", "Deleting")
    assert told["message"] == "1 tasks still run"
    assert limiter.start() is None
    assert world.find("Service", "laneway-drain") is None
    limiter.end(held)
    until("it is gone", lambda: world.find("TaskQueue", "drain") is None)
    assert limiter.keys() == 0


def test_a_task_that_does_not_end_holds_the_queue_no_longer_than_said(world: World, redis: RedisServer) -> None:
    create(world, "hang", redis.url, drainTimeout="2s")
    world.told("TaskQueue", "hang", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "hang")
    limiter.submit()
    assert limiter.start() is not None
    world.delete("TaskQueue", "hang")
    until("it is gone", lambda: world.find("TaskQueue", "hang") is None)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_redis_that_is_gone_holds_nothing_up(
    world: World, new_redis: Callable[..., RedisServer], policy: str
) -> None:
    name, own = f"noredis-{policy.lower()}", new_redis()
    create(world, name, own.url, deletionPolicy=policy, drainTimeout="1s")
    world.told("TaskQueue", name, "LimiterReady", "True")
    own.kill()
    world.delete("TaskQueue", name)
    until("it is gone", lambda: world.find("TaskQueue", name) is None, timeout=30)
    type, _, message = world.event(name, "CleanupAbandoned")
    assert type == "Warning"
    assert f"laneway:{{{world.namespace}/{name}}}:*" in message


def test_a_kafka_that_is_gone_holds_nothing_up_and_redis_is_still_cleaned(world: World, redis: RedisServer) -> None:
    topics = create(world, "nokafka", redis.url, f"127.0.0.1:{free_port()}", deletionPolicy="Delete", drainTimeout="0s")
    world.told("TaskQueue", "nokafka", "LimiterReady", "True")
    world.told("TaskQueue", "nokafka", "TopicsReady", "False", "DependencyUnavailable")
    # As if they had been made in better times.
    listed = [{"name": name, "cluster": "some", "partitions": 1, "owned": True} for name in topics]
    world.patch("TaskQueue", "nokafka", {"status": {"topics": listed}}, "status")
    world.delete("TaskQueue", "nokafka")
    until("it is gone", lambda: world.find("TaskQueue", "nokafka") is None, timeout=30)
    assert topics[0] in world.event("nokafka", "CleanupAbandoned")[2]
    assert Limiter(redis.url, world.namespace, "nokafka").keys() == 0


def test_a_secret_that_is_missing_holds_nothing_up(world: World) -> None:
    world.create("TaskQueue", "gone", {
        "redis": {"secretRef": {"name": "gone-redis", "key": "url"}}, "drainTimeout": "0s",
    })  # fmt: skip
    world.told("TaskQueue", "gone", "Ready", "False", "SecretNotFound")
    world.delete("TaskQueue", "gone")
    until("it is gone", lambda: world.find("TaskQueue", "gone") is None, timeout=30)
    assert "gone-redis" in world.event("gone", "CleanupAbandoned")[2]


def test_a_secret_that_went_first_does_not_hold_up_a_queue_that_retains_everything(
    world: World, redis: RedisServer
) -> None:
    world.secret("sgone", url=redis.url)
    world.create("TaskQueue", "sgone", {
        "redis": {"secretRef": {"name": "sgone", "key": "url"}}, "drainTimeout": "1h",
    })  # fmt: skip
    world.told("TaskQueue", "sgone", "LimiterReady", "True")
    world.delete("Secret", "sgone")
    world.told("TaskQueue", "sgone", "LimiterReady", "False", "SecretNotFound", timeout=40)
    world.delete("TaskQueue", "sgone")
    until("it is gone", lambda: world.find("TaskQueue", "sgone") is None)
    message = world.event("sgone", "CleanupAbandoned")[2]
    assert "Secret sgone" in message and "stay, as asked for" in message


def test_a_secret_of_kafka_that_is_missing_does_not_keep_a_retained_queue_from_draining(
    world: World, redis: RedisServer, kafka: KafkaServer
) -> None:
    sasl = {"mechanism": "ScramSha512", "username": "u", "passwordSecretRef": {"name": "kgone", "key": "p"}}
    world.secret("kgone", p="x")
    world.create("TaskQueue", "nosasl", {"redis": {"url": redis.url}, "drainTimeout": "1h"})
    world.told("TaskQueue", "nosasl", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "nosasl")
    limiter.submit()
    held = limiter.start()
    assert held is not None
    of_kafka = {"bootstrapServers": [kafka.bootstrap], "sasl": sasl}
    world.delete("Secret", "kgone")
    world.patch("TaskQueue", "nosasl", {"spec": {"kafka": of_kafka, "source": "Direct"}})
    world.delete("TaskQueue", "nosasl")
    assert world.told("TaskQueue", "nosasl", "Ready", "False", "Deleting")["message"] == "1 tasks still run"
    limiter.end(held)
    until("it is gone", lambda: world.find("TaskQueue", "nosasl") is None)


def test_a_paused_reconciliation_stops_deletion_too(world: World, redis: RedisServer) -> None:
    create(world, "halted", redis.url, deletionPolicy="Delete")
    world.told("TaskQueue", "halted", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "halted")
    limiter.submit()
    world.patch("TaskQueue", "halted", {"metadata": {"annotations": {"laneway.dev/reconcile": "Paused"}}})
    world.told("TaskQueue", "halted", "Paused", "True")
    keys = limiter.keys()
    world.delete("TaskQueue", "halted")
    until("it says that deletion waits", lambda: (
        "deletion waits" in world.condition("TaskQueue", "halted", "Paused").get("message", "")
    ))  # fmt: skip
    assert limiter.keys() == keys
    config = limiter.config()
    assert config is not None and not config.paused
    assert world.find("Service", "laneway-halted") is not None
    world.patch("TaskQueue", "halted", {"metadata": {"annotations": {"laneway.dev/reconcile": None}}})
    until("it is gone", lambda: world.find("TaskQueue", "halted") is None)
    assert limiter.keys() == 0


def test_a_queue_whose_default_lane_is_deleted_with_it_still_starts_nothing_more(
    world: World, redis: RedisServer
) -> None:
    world.create("PriorityLane", "tog-bulk", {"queueRef": {"name": "tog"}, "laneName": "bulk"})
    create(
        world,
        "tog",
        redis.url,
        defaultLane="bulk",
        drainTimeout="1h",
        tenants={"overrides": [{"name": "t", "weight": 3}]},
    )
    world.told("TaskQueue", "tog", "LimiterReady", "True")
    limiter = Limiter(redis.url, world.namespace, "tog")
    limiter.submit()
    limiter.submit()
    held = limiter.start()
    assert held is not None
    world.delete("PriorityLane", "tog-bulk")
    world.delete("TaskQueue", "tog")
    assert world.told("TaskQueue", "tog", "Ready", "False", "Deleting")["message"] == "1 tasks still run"
    config = limiter.config()
    assert config is not None and config.paused
    assert [lane.name for lane in config.lanes if not lane.gone] == ["bulk"]  # as it was in force
    assert limiter.tenants() == {"t"}
    assert limiter.start() is None
    limiter.end(held)
    until("it is gone", lambda: world.find("TaskQueue", "tog") is None)
