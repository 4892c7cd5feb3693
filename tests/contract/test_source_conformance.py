"""What every source of work for workers keeps to: direct over Redis and over the store in memory, and Kafka."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress

import pytest

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.kafka.reader import PartitionReader
from laneway.adapters.kafka.records import decode_record
from laneway.adapters.kafka.tasks import KafkaTaskPublisher
from laneway.adapters.memory import MemoryStore
from laneway.adapters.redis import RedisStore
from laneway.dispatch.direct import DirectSource
from laneway.dispatch.kafka import KafkaSource
from laneway.kit.ids import new_incarnation, new_task_ids
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.model.topics import Topics
from laneway.ports.source import Exchange, Source
from laneway.ports.store import Claimed, TaskStore
from laneway.tend.dispatcher import Dispatcher

LANES = (LaneConfig(n=1, name="high", prio=10), LaneConfig(n=2, name="low"))
WITHIN = 15.0


class Ground:
    """A queue, and one worker's end of a source."""

    def __init__(self, store: TaskStore, source: Source) -> None:
        self.store = store
        self.source = source
        self.inc = b""
        self.news = asyncio.Event()

    async def register(self, slots: int = 10) -> None:
        """Registers, listens, and only then announces slots: as a worker does."""
        self.inc = new_incarnation()
        partitions = await self.source.partitions()
        got = await self.store.register(self.inc, "w", self.source.mode, slots, slots, partitions)
        await self.source.open(self.inc, got.partition, self.news.set)
        assert (await self.store.heartbeat(self.inc, 2, slots, slots, [])).status == "ok"

    async def submit(self, n: int, lane: int = 2) -> list[bytes]:
        """Submits ``n`` tasks."""
        sent = encode_envelope(Envelope(lane, 4, 3, "", Body("t", b"\x80")))
        ids = new_task_ids(n)
        results = await self.store.submit([(id_, sent) for id_ in ids])
        assert {result.code for result in results} == {"accepted"}
        return ids

    async def bring(self, n: int, settled: Sequence[Settlement] = ()) -> list[Claimed]:
        """Exchanges until ``n`` tasks have come; never more than wanted."""
        tasks: list[Claimed] = []
        async with asyncio.timeout(WITHIN):
            while len(tasks) < n:
                self.news.clear()
                got = await self.source.exchange(settled, n - len(tasks))
                assert len(got.tasks) <= n - len(tasks)
                settled = ()
                tasks += got.tasks
                if len(tasks) < n:
                    self.source.listen()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self.news.wait()
        return tasks

    async def settle(self, tasks: Sequence[Claimed], kind: Kind = Kind.COMPLETE) -> Exchange:
        """Settles tasks, and wants none."""
        return await self.source.exchange([Settlement(kind, task.id, task.fence) for task in tasks], 0)

    async def state(self, id_: bytes) -> State:
        """The state of a task."""
        (view,) = await self.store.get([id_])
        assert view is not None
        return view.state


@pytest.fixture(params=["direct-memory", "direct-redis", "kafka"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Each source in turn; at the end every task must be in one place."""
    async with AsyncExitStack() as stack:
        store: TaskStore
        if request.param == "direct-memory":
            store = MemoryStore()
        else:
            store = RedisStore(request.getfixturevalue("redis7_url"), "conform")
            stack.push_async_callback(store.close)
        kafka = request.param == "kafka"
        config = QueueConfig(lanes=LANES, source="kafka" if kafka else "direct", default_lane="low")
        assert await store.configure(config, {}, expected=None)
        source: Source = DirectSource(store)
        if kafka:
            bootstrap = request.getfixturevalue("kafka").bootstrap
            topics = Topics.of("default", f"conform-{new_task_ids(1)[0].hex()}")
            await ensure_topics(bootstrap, topics, partitions=2)
            source = KafkaSource(store, PartitionReader(bootstrap, topics.tasks, "conform"), decode_record)
            tending = RedisStore(request.getfixturevalue("redis7_url"), "conform")
            stack.push_async_callback(tending.close)
            dispatcher = Dispatcher(tending, KafkaTaskPublisher(bootstrap, topics))
            await dispatcher.start()
            stack.push_async_callback(dispatcher.stop)
        stack.push_async_callback(source.close)
        yield Ground(store, source)
        assert (await store.stats()).drift == 0


async def test_every_task_comes_once_and_counts_one_attempt(ground: Ground) -> None:
    await ground.register(slots=10)
    ids = await ground.submit(25)
    seen: list[Claimed] = []
    tasks: list[Claimed] = []
    while len(seen) < 25:
        done = [Settlement(Kind.COMPLETE, task.id, task.fence) for task in tasks]
        tasks = await ground.bring(5, done)
        seen += tasks
    await ground.settle(tasks)
    assert sorted(task.id for task in seen) == sorted(ids)
    assert {task.attempt for task in seen} == {1}
    assert (await ground.store.stats()).counts["succeeded"] == 25


async def test_the_best_lane_comes_first(ground: Ground) -> None:
    low = await ground.submit(3, lane=2)
    high = await ground.submit(3, lane=1)
    await ground.register()
    tasks = await ground.bring(6)
    assert [task.id for task in tasks] == [*high, *low]
    await ground.settle(tasks)


async def test_an_idle_worker_hears_of_a_new_task(ground: Ground) -> None:
    await ground.register()
    assert not (await ground.source.exchange([], 10)).tasks
    ground.news.clear()
    ground.source.listen()
    await ground.submit(1)
    async with asyncio.timeout(WITHIN):
        await ground.news.wait()
    await ground.settle(await ground.bring(1))


async def test_an_idle_worker_is_brought_a_new_task(ground: Ground) -> None:
    await ground.register()
    assert not (await ground.source.exchange([], 10)).tasks
    ground.news.clear()
    ground.source.listen(10)
    ids = await ground.submit(3)
    tasks = await ground.bring(3)
    assert sorted(task.id for task in tasks) == sorted(ids)
    await ground.settle(tasks)
    assert (await ground.store.stats()).counts["succeeded"] == 3


@pytest.mark.parametrize("ground", ["direct-memory", "direct-redis"], indirect=True)
async def test_an_idle_worker_is_told_once_of_what_it_is_brought(ground: Ground) -> None:
    await ground.register()
    assert not (await ground.source.exchange([], 10)).tasks
    ground.news.clear()
    ground.source.listen(10)
    (sent,) = await ground.submit(1)
    async with asyncio.timeout(WITHIN):
        await ground.news.wait()
    ground.news.clear()
    got = await ground.source.exchange([], 10)
    assert [task.id for task in got.tasks] == [sent]
    for _ in range(10):  # (more turns of the loop than the listener needs to come to itself)
        await asyncio.sleep(0)
    assert not ground.news.is_set(), "a second word makes the worker claim again in vain"
    ground.news.clear()
    ground.source.listen(10)  # and it listens when it is asked to again
    await ground.submit(1)
    await ground.settle([*got.tasks, *await ground.bring(1)])


async def test_an_exchange_while_idle_takes_the_place_of_what_waits(ground: Ground) -> None:
    await ground.register()
    for _ in range(3):
        assert not (await ground.source.exchange([], 10)).tasks
        ground.source.listen(10)
    (id_,) = await ground.submit(1)
    (task,) = await ground.bring(1)
    assert task.id == id_
    await ground.settle([task])


async def test_no_task_is_brought_twice_when_an_exchange_follows_at_once(ground: Ground) -> None:
    await ground.register()
    ids = await ground.submit(20)
    brought: list[Claimed] = []
    async with asyncio.timeout(WITHIN):
        while len(brought) < 20:
            ground.source.listen(4)  # (its claim is not even on its way yet)
            got = await ground.source.exchange([], 4)
            await asyncio.sleep(0.02)  # (time for it to bring something after all)
            brought += got.tasks
            brought += (await ground.settle(got.tasks)).tasks
    assert not (await ground.source.exchange([], 4)).tasks
    assert sorted(task.id for task in brought) == sorted(ids)


async def test_an_outcome_that_is_sent_again_is_accepted_once(ground: Ground) -> None:
    await ground.register()
    (id_,) = await ground.submit(1)
    tasks = await ground.bring(1)
    assert (await ground.settle(tasks)).refused == {}
    assert (await ground.settle(tasks)).refused == {0: "already"}
    assert await ground.state(id_) is State.SUCCEEDED


async def test_each_kind_of_outcome_does_what_it_says(ground: Ground) -> None:
    await ground.register()
    await ground.submit(5)
    tasks = await ground.bring(5)
    kinds = [Kind.COMPLETE, Kind.RETRY, Kind.DEAD, Kind.CANCEL, Kind.SNOOZE]
    settled = [Settlement(kind, task.id, task.fence, delay_ms=60_000) for kind, task in zip(kinds, tasks, strict=True)]
    assert (await ground.source.exchange(settled, 0)).refused == {}
    states = [await ground.state(task.id) for task in tasks]
    assert states == [State.SUCCEEDED, State.SCHEDULED, State.DEAD, State.CANCELLED, State.SCHEDULED]


async def test_an_outcome_under_an_old_fence_is_stale(ground: Ground) -> None:
    await ground.register()
    await ground.submit(1)
    (first,) = await ground.bring(1)
    await ground.settle([first], Kind.RELEASE)
    (second,) = await ground.bring(1)
    assert second.fence > first.fence
    assert (await ground.settle([first])).refused == {0: "stale"}
    assert (await ground.settle([second])).refused == {}


async def test_a_task_taken_back_from_the_incarnation_is_not_its_own_any_more(ground: Ground) -> None:
    await ground.register()
    (id_,) = await ground.submit(1)
    (task,) = await ground.bring(1)
    assert await ground.store.deregister(ground.inc) == 1
    got = await ground.settle([task])
    assert got.status == "gone" or got.refused == {0: "stale"}
    assert await ground.state(id_) is not State.SUCCEEDED


async def test_what_did_not_start_is_handed_back_with_no_attempt_burnt(ground: Ground) -> None:
    await ground.register(slots=5)
    ids = await ground.submit(5)
    if ground.source.mode == "kafka":
        async with asyncio.timeout(WITHIN):  # (they are on their way to the worker, which starts none)
            while (await ground.store.stats()).counts["dispatched"] < 5:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.02)
    await ground.source.hand_back()
    await ground.store.deregister(ground.inc)
    for view in await ground.store.get(ids):
        assert view is not None
        assert view.state is State.QUEUED
        assert view.record is None or view.record.attempts == 0
