"""Reading the event log, the same from memory, Redis and Kafka: the newest, what came after a position, what comes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.kafka.feed import KafkaFeed
from laneway.adapters.kafka.log import KafkaEventLog
from laneway.adapters.memory import MemoryStore
from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.errors import Unavailable
from laneway.model.config import QueueConfig
from laneway.model.events import EVENT_SCHEMA, START, Event, EventTasks, Position, decode_event, position_of
from laneway.model.topics import Topics
from laneway.ports.events import EventFeed
from laneway.ports.log import EventLog
from servers.kafka import KafkaServer

KINDS = ["memory", "redis7", "redis62", "cluster", "kafka"]


class Log:
    """A log and its reader. Sequences are of the time now, as a Redis gives them."""

    def __init__(self, log: EventLog, feed: EventFeed, now_ms: Callable[[], int]) -> None:
        self.log, self.feed, self._now_ms = log, feed, now_ms
        self._last: Position = START

    def event(self, **fields: Any) -> tuple[bytes, bytes]:
        now = max(self._now_ms(), self._last[0])
        self._last = (now, self._last[1] + 1 if now == self._last[0] else 0)
        sequence = f"{self._last[0]}-{self._last[1]}"
        event = Event(EVENT_SCHEMA, "q", "submitted", now, sequence, [EventTasks("high", 0, ["x"])], **fields)
        return sequence.encode(), msgspec.json.encode(event)

    async def tell(self, n: int) -> list[Position]:
        events = [self.event() for _ in range(n)]
        await self.log.append("events", events)
        return [position_of(key.decode()) for key, _ in events]


def positions(raws: list[bytes]) -> list[Position]:
    return [position_of(decode_event(raw).sequence) for raw in raws]


async def read(feed: EventFeed, after: Position, last: Position) -> list[Position]:
    """The positions after one, up to ``last``, which must come."""
    found: list[Position] = []
    async with asyncio.timeout(20), aclosing(feed.read(after)) as batches:
        async for batch in batches:
            found += [position for position in positions(batch) if position > after]
            if found and found[-1] >= last:
                return found
    raise AssertionError("a feed ended")


@pytest.fixture(params=KINDS)
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    import time

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    if request.param == "memory":
        store = MemoryStore()
        await store.configure(QueueConfig(), {}, expected=None)
        yield Log(StreamEventLog(store), store.events, now_ms)
    elif request.param == "kafka":
        kafka: KafkaServer = request.getfixturevalue("kafka")
        topics = Topics.of("feeds", os.urandom(5).hex())
        await ensure_topics(kafka.bootstrap, topics, partitions=1)
        told = KafkaEventLog(kafka.bootstrap, topics)
        yield Log(told, KafkaFeed(kafka.bootstrap, topics), now_ms)
        await told.close()
    else:
        if request.param == "cluster":
            url = request.getfixturevalue("cluster_url")
        else:
            server = request.getfixturevalue(request.param)
            server.ensure()
            server.flush()
            url = server.url
        redis = RedisStore(url, "q", cluster=request.param == "cluster")
        yield Log(StreamEventLog(redis), redis.events, now_ms)
        await redis.close()


async def test_of_an_empty_log_there_is_nothing_and_then_what_comes(log: Log) -> None:
    assert await log.feed.latest(10) == []
    reading = asyncio.create_task(read(log.feed, START, (2**52, 0)))
    told = await log.tell(3)
    assert positions(await log.feed.latest(10)) == told
    reading.cancel()
    assert await read(log.feed, START, told[-1]) == told


async def test_the_newest_are_the_last_of_the_log_in_order(log: Log) -> None:
    told = [position for _ in range(3) for position in await log.tell(5)]
    assert positions(await log.feed.latest(4)) == told[-4:]
    assert positions(await log.feed.latest(100)) == told


async def test_a_reader_goes_on_after_a_position_and_gets_what_comes_then(log: Log) -> None:
    told = await log.tell(700)
    reading = asyncio.create_task(read(log.feed, told[350], (told[-1][0] + 1, 0)))
    assert await read(log.feed, told[350], told[-1]) == told[351:]
    while True:  # (a time later than all before)
        more = await log.tell(1)
        told += more
        if more[0] > (told[699][0] + 1, 0):
            break
        await asyncio.sleep(0.001)
    assert (await reading)[: 700 - 351] == told[351:700]


async def test_two_readers_do_not_hinder_each_other(log: Log) -> None:
    told = await log.tell(20)
    both = await asyncio.gather(read(log.feed, told[4], told[-1]), read(log.feed, START, told[-1]))
    assert list(both) == [told[5:], told]


@pytest.mark.parametrize("log", ["kafka"], indirect=True)
@pytest.mark.parametrize("question", ["end_offsets", "offsets_for_times"])
async def test_what_is_told_while_a_reader_finds_its_place_is_read(
    log: Log, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = getattr(AIOKafkaConsumer, question)
    told: list[Position] = []

    async def answer(consumer: AIOKafkaConsumer, *args: Any) -> Any:
        found = await asked(consumer, *args)
        told.extend(await log.tell(1))
        return found

    monkeypatch.setattr(AIOKafkaConsumer, question, answer)
    async with asyncio.timeout(20), aclosing(log.feed.read(START)) as batches:
        async for batch in batches:
            if batch:
                assert positions(batch) == told
                break


async def test_a_topic_that_does_not_exist_is_unavailable(kafka: KafkaServer) -> None:
    feed = KafkaFeed(kafka.bootstrap, Topics.of("feeds", "missing-" + os.urandom(5).hex()))
    with pytest.raises(Unavailable, match="does not exist yet"):
        await feed.latest(1)


async def test_a_kafka_that_is_away_is_unavailable() -> None:
    feed = KafkaFeed("127.0.0.1:1", Topics.of("feeds", "away"), timeout=2.0)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await feed.latest(1)
