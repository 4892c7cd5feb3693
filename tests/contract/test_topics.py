"""The topics of a queue on a real broker: made, grown, configured, deleted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer

from laneway.adapters.kafka.admin import TopicAdmin, ensure_topics
from laneway.errors import ConfigError, Unavailable
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.topics import Topics, TopicSpec
from laneway.policy.topics import plan_topics
from servers.kafka import KafkaServer


@pytest.fixture
async def admin(kafka: KafkaServer) -> AsyncIterator[TopicAdmin]:
    admin = TopicAdmin(kafka.bootstrap)
    yield admin
    await admin.close()


@pytest.fixture
def name() -> str:
    return f"laneway.topics.{os.urandom(5).hex()}"


def queue(*, named: str = "orders", source: str | None = None, **kafka: object) -> TaskQueue:
    spec: dict[str, object] = {"kafka": {"bootstrapServers": ["kafka:9092"], **kafka}, "source": source}
    return manifest(named, spec)


def manifest(name: str, spec: dict[str, object]) -> TaskQueue:
    return TaskQueue.model_validate(
        {"apiVersion": "laneway.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec}
    )


async def test_a_topic_is_made_as_its_spec_says(admin: TopicAdmin, name: str) -> None:
    spec = TopicSpec(name, 3, configs={"retention.ms": "60000", "max.message.bytes": "2000000"})
    assert await admin.create([spec]) == [name]
    state = (await admin.describe([name]))[name]
    assert (state.partitions, state.replication) == (3, 1)
    assert state.configs == {"retention.ms": "60000", "max.message.bytes": "2000000"}


async def test_a_topic_that_exists_is_left_as_it_is_and_not_said_to_be_made(admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name, 3)])
    assert await admin.create([TopicSpec(name, 5), TopicSpec(name + "b", 1)]) == [name + "b"]
    assert (await admin.describe([name]))[name].partitions == 3


async def test_looking_at_a_topic_does_not_make_it(admin: TopicAdmin, name: str) -> None:
    assert await admin.describe([name]) == {}
    assert await admin.describe([name]) == {}


async def test_configuring_leaves_what_others_have_set(admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name, configs={"retention.ms": "60000", "segment.ms": "30000"})])
    await admin.configure(name, {"retention.ms": "120000"})
    assert (await admin.describe([name]))[name].configs == {"retention.ms": "120000", "segment.ms": "30000"}


async def test_a_topic_grows_and_never_shrinks(admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name, 2)])
    await admin.grow(name, 4)
    assert (await admin.describe([name]))[name].partitions == 4
    with pytest.raises(ConfigError, match="refused"):
        await admin.grow(name, 3)
    assert (await admin.describe([name]))[name].partitions == 4


async def test_deleting_is_done_twice_without_harm(admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name)])
    await admin.delete([name])
    await admin.delete([name])
    assert await admin.describe([name]) == {}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"replication": 3}, "Replication|replication|brokers"),
        ({"configs": {"retention.ms": "soon"}}, "retention.ms"),
        ({"configs": {"no.such.setting": "1"}}, "no.such.setting|Unknown"),
    ],
)
async def test_a_topic_that_kafka_does_not_take_is_told_with_its_reason(
    admin: TopicAdmin, name: str, spec: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        await admin.create([TopicSpec(name, **spec)])  # type: ignore[arg-type]
    assert await admin.describe([name]) == {}


async def test_a_wrong_setting_changes_nothing(admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name)])
    with pytest.raises(ConfigError, match=r"retention\.ms"):
        await admin.configure(name, {"retention.ms": "soon"})
    assert (await admin.describe([name]))[name].configs == {}


async def test_no_broker_is_said_to_be_away() -> None:
    admin = TopicAdmin("127.0.0.1:1", timeout=2)
    with pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1:1 is away"):
        await admin.describe(["laneway.some.topic"])


async def test_an_admin_goes_on_after_the_broker_was_away(kafka: KafkaServer, admin: TopicAdmin, name: str) -> None:
    await admin.create([TopicSpec(name)])
    await admin.close()
    assert list(await admin.describe([name])) == [name]


async def test_a_queues_topics_are_made_once_and_grown(kafka: KafkaServer, admin: TopicAdmin) -> None:
    topics = Topics.of("default", os.urandom(5).hex())
    await ensure_topics(kafka.bootstrap, topics, partitions=2)
    await ensure_topics(kafka.bootstrap, topics, partitions=3)
    await ensure_topics(kafka.bootstrap, topics, partitions=1)
    found = await admin.describe([topics.tasks, topics.events, topics.dead])
    assert [found[name].partitions for name in (topics.tasks, topics.events, topics.dead)] == [3, 1, 1]


async def test_what_is_planned_is_what_a_broker_then_has(kafka: KafkaServer, admin: TopicAdmin) -> None:
    planned = plan_topics(
        queue(
            named=f"q{os.urandom(5).hex()}",
            partitions=5,
            minInsyncReplicas=1,
            eventRetention="2h",
            deadRetention="48h",
        )
    )
    await admin.create(planned)
    found = await admin.describe([spec.name for spec in planned])
    for spec in planned:
        assert found[spec.name].partitions == spec.partitions
        assert found[spec.name].configs == spec.configs


def test_a_plan_takes_each_setting_of_the_manifest() -> None:
    tasks, events, dead = plan_topics(
        queue(partitions=7, replicationFactor=3, minInsyncReplicas=2, eventRetention="1h", deadRetention="720h")
    )
    assert [spec.name for spec in (tasks, events, dead)] == [
        "laneway.default.orders.tasks",
        "laneway.default.orders.events",
        "laneway.default.orders.dead",
    ]
    assert [spec.partitions for spec in (tasks, events, dead)] == [7, 1, 1]
    assert {spec.replication for spec in (tasks, events, dead)} == {3}
    assert {spec.configs["min.insync.replicas"] for spec in (tasks, events, dead)} == {"2"}
    assert events.configs["retention.ms"] == "3600000"
    assert dead.configs["retention.ms"] == "2592000000"
    assert tasks.configs["max.message.bytes"] == dead.configs["max.message.bytes"] == "18874368"


def test_a_plan_without_copies_leaves_them_to_the_brokers() -> None:
    assert {spec.replication for spec in plan_topics(queue())} == {-1}
    assert all("min.insync.replicas" not in spec.configs for spec in plan_topics(queue()))


def test_without_kafka_there_are_no_topics_and_with_direct_none_of_tasks() -> None:
    assert plan_topics(manifest("orders", {})) == ()
    assert [spec.name.rsplit(".", 1)[1] for spec in plan_topics(queue(source="Direct"))] == ["events", "dead"]


async def test_a_large_record_fits_the_topics_that_carry_payloads(kafka: KafkaServer, admin: TopicAdmin) -> None:
    from laneway.adapters.kafka.publisher import Publisher, Sent

    topics = Topics.of("default", os.urandom(5).hex())
    await ensure_topics(kafka.bootstrap, topics)
    publisher = Publisher(kafka.bootstrap)
    large = bytes(16 * 1_048_576)
    assert await publisher.publish(topics.dead, [(None, None, large)]) == [Sent.DONE]
    await publisher.close()
    consumer = AIOKafkaConsumer(
        topics.dead, bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        assert len((await consumer.getone()).value or b"") == len(large)
    finally:
        await consumer.stop()
