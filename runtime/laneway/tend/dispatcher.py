"""The dispatcher: takes tasks for Kafka workers with credits and publishes them to the workers' partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.ids import id_text
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts
from laneway.model.record import AttemptError, encode_error
from laneway.model.settlement import Kind, Settlement
from laneway.ports.log import TaskPublisher, Unpublished
from laneway.ports.store import Claimed, TaskStore

_log = get_logger(__name__)

#: Tasks in one call: about 2 ms of Redis.
_BATCH = 250
_SLOW_POLL = 1.0
#: Batches on their way to Kafka at once.
_UNDER_WAY = 2


class Dispatcher(Service):
    """Sleeps on the queue's wake tokens. Two at once are right and useful: credits are taken in the script.

    ``on_batch`` hears how many were published and how many credits were left.
    """

    def __init__(
        self,
        store: TaskStore,
        publisher: TaskPublisher,
        *,
        health: Health | None = None,
        on_batch: Callable[[int, int], None] | None = None,
        counts: TendCounts | None = None,
    ) -> None:
        super().__init__("dispatcher", health=health)
        self._store = store
        self._publisher = publisher
        self._on_batch = on_batch
        self._counts = counts or TendCounts("")
        self._away = 0
        self._publishing: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_UNDER_WAY)

    async def run(self) -> None:
        wait = 0.0
        while not self.stopping:
            try:
                if wait:
                    got = await self._store.await_dispatch(_BATCH, wait)
                else:
                    got = await self._store.dispatch(_BATCH)
                wait = 0.0
                self.touch()
                if not self._away:
                    self.trouble = None
                if got.tasks:
                    await self._publish_soon(got.tasks)
                    if self._on_batch:
                        self._on_batch(len(got.tasks), got.credits)
                if self._away:
                    await self.pause(min(0.1 * 2**self._away, 1.0))
                elif len(got.tasks) < _BATCH or not got.credits:
                    wait = _SLOW_POLL if got.again_ms < 0 else max(0.005, min(_SLOW_POLL, got.again_ms / 1000))
            except LanewayError as error:
                wait = 0.0
                self.trouble = str(error)
                _log.warning("can't dispatch now", error=str(error))
                await self.pause(0.5)

    async def _publish_soon(self, tasks: list[tuple[bytes, int, Claimed]]) -> None:
        """Publishes while the next batch is dispatched. The producer keeps the order of what it is given."""
        await self._room.acquire()
        task = asyncio.create_task(self._publish(tasks), name="laneway-publish")
        self._publishing.add(task)
        task.add_done_callback(self._published)

    def _published(self, task: asyncio.Task[None]) -> None:
        self._publishing.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            # What was dispatched and not published goes back by its deadline.
            _log.error("publishing broke", exc_info=error)

    async def _publish(self, tasks: list[tuple[bytes, int, Claimed]]) -> None:
        failed = await self._publisher.publish(tasks)
        self._counts.dispatched += len(tasks) - len(failed)
        self._counts.unpublished += len(failed)
        if not failed:
            self._away = 0
            return
        try:
            for each in failed:
                if each.too_large:
                    await self._bury(each)
            lost = [(each.incarnation, each.task.id, each.task.fence) for each in failed if not each.too_large]
            if lost:
                # What was perhaps published all the same comes with a fence that is stale by then, and is dropped.
                self._away += 1
                self.trouble = "Kafka has not taken tasks; they went back to their lanes"
                returned = await self._store.release(lost)
                _log.warning("kafka has not taken tasks; they went back", failed=len(lost), returned=returned)
        except LanewayError as error:
            _log.warning("kafka has not taken tasks; they go back by their deadline", error=str(error))

    async def _bury(self, each: Unpublished) -> None:
        """A task that no record can carry would come back for ever, and hold up all behind it: it is dead."""
        size = len(each.task.envelope)
        reason = f"its envelope of {size:,} bytes is larger than the topic takes: lower the queue's limits.maxPayload"
        error = encode_error(AttemptError("too_large", reason, attempt=each.task.attempt + 1))
        await self._store.start(each.incarnation, [(each.task.id, each.task.fence)])
        await self._store.settle(each.incarnation, [Settlement(Kind.DEAD, each.task.id, each.task.fence, data=error)])
        _log.error("a task is too large for kafka and dead", task=id_text(each.task.id), size=size)

    async def on_stop(self) -> None:
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=5.0)
        await self._publisher.close()
