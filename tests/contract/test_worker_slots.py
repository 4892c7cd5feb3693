"""A direct worker with free slots takes what comes, however many of them are full and whatever it knows of handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from laneway.adapters.memory import MemoryStore
from laneway.adapters.redis import RedisStore
from laneway.dispatch.direct import DirectSource
from laneway.execute.worker import Worker, WorkerSettings
from laneway.kit.ids import new_task_ids
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import Claimed, TaskStore
from laneway.settle.buffer import OutcomeBuffer

pytestmark = pytest.mark.asyncio

SLOTS = 10
WITHIN = 15.0


class Holding:
    """In the place of an executor: runs tasks until they are let go."""

    def __init__(self, on_settled: Callable[[Settlement], None], **_: Any) -> None:
        self._on_settled = on_settled
        self._held: dict[bytes, Claimed] = {}
        self.begun = asyncio.Semaphore(0)

    @property
    def busy(self) -> int:
        return len(self._held)

    def running(self) -> list[tuple[bytes, int]]:
        return [(task.id, task.fence) for task in self._held.values()]

    def start(self, task: Claimed, now_ms: int) -> None:
        self._held[task.id] = task
        self.begun.release()

    def cancel(self, id_: bytes) -> None:
        raise AssertionError("nobody cancels here")

    def lose(self, id_: bytes) -> None:
        raise AssertionError("nothing is lost here")

    async def stop(self, drain: float) -> None:
        for task in list(self._held.values()):
            del self._held[task.id]
            self._on_settled(Settlement(Kind.COMPLETE, task.id, task.fence))


class Place:
    """A queue with one worker, whose handlers are known to take long and do not end."""

    def __init__(self, store: TaskStore, worker: Worker, executor: Holding) -> None:
        self._store = store
        self.worker = worker
        self.executor = executor

    async def submit(self, n: int) -> None:
        sent = encode_envelope(Envelope(1, 4, 3, "", Body("t", b"\x80")))
        await self._store.submit([(id_, sent) for id_ in new_task_ids(n)])

    async def begin(self, n: int) -> None:
        """Waits until so many more tasks have begun."""
        async with asyncio.timeout(WITHIN):
            for _ in range(n):
                await self.executor.begun.acquire()


@pytest.fixture(params=["memory", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            store: TaskStore = MemoryStore()
            made = [store]
            new_store: Callable[[], TaskStore] = lambda: store  # noqa: E731
        else:
            url = request.getfixturevalue("redis7_url")
            new_store = lambda: RedisStore(url, "slots")  # noqa: E731
            made = [new_store()]
            store = made[0]
            stack.push_async_callback(store.close)
        config = QueueConfig(lanes=(LaneConfig(n=1, name="default"),))
        assert await store.configure(config, {}, expected=None)
        executors: list[Holding] = []

        def make_executor(**callbacks: Any) -> Any:
            executors.append(Holding(**callbacks))
            return executors[0]

        settings = WorkerSettings(name="w", slots=SLOTS)
        source = DirectSource(store)
        worker = Worker(store, source, new_store, make_executor, OutcomeBuffer(), settings, average_ms=lambda: 60_000.0)
        await worker.start()
        stack.push_async_callback(worker.stop)
        yield Place(store, worker, executors[0])


@pytest.mark.parametrize("first", range(1, SLOTS))
async def test_a_task_that_comes_while_some_slots_are_free_begins(place: Place, first: int) -> None:
    await place.submit(first)
    await place.begin(first)
    for _ in range(SLOTS - first):
        await place.submit(1)
        await place.begin(1)
    assert place.executor.busy == SLOTS


async def test_more_than_there_are_slots_fills_all_and_no_more(place: Place) -> None:
    await place.submit(3 * SLOTS)
    await place.begin(SLOTS)
    assert place.executor.busy == SLOTS
