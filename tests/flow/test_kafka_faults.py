"""Kafka that restarts, and records that are no records."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, read_topic, until

from laneway.adapters.kafka.records import encode_record
from laneway.errors import Unavailable
from laneway.model.topics import Topics
from laneway.ports.store import Claimed
from laneway.submit import NewTask
from servers.kafka import KafkaServer
from servers.need import require
from servers.redis import RedisServer


@pytest.fixture(scope="module")
def crash_kafka() -> Iterator[KafkaServer]:
    """A broker of these tests' own, to be killed and restarted."""
    require("kafka")
    with KafkaServer() as server:
        yield server


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_kafka_restarts_under_load_and_work_resumes_by_itself(
    redis7_url: str, crash_kafka: KafkaServer, new_flow: NewFlow, how: str
) -> None:
    flow = new_flow(redis7_url, kafka=crash_kafka.bootstrap)
    await flow.configure(**SHORT)
    await flow.poller()
    workers = [await flow.worker(slots=10), await flow.worker(slots=10)]
    held = await flow.submit("hold", 4)
    await flow.submit("work", 50, arguments={"ms": 5})
    await flow.running(40)
    await asyncio.to_thread(crash_kafka.kill if how == "kill" else crash_kafka.stop)
    # Without Kafka, submissions are taken all the same.
    away = await asyncio.wait_for(flow.submit("work", 100), 5.0)
    assert len(away) == 100
    flow.release()
    await asyncio.to_thread(crash_kafka.start)
    await flow.submit("work", 50)
    stats = await flow.check(30.0)
    assert stats.counts["succeeded"] == 204
    assert all(worker.alive for worker in workers)
    assert len(flow.starts(held)) == 4, "what ran while Kafka restarted ran again"
    attempts = Counter(v.record.attempts for v in (await flow.views(list(flow.accepted))).values() if v and v.record)
    assert attempts == {1: 204}


async def test_a_queue_that_loses_redis_and_kafka_at_once_ends_everything_when_they_are_back(
    crash_redis: RedisServer, crash_kafka: KafkaServer, new_flow: NewFlow
) -> None:
    crash_kafka.ensure()
    flow = new_flow(crash_redis.url, kafka=crash_kafka.bootstrap)
    await flow.configure(**SHORT)
    await flow.poller()
    await flow.worker(slots=10)
    await flow.submit("work", 200, arguments={"ms": 20})
    await flow.running(30)
    await asyncio.to_thread(crash_kafka.kill)
    await asyncio.to_thread(crash_redis.kill)
    await asyncio.to_thread(crash_redis.start)
    await asyncio.to_thread(crash_kafka.start)
    await flow.submit("work", 20)
    stats = await flow.check(30.0)
    assert stats.counts["succeeded"] == 220


async def test_with_redis_full_and_kafka_away_what_runs_still_settles_and_the_rest_waits_for_kafka(
    new_redis: Callable[..., RedisServer], crash_kafka: KafkaServer, new_flow: NewFlow
) -> None:
    crash_kafka.ensure()
    server = new_redis()
    flow = new_flow(server.url, kafka=crash_kafka.bootstrap)
    await flow.configure(**SHORT)
    await flow.poller()
    worker = await flow.worker(slots=10)
    await flow.submit("hold", 10)
    await flow.running(10)
    await flow.submit("work", 100)
    await asyncio.to_thread(crash_kafka.kill)
    await flow.redis.config_set("maxmemory", 1)
    with pytest.raises(Unavailable, match="Redis is full"):
        await flow.submitter.submit(NewTask(type="work"))
    flow.release()

    async def settled() -> bool:
        return (await flow.stats()).counts["succeeded"] >= 10

    await until("what ran is settled in a full Redis, without Kafka", settled)
    await flow.redis.config_set("maxmemory", 0)
    await asyncio.to_thread(crash_kafka.start)
    stats = await flow.check(30.0)
    assert stats.counts["succeeded"] == 110 and len(flow.starts()) == 110
    assert worker.alive


async def test_records_that_cannot_be_read_are_set_aside_with_their_reason_and_block_nothing(kafka_flow: Flow) -> None:
    flow = kafka_flow
    assert isinstance(flow.kafka, str)
    await flow.poller()
    worker = await flow.worker(slots=10, metrics=True)
    (registered,) = await flow.workers()
    whole = encode_record(registered.incarnation, [Claimed(bytes(14), 1, 1, 0, 0, b"no envelope")])
    future = msgspec.msgpack.encode([99, registered.incarnation, []])
    short_id = encode_record(registered.incarnation, [Claimed(b"short", 1, 1, 0, 0, b"")])
    bad = [b"", b"\xff\xfe garbage", whole[:-3], future, short_id, b"\x90" * 50_000]
    # (and one that can be read, of a task that does not exist: Redis refuses its start)
    producer = AIOKafkaProducer(bootstrap_servers=flow.kafka)
    await producer.start()
    try:
        for value in [*bad, whole]:
            await producer.send_and_wait(Topics.of("default", flow.queue).tasks, value, partition=registered.partition)
            await flow.submit("work", 5)
    finally:
        await producer.stop()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 35
    aside = [
        line
        for line in map(json.loads, filter(lambda text: text.startswith("{"), worker.text().splitlines()))
        if line.get("event") == "a record is set aside"
    ]
    assert len(aside) == len(bad) == await worker.metric("laneway_records_corrupt_total")
    reasons = " ".join(line["reason"] for line in aside)
    for words in ("not a record of tasks", "version 99", "wrong length"):
        assert words in reasons


async def test_records_that_come_twice_run_once(kafka_flow: Flow) -> None:
    flow = kafka_flow
    assert isinstance(flow.kafka, str)
    await flow.poller()
    await flow.worker(slots=10)
    load = asyncio.create_task(flow.load("flaky", 100, 1.5))
    topic = Topics.of("default", flow.queue).tasks
    producer = AIOKafkaProducer(bootstrap_servers=flow.kafka)
    await producer.start()
    again = 0
    try:
        for round_ in (1, 2, 3):
            await flow.running(40 * round_)
            for partition in range(flow.partitions):
                for value in await read_topic(flow.kafka, topic, partition):
                    await producer.send_and_wait(topic, value, partition=partition)
                    again += 1
    finally:
        await producer.stop()
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 100 and again > 20
    assert set(Counter(run.id for run in flow.starts()).values()) == {2}


async def test_workers_that_share_a_partition_run_each_task_once_and_miss_none_when_one_dies(
    redis7_url: str, kafka: KafkaServer, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url, kafka=kafka.bootstrap, partitions=1)
    await flow.configure(**SHORT)
    await flow.poller()
    workers = [await flow.worker(slots=5) for _ in range(3)]
    assert {w.partition for w in await flow.workers()} == {0}
    load = asyncio.create_task(flow.load("work", 300, 2.5, arguments={"ms": 20}))
    await flow.running(60)
    await workers[0].kill()
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 300
    twice = [id_ for id_, n in Counter(run.id for run in flow.starts()).items() if n > 1]
    assert len(twice) <= 5, "more than the slots of the killed worker ran again"
    assert {run.pid for run in flow.starts()} >= {worker.pid for worker in workers}, "a worker got nothing"
