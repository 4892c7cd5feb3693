"""A queue whose manifest names other servers than those that hold its topics and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until
from tests.operator.topics import TestTopics

from laneway.model.topics import TopicSpec
from servers.kafka import KafkaServer
from servers.redis import RedisServer


@pytest.fixture
def redis(redis7: RedisServer) -> RedisServer:
    redis7.ensure()
    return redis7


@pytest.fixture(scope="module")
def other_kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


def topics_of(world: World, name: str) -> list[str]:
    return [f"laneway.{world.namespace}.{name}.{part}" for part in ("tasks", "events", "dead")]


def create(world: World, name: str, redis: RedisServer, kafka: KafkaServer, **spec: Any) -> None:
    of_kafka = {"bootstrapServers": [kafka.bootstrap], "partitions": 2}
    world.create("TaskQueue", name, {"redis": {"url": redis.url}, "kafka": of_kafka, **spec})
    world.told("TaskQueue", name, "TopicsReady", "True")
    world.told("TaskQueue", name, "LimiterReady", "True")


def owned(world: World, name: str) -> dict[str, set[str]]:
    """The topics that the status calls ours, by cluster."""
    found: dict[str, set[str]] = {}
    for topic in world.get("TaskQueue", name)["status"]["topics"]:
        if topic["owned"]:
            found.setdefault(topic["cluster"], set()).add(topic["name"])
    return found


def gone(world: World, name: str) -> None:
    until("it is gone", lambda: world.find("TaskQueue", name) is None, timeout=30)


# -- Kafka


def test_what_is_ours_in_one_kafka_is_foreign_in_another_and_never_changed_or_deleted_there(
    world: World, redis: RedisServer, kafka: KafkaServer, other_kafka: KafkaServer
) -> None:
    name = "kmoved"
    topics, there = topics_of(world, name), TestTopics(other_kafka.bootstrap)
    there.make(*(TopicSpec(topic, 1, 1) for topic in topics))
    create(world, name, redis, kafka, deletionPolicy="Delete")
    world.patch("TaskQueue", name, {"spec": {"kafka": {"bootstrapServers": [other_kafka.bootstrap]}}})
    told = world.told("TaskQueue", name, "TopicsReady", "False", "ForeignTopic")
    assert all(topic in told["message"] for topic in topics) and "leaves topics behind" in told["message"]
    assert {topic: state.partitions for topic, state in there.get(*topics).items()} == dict.fromkeys(topics, 1)
    assert list(owned(world, name).values()) == [set(topics)]  # those in the first

    world.delete("TaskQueue", name)
    gone(world, name)
    assert set(there.get(*topics)) == set(topics)
    assert set(TestTopics(kafka.bootstrap).get(*topics)) == set(topics)
    type, _, message = world.event(name, "CleanupAbandoned")
    assert type == "Warning" and all(topic in message for topic in topics)
    assert not any(topic in world.event(name, "QueueErased")[2] for topic in topics)


def test_a_queue_that_goes_to_an_empty_kafka_has_topics_there_and_knows_those_that_it_left(
    world: World, redis: RedisServer, kafka: KafkaServer, other_kafka: KafkaServer
) -> None:
    name = "kempty"
    topics = topics_of(world, name)
    create(world, name, redis, kafka, deletionPolicy="Delete")
    world.patch("TaskQueue", name, {"spec": {"kafka": {"bootstrapServers": [other_kafka.bootstrap]}}})
    assert all(topic in world.event(name, "TopicsLeftBehind")[2] for topic in topics)
    until("both are listed", lambda: list(owned(world, name).values()) == [set(topics), set(topics)])
    # Back again: they are still ours there.
    world.patch("TaskQueue", name, {"spec": {"kafka": {"bootstrapServers": [kafka.bootstrap], "partitions": 3}}})
    until("they grow", lambda: TestTopics(kafka.bootstrap).get(topics[0])[topics[0]].partitions == 3)
    world.delete("TaskQueue", name)
    gone(world, name)
    until("they are gone here", lambda: TestTopics(kafka.bootstrap).get(*topics) == {})
    assert set(TestTopics(other_kafka.bootstrap).get(*topics)) == set(topics)
    assert topics[0] in world.event(name, "QueueErased")[2]
    assert "stay behind" in world.event(name, "CleanupAbandoned")[2]


def test_adopting_takes_over_what_is_in_the_other_kafka(
    world: World, redis: RedisServer, kafka: KafkaServer, other_kafka: KafkaServer
) -> None:
    name = "kadopt"
    topics, there = topics_of(world, name), TestTopics(other_kafka.bootstrap)
    there.make(*(TopicSpec(topic, 1, 1) for topic in topics))
    create(world, name, redis, kafka, deletionPolicy="Delete")
    change = {"bootstrapServers": [other_kafka.bootstrap], "topics": "Adopt"}
    world.patch("TaskQueue", name, {"spec": {"kafka": change}})
    until("it has grown", lambda: there.get(topics[0])[topics[0]].partitions == 2)
    world.delete("TaskQueue", name)
    gone(world, name)
    until("they are gone there", lambda: there.get(*topics) == {})


def test_a_queue_that_names_no_kafka_any_more_leaves_its_topics_and_says_so(
    world: World, redis: RedisServer, kafka: KafkaServer
) -> None:
    name = "kgone"
    topics = topics_of(world, name)
    create(world, name, redis, kafka, deletionPolicy="Delete")
    world.patch("TaskQueue", name, {"spec": {"kafka": None}})
    until("it is seen", lambda: (
        (queue := world.get("TaskQueue", name))["status"]["observedGeneration"] == queue["metadata"]["generation"]
    ))  # fmt: skip
    world.delete("TaskQueue", name)
    gone(world, name)
    assert "topics" not in world.event(name, "QueueErased")[2]
    assert all(topic in world.event(name, "CleanupAbandoned")[2] for topic in topics)
    assert set(TestTopics(kafka.bootstrap).get(*topics)) == set(topics)


# -- Redis


def direct(world: World, name: str, url: str, **spec: Any) -> Limiter:
    world.create("TaskQueue", name, {"redis": {"url": url}, **spec})
    world.told("TaskQueue", name, "LimiterReady", "True")
    until("its Redis is noted", lambda: world.get("TaskQueue", name)["status"].get("redis"))
    return Limiter(url, world.namespace, name)


def test_a_queue_is_not_taken_to_another_redis_while_its_tasks_are_in_the_first(
    world: World, redis: RedisServer, new_redis: Callable[..., RedisServer]
) -> None:
    name, other = "rmoved", new_redis()
    first = direct(world, name, redis.url)
    world.create("WorkerPool", name, {"queueRef": {"name": name}, "app": "a:b", "replicas": 1})
    world.applied("Deployment", f"laneway-{name}-worker")
    first.submit()
    before = {
        part: world.get("Deployment", f"laneway-{name}-{part}")["spec"]["template"]
        for part in ("gateway", "poller", "worker")
    }
    world.patch("TaskQueue", name, {"spec": {"redis": {"url": other.url}}})
    told = world.told("TaskQueue", name, "LimiterReady", "False", "RedisMoved")
    address = world.get("TaskQueue", name)["status"]["redis"]["address"]
    assert f"laneway.dev/abandon-data={address}" in told["message"]
    world.told("TaskQueue", name, "Stalled", "True", "RedisMoved")
    world.told("WorkerPool", name, "WorkersAvailable", "False", "QueueNotReady")
    second = Limiter(other.url, world.namespace, name)
    assert second.config() is None
    for part, template in before.items():
        assert world.get("Deployment", f"laneway-{name}-{part}")["spec"]["template"] == template

    world.patch("TaskQueue", name, {"metadata": {"annotations": {"laneway.dev/abandon-data": address}}})
    world.told("TaskQueue", name, "LimiterReady", "True")
    assert second.config() is not None
    assert address in world.event(name, "DataAbandoned")[2]
    until("workers follow", lambda: (
        world.get("Deployment", f"laneway-{name}-worker")["spec"]["template"] != before["worker"]
    ))  # fmt: skip
    assert first.start() is not None  # what was there is there


def test_the_same_data_under_another_name_is_no_move(world: World, redis: RedisServer) -> None:
    name = "ralias"
    limiter = direct(world, name, redis.url)
    limiter.submit()
    home = world.get("TaskQueue", name)["status"]["redis"]
    alias = redis.url.replace("127.0.0.1", "localhost")
    assert alias != redis.url
    world.patch("TaskQueue", name, {"spec": {"redis": {"url": alias}}})
    until("the new name is noted", lambda: (
        (now := world.get("TaskQueue", name)["status"]["redis"])["id"] == home["id"] and now != home
    ))  # fmt: skip
    world.told("TaskQueue", name, "LimiterReady", "True")


def test_deleting_a_queue_erases_nothing_in_a_redis_that_is_not_its_own(
    world: World, redis: RedisServer, new_redis: Callable[..., RedisServer]
) -> None:
    name, other = "rerase", new_redis()
    direct(world, name, redis.url, deletionPolicy="Delete")
    # Another cluster's queue of the same name, which is at work there.
    theirs = Limiter(other.url, world.namespace, name)
    config = Limiter(redis.url, world.namespace, name).config()
    assert config is not None
    theirs.write(config)
    theirs.submit()
    keys = theirs.keys()
    world.patch("TaskQueue", name, {"spec": {"redis": {"url": other.url}}})
    world.told("TaskQueue", name, "LimiterReady", "False", "RedisMoved")
    world.delete("TaskQueue", name)
    gone(world, name)
    assert theirs.keys() == keys
    now = theirs.config()
    assert now is not None and not now.paused
    assert "in Redis at" in world.event(name, "CleanupAbandoned")[2]
