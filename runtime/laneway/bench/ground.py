"""What a bench stands on: a queue of its own, on a Redis and perhaps a Kafka, that is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import AWAY, AnyRedis, connect
from laneway.bench.app import app
from laneway.bench.crew import BenchFailed, Crew
from laneway.bench.marks import Marks
from laneway.errors import Unavailable
from laneway.model.config import LaneConfig, QueueConfig
from laneway.ports.store import QueueStats

NAMESPACE = "bench"
LANE = LaneConfig(n=1, name="default")

Say = Callable[[str, int, int], None]


@dataclass(slots=True)
class Ground:
    """One bench's queue, its store, a plain client for what only Redis knows, its processes and their marks.

    ``say`` is told what goes on: a text, how much is done, and of how much (0 of 0: not known).
    """

    url: str
    kafka: str | None
    queue: str
    store: RedisStore
    redis: AnyRedis
    crew: Crew
    marks: Marks
    say: Say
    config: QueueConfig = field(default_factory=QueueConfig)

    @property
    def transport(self) -> str:
        """Where workers' tasks come from: direct or kafka."""
        return "kafka" if self.kafka else "direct"

    async def configure(self, **changes: Any) -> None:
        """Configures the queue, or changes what is given."""
        changes = {"source": self.transport, "version": self.config.version + 1, **changes}
        fields = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        self.config = QueueConfig(**{**fields, **changes})
        await self.store.configure(self.config, {}, expected=None)

    async def pause(self, paused: bool) -> None:
        """Stops or lets go every lane; submissions go on."""
        lanes = [{n: getattr(lane, n) for n in lane.__struct_fields__} for lane in self.config.lanes]
        await self.configure(lanes=tuple(LaneConfig(**{**lane, "paused": paused}) for lane in lanes))

    def expect(self, tasks: int) -> None:
        """Makes room for the marks of ``tasks`` tasks; before the first worker starts."""
        self.marks.tasks = tasks
        self.crew.env = self.marks.env

    async def stats(self) -> QueueStats:
        """The queue now.

        Raises:
            BenchFailed: a process of the bench has ended by itself.
        """
        self.crew.check()
        return await self.store.stats()

    async def settled(self, total: int, what: str, *, stall: float = 60.0) -> None:
        """Waits until ``total`` tasks of the queue have succeeded.

        Raises:
            BenchFailed: a task ended otherwise, or none ended for ``stall`` seconds.
        """
        loop = asyncio.get_running_loop()
        last, moved = -1, loop.time()
        while True:
            counts = (await self.stats()).counts
            bad = {name: counts[name] for name in ("dead", "cancelled", "expired") if counts[name]}
            if bad:
                raise BenchFailed(f"{what}: tasks ended as they should not: {bad}")
            done = counts["succeeded"] + counts["purged"]
            self.say(what, min(done, total), total)
            if done >= total:
                return
            if done != last:
                last, moved = done, loop.time()
            elif loop.time() - moved > stall:
                raise BenchFailed(f"{what}: nothing ended for {stall:g} s; the queue has {counts}")
            await asyncio.sleep(0.05)

    async def relayed(self) -> None:
        """Waits until the poller has published all that happened."""
        while True:
            left = (await self.stats()).outbox_entries
            self.say("events are published", 0, 0)
            if not left:
                return
            await asyncio.sleep(0.05)


async def redis_time_us(client: AnyRedis) -> int:
    """The clock of Redis in microseconds."""
    seconds, micros = await client.time()
    return int(seconds) * 1_000_000 + int(micros)


async def redis_offset_ns(client: AnyRedis, *, tries: int = 25) -> int:
    """What to add to Redis time (as ns) to get ``time.monotonic_ns()`` here; exact to half of the fastest of
    some round trips."""
    best: tuple[int, int] | None = None
    for _ in range(tries):
        before = time.monotonic_ns()
        there = await redis_time_us(client) * 1000
        after = time.monotonic_ns()
        found = (after - before, (before + after) // 2 - there)
        best = found if best is None else min(best, found)
    assert best is not None
    return best[1]


async def _reach(redis: AnyRedis, url: str) -> None:
    try:
        await redis.ping()
    except (*AWAY, RedisError) as error:
        raise Unavailable(f"Redis at {url} is away or refuses ({error})", 1.0) from error


@asynccontextmanager
async def stand(url: str, kafka: str | None, say: Say, *, partitions: int = 8) -> AsyncIterator[Ground]:
    """A queue with a random name, not configured yet. At the end its processes, keys and topics are gone; no
    other key or topic is touched.

    Raises:
        Unavailable: Redis or Kafka is away.
    """
    queue = f"bench-{os.urandom(5).hex()}"
    folder = Path(tempfile.mkdtemp(prefix="laneway-bench-"))
    store, redis = RedisStore(url, queue, namespace=NAMESPACE), connect(url)
    crew = Crew(url, kafka, NAMESPACE, queue, folder)
    try:
        await _reach(redis, url)
        if kafka:
            await _make_topics(kafka, queue, partitions)
    except BaseException:
        await store.close()
        await redis.aclose()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        yield Ground(url, kafka, queue, store, redis, crew, Marks(folder, 0), say)
    finally:
        try:
            await crew.stop()
            await app.close()
            await wipe(redis, store)
        finally:
            await store.close()
            await redis.aclose()
            shutil.rmtree(folder, ignore_errors=True)
            if kafka:
                await _delete_topics(kafka, queue)


async def wipe(redis: AnyRedis, store: RedisStore) -> None:
    """Deletes every key of one queue."""
    keys = []
    async for key in redis.scan_iter(match=store.keys.prefix + "*", count=1000):
        keys.append(key)
    if keys:
        await redis.unlink(*keys)


async def _make_topics(kafka: str, queue: str, partitions: int) -> None:
    from laneway.adapters.kafka.admin import ensure_topics
    from laneway.model.topics import Topics

    await ensure_topics(kafka, Topics.of(NAMESPACE, queue), partitions=partitions)


async def _delete_topics(kafka: str, queue: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    from laneway.model.topics import Topics

    topics = Topics.of(NAMESPACE, queue)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([topics.tasks, topics.events, topics.dead])
    finally:
        await admin.close()
