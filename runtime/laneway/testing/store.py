"""The store under a TestQueue: a MemoryStore that remembers what was submitted and knows who waits for an end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar

import msgspec

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.kit.logs import current_scope
from laneway.model.config import QueueConfig
from laneway.model.envelope import Envelope, decode_stored
from laneway.ports.store import Submitted, TaskView

#: The store whose driver this context runs under: set for handlers and all that they start.
driven_by: ContextVar[QueueStore | None] = ContextVar("laneway_testing_driven_by", default=None)


class _Wait(msgspec.Struct, eq=False):
    """A handler's wait for the end of a task, until ``deadline_us``."""

    waiter: str
    awaited: bytes
    deadline_us: int


class QueueStore(MemoryStore):
    """``news`` is set whenever the driver may have something to do. ``await_end(id, seconds)`` is called by who waits
    for a task outside of handlers: it makes time pass."""

    def __init__(self, clock: VirtualClock, await_end: Callable[[bytes, float], Awaitable[TaskView | None]]) -> None:
        super().__init__(clock)
        self.submissions: dict[bytes, Envelope] = {}
        self.news = asyncio.Event()
        self._await_end = await_end
        self._waits: list[_Wait] = []

    async def submit(self, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        """Submits (id, envelope) pairs, and keeps those that were taken for people to look at."""
        results = await super().submit(batch)
        for result in results:
            if result.code == "accepted":
                self.submissions[result.id] = decode_stored(self._t.tasks[result.id].stored)
        self.news.set()
        return results

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        """Ends tasks that wait; asks running ones to stop."""
        answers = await super().cancel(ids)
        self.news.set()
        return answers

    async def wait_ended(self, id: bytes, timeout: float) -> TaskView | None:
        """Waits for the task to end, in virtual time: a handler lets the driver go on, anybody else drives."""
        if driven_by.get() is not self:
            return await self._await_end(id, timeout)
        scope = current_scope()
        wait = _Wait(scope.task if scope else "", id, self.clock.now_us() + round(timeout * 1_000_000))
        self._waits.append(wait)
        self.news.set()
        try:
            return await super().wait_ended(id, timeout)
        finally:
            self._waits.remove(wait)
            self.news.set()

    # -- what the driver asks

    def live_config(self) -> QueueConfig:
        """The configuration in force."""
        return self._step().conf

    def view(self, id: bytes) -> TaskView | None:
        """All that is known of a task now."""
        return self._view(self._t.tasks.get(id))

    def due_times(self) -> dict[bytes, float]:
        """When each scheduled task is due, in ms since 1970."""
        return {id: due for due, id in self._t.scheduled.first(len(self._t.scheduled))}

    def ended_or_gone(self, id: bytes) -> bool:
        """Whether nothing will happen to the task any more by itself."""
        task = self._t.tasks.get(id)
        return task is None or task.state.final

    def waiting_for(self) -> dict[str, list[bytes]]:
        """Which tasks each handler waits for that does nothing but wait: it goes on when one of them ends, or when
        its time is up."""
        now = self.clock.now_us()
        waits: dict[str, list[bytes]] = {}
        for wait in self._waits:
            if not self.ended_or_gone(wait.awaited) and wait.deadline_us > now:
                waits.setdefault(wait.waiter, []).append(wait.awaited)
        return waits

    def anything_queued(self) -> bool:
        """Whether tasks wait in lanes."""
        return any(len(lane) for lane in self._t.lanes.values())

    def next_due_ms(self) -> int | None:
        """In how many ms the next scheduled task is due; None when none is scheduled."""
        return self._until(self._t.scheduled.first(1))

    def next_expiry_ms(self) -> int | None:
        """In how many ms the next start timeout is over; None without any."""
        return self._until(self._t.startby.first(1))

    def _until(self, first: list[tuple[float, bytes]]) -> int | None:
        # Up to the next full millisecond: before it, the store's time has not reached the due time.
        return max(0, math.ceil(first[0][0]) - self.clock.now_ms()) if first else None
