"""Makes things happen in a TestQueue: runs what is due, and moves the clock to what is due next."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable

from laneway.adapters.memory import VirtualClock
from laneway.errors import LanewayError
from laneway.kit.ids import id_text
from laneway.ports.store import TaskView
from laneway.testing.crew import Crew
from laneway.testing.store import QueueStore, driven_by

#: Milliseconds of virtual time for which waiting alone may go on, with nothing due in the queue.
IDLE_MOST_MS = 21_600_000
_PAGE = 100

LIMIT = 10_000


class QueueStuck(LanewayError):
    """A TestQueue can't come to rest: a handler does not end, or tasks come without end; the message says which."""


class Driver:
    """``slots`` handlers run at once; one that waits for another task's end lends its slot meanwhile. ``patience``
    bounds how long a handler may do nothing that the queue hears of, in seconds of real time (None: for ever)."""

    def __init__(self, store: QueueStore, clock: VirtualClock, crew: Crew, slots: int, patience: float | None) -> None:
        self._store = store
        self._clock = clock
        self._crew = crew
        self._slots = slots
        self._patience = patience
        self._first = b""
        self._idle_ms = 0

    async def go(
        self,
        *,
        until: Callable[[], bool] = lambda: False,
        deadline_ms: int | None = None,
        skip_time: bool = True,
        limit: int = LIMIT,
        one: bool = False,
    ) -> int:
        """Runs what is due, until nothing is (or ``until()``). Returns how many attempts ended.

        With a deadline, time goes on to it, and no further; with ``skip_time`` it goes on to whatever is due next;
        else it stands still. ``one``: only one task is begun, which :attr:`first` names, and what that waits for.

        Raises:
            QueueStuck: more than ``limit`` attempts, or a handler that does not end.
            UnknownTask: there is no handler for a task.
        """
        token = driven_by.set(self._store)
        before, self._first, self._idle_ms = self._crew.ended, b"", 0
        try:
            while not await self._rests(until, one):
                if self._crew.ended - before > limit:
                    raise QueueStuck(self._endless(limit))
                again_ms = await self._begin(one)
                if self._crew.unsettled:
                    continue
                if self._working():
                    await self._hear()
                elif not await self._pass_time(again_ms, deadline_ms, skip_time):
                    break
        finally:
            driven_by.reset(token)
        return self._crew.ended - before

    @property
    def first(self) -> bytes:
        """The id of the first task that the last :meth:`go` began; empty when it began none."""
        return self._first

    async def _rests(self, until: Callable[[], bool], one: bool) -> bool:
        """Settles what has ended, and says whether that was all."""
        self._store.news.clear()
        await self._crew.settle()
        if one and self._first and all(id != self._first for id, _ in self._crew.executor.running()):
            return True
        return until()

    def _working(self) -> int:
        """How many handlers do something else than wait for the end of a task."""
        waiting = self._store.waiting_for()
        return sum(id_text(id) not in waiting for id, _ in self._crew.executor.running())

    async def _begin(self, one: bool) -> int:
        """Begins tasks in free slots; returns in how many ms a lane at its rate may be asked again (-1: none)."""
        await self.promote()
        working, busy = self._working(), self._crew.executor.busy
        want = max(0, self._slots - working)
        if one:
            want = 1 if not working else 0
        begun, again_ms = await self._crew.claim(want, max(self._slots, busy + want))
        if begun:
            self._idle_ms = 0
            self._first = self._first or begun[0].id
        return again_ms

    async def _hear(self) -> None:
        """Waits, in real time, for a handler to end, or to do something with the queue."""
        try:
            async with asyncio.timeout(self._patience):
                await self._store.news.wait()
        except TimeoutError:
            raise QueueStuck(
                f"{self._running()} for {self._patience:g} s of real time. Time is virtual for the queue only: what "
                "handlers sleep or wait for themselves is real. Give the handler less to wait for in tests, a timeout, "
                "or TestQueue(app, patience=...) more seconds"
            ) from None

    async def _pass_time(self, again_ms: int, deadline_ms: int | None, skip_time: bool) -> bool:
        """Moves the clock to what comes next; False when nothing does."""
        due = self._store.next_due_ms()
        # A lane at its rate says when it may be asked again, also when it is empty.
        again = again_ms if again_ms >= 0 and self._store.anything_queued() else None
        events = [due, again]
        if self._crew.executor.busy:
            timer = self._clock.next_timer_ms()
            events.append(None if timer is None else math.ceil(timer))
        if deadline_ms is not None:
            left = deadline_ms - self._clock.now_ms()
            if left <= 0:
                return False
            events += [self._store.next_expiry_ms(), left]
        elif not skip_time:
            return False
        step = min((event for event in events if event is not None), default=None)
        if step is None:
            return False
        if due is None and again is None and deadline_ms is None:
            self._idle_ms += step
            if self._idle_ms > IDLE_MOST_MS:
                raise QueueStuck(f"{self._running()}, and nothing in the queue will end that")
        await self.pass_ms(step)
        return True

    async def pass_ms(self, ms: int) -> None:
        """Moves the clock, and does what a poller would have done meanwhile."""
        self._clock.advance(ms)
        await self.promote()
        cursor, _ = await self._store.sweep("", _PAGE)
        while cursor:
            cursor, _ = await self._store.sweep(cursor, _PAGE)
        more = True
        while more:
            _, more = await self._store.trim(_PAGE)

    async def promote(self) -> None:
        """Moves due tasks to their lanes, and expires what was not started in time."""
        while True:
            got = await self._store.promote(_PAGE)
            if got.promoted + got.expired < _PAGE:
                return

    # -- what is said when it does not end

    def _running(self) -> str:
        waiting = self._store.waiting_for()
        parts = []
        for id, _ in self._crew.executor.running():
            text = f"task {id_text(id)} ({_type(self._store.view(id))}) has been running"
            awaited = waiting.get(id_text(id))
            if awaited:
                names = ", ".join(self.describe(each) for each in awaited)
                text += f", waiting for {names}"
            parts.append(text)
        return "; ".join(parts) or "nothing has been running"

    def describe(self, id: bytes) -> str:
        """A task in words."""
        view = self._store.view(id)
        return f"task {id_text(id)} ({_type(view)}), which is {view.state.label if view else 'forgotten'}"

    def _endless(self, limit: int) -> str:
        ((most, times),) = Counter(env.body.type for env in self._store.submissions.values()).most_common(1)
        return (
            f"the queue is not at rest after {limit:,} attempts ({most!r} was submitted {times:,} times): a task that "
            "always snoozes or submits itself again never ends. Run it for a while, with advance(seconds), or run one "
            "attempt at a time, with run_one()"
        )


def _type(view: TaskView | None) -> str:
    return view.envelope.body.type if view else "?"
