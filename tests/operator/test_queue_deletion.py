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

    world.create("TaskQueue", "keep", {
        "redis": {"url": redis.url}, "kafka": {"bootstrapServers": [kafka.bootstrap], "topics": "Adopt"},
        "source": "Direct",
    })  # fmt: skip
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
    listed = [{"name": name, "partitions": 1, "owned": True} for name in topics]
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
