"""The Kafka source: a worker reads the partition it leases, and starts what was dispatched to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from laneway.errors import LanewayError
from laneway.kit.logs import get_logger
from laneway.model.settlement import Settlement
from laneway.ports.log import TaskReader
from laneway.ports.source import Exchange
from laneway.ports.store import Claimed, TaskStore

log = get_logger(__name__)

#: Tasks remembered against records that are delivered twice: so many at least, and at most twice as many.
_REMEMBERED = 10_000
_COMMIT_EVERY = 5.0


class KafkaSource:
    """``decode`` turns a record's value into its addressee and tasks, or raises ValueError: such a record is passed
    over and counted with its reason, and never blocks the partition. ``on_wait`` hears again and again why this waits
    for Kafka, and None once it does not any more."""

    mode = "kafka"

    def __init__(
        self,
        store: TaskStore,
        reader: TaskReader,
        decode: Callable[[bytes], tuple[bytes, list[Claimed]]],
        *,
        batch: int = 200,
        on_corrupt: Callable[[str], None] | None = None,
        on_wait: Callable[[str | None], None] = lambda why: None,
    ) -> None:
        self._store, self._reader, self._decode, self._batch = store, reader, decode, batch
        self._on_corrupt = on_corrupt
        self._on_wait = on_wait
        self._inc = b""
        self._inbox: deque[Claimed] = deque()
        self._starting: list[Claimed] = []
        self._seen: set[tuple[bytes, int]] = set()  # by id and fence
        self._seen_before: set[tuple[bytes, int]] = set()
        self._news: Callable[[], None] = lambda: None
        self._pump: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._stopped = False
        self.corrupt = 0

    async def partitions(self) -> int:
        pause = 0.1
        while True:
            try:
                count = await self._reader.count()
                self._on_wait(None)
                return count
            except LanewayError as error:
                log.warning("waiting for kafka", error=str(error))
                self._on_wait(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def open(self, inc: bytes, partition: int, news: Callable[[], None]) -> None:
        self._inc, self._news = inc, news
        self._inbox.clear()
        self._starting = []
        await self._end_pump()
        pause = 0.1
        while True:
            try:
                # Only when the position is known are slots announced: what is dispatched from then on is read.
                await self._reader.seek_to_end(partition)
                self._on_wait(None)
                break
            except LanewayError as error:
                log.warning("waiting for kafka", error=str(error))
                self._on_wait(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
        self._pump = asyncio.create_task(self._read(), name="laneway-kafka")

    async def _read(self) -> None:
        committed = asyncio.get_running_loop().time()
        while True:
            try:
                async for values in self._reader.records():
                    self._on_wait(None)
                    for value in values:
                        self._receive(value)
                    self._news()
                    now = asyncio.get_running_loop().time()
                    if now - committed > _COMMIT_EVERY:
                        committed = now
                        self._commit_soon()
            except LanewayError as error:
                log.warning("reading from kafka failed, going on", error=str(error))
                self._on_wait(str(error))
                await asyncio.sleep(0.5)

    def _commit_soon(self) -> None:
        """Beside the reading: a slow group coordinator must not hold up tasks."""
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._reader.commit(), name="laneway-commit")

    def _receive(self, value: bytes) -> None:
        try:
            addressee, tasks = self._decode(value)
        except ValueError as error:
            self.corrupt += 1
            log.error("a record is set aside", reason=str(error), size=len(value), head=value[:32].hex())
            if self._on_corrupt:
                self._on_corrupt(str(error))
            return
        if addressee != self._inc or self._stopped:
            return
        seen, before = self._seen, self._seen_before
        for task in tasks:
            key = (task.id, task.fence)
            if key not in seen and key not in before:
                seen.add(key)
                self._inbox.append(task)
        if len(seen) > _REMEMBERED:
            self._seen, self._seen_before = set(), seen

    def listen(self, idle: int = 0) -> None:
        """Records come by themselves."""

    async def exchange(self, settled: Sequence[Settlement], want: int) -> Exchange:
        # What is being started stays in hand until the answer is there: starting twice answers "runs already".
        while len(self._starting) < min(want, self._batch) and self._inbox:
            self._starting.append(self._inbox.popleft())
        if not self._starting:
            return Exchange("ok", 0, [], await self._store.settle(self._inc, settled) if settled else {})
        begun = await self._store.begin(self._inc, [(task.id, task.fence) for task in self._starting], settled)
        started = []
        for task, code, attempt in zip(self._starting, begun.codes, begun.attempts, strict=True):
            if code in (1, 2):
                task.attempt = attempt
                started.append(task)
        self._starting = []
        again = self._again(want - len(started))
        return Exchange("ok", begun.now_ms, started, begun.refused, again, full=bool(self._inbox))

    def _again(self, free: int) -> int:
        """Asks again at once while records wait for slots that are free now."""
        return 0 if self._inbox and free > 0 else -1

    async def hand_back(self) -> int:
        self._stopped = True
        waiting = [*self._inbox]
        self._inbox.clear()
        if not waiting:
            return 0
        try:
            return await self._store.release([(self._inc, task.id, task.fence) for task in waiting])
        except LanewayError as error:
            log.warning("could not hand back; the dispatch deadline will", waiting=len(waiting), error=str(error))
            return 0

    async def _end_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None

    async def close(self) -> None:
        await self._end_pump()
        if self._committing is not None:
            await asyncio.gather(self._committing, return_exceptions=True)
        await self._reader.close()
