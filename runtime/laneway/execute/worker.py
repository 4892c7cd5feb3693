"""The worker: exchanges outcomes for tasks, as many as it has slots, until it is told to drain."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.execute.executor import Executor
from laneway.execute.lease import ANNOUNCED, Lease, boottime
from laneway.kit.ids import id_text, new_incarnation
from laneway.kit.logs import get_logger
from laneway.model.settlement import Settlement
from laneway.policy.stagger import slots_to_fill
from laneway.ports.outcomes import Outcomes
from laneway.ports.source import Exchange, Source
from laneway.ports.store import Beat, TaskStore

log = get_logger(__name__)

_TICK = 0.1


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """``slots``: tasks at once in this process. ``drain`` (s): how long running handlers may finish when stopping.
    ``credit_ms``: how much work, by measured durations, may wait at a Kafka worker beyond its slots; ``credit_max``
    bounds that in tasks."""

    name: str = ""
    slots: int = 10
    drain: float = 25.0
    credit_ms: float = 28.0  # with what is on its way, a late urgent task then waits 30 to 60 ms
    credit_max: int = 2000

    @property
    def shown_name(self) -> str:
        """The name that the worker registers by: its own, or else host and process."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"


class Worker:
    """One worker process's main loop.

    ``make_executor`` is called once with ``on_settled``, ``on_dropped``, ``may_start`` and ``worker_name``;
    ``make_store`` gives the heartbeat's thread its own store; ``average_ms`` says how long handlers take (0: not
    known yet), ``worked`` how many have ended so far and how many ms they ran together. ``on_exchange`` hears of each
    call: settled, received, seconds; ``on_answered`` of each batch that Redis has answered, with what was refused by
    index; ``on_progress`` whenever the loop gets somewhere, which is at least each few seconds. The stop order is in
    :meth:`stop`.
    """

    def __init__(
        self,
        store: TaskStore,
        source: Source,
        make_store: Callable[[], TaskStore],
        make_executor: Callable[..., Executor],
        outcomes: Outcomes,
        settings: WorkerSettings,
        *,
        on_exchange: Callable[[int, int, float], None] | None = None,
        on_stale: Callable[[int], None] | None = None,
        on_answered: Callable[[Sequence[Settlement], Mapping[int, str]], None] | None = None,
        average_ms: Callable[[], float] = lambda: 0.0,
        worked: Callable[[], tuple[int, float]] = lambda: (0, 0.0),
    ) -> None:
        self._store = store
        self._source = source
        self._make_store = make_store
        self.settings = settings
        self.name = settings.shown_name
        self._on_exchange = on_exchange
        self._on_stale = on_stale
        self._on_answered = on_answered
        self._executor = make_executor(
            on_settled=self._settled, on_dropped=self._dropped, may_start=self._may_start, worker_name=self.name
        )
        self._outcomes = outcomes
        self._news = asyncio.Event()
        self._inc = b""
        self._announced = b""
        self._lease: Lease | None = None
        self._lost_lease = asyncio.Event()
        self._stopping = False
        self._moved = time.monotonic()
        self._average_ms = average_ms
        self._worked = worked
        self.on_progress: Callable[[], None] = lambda: None
        self._loop_task: asyncio.Task[None] | None = None
        self._tick_task: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[Exchange] | None = None
        self.done = 0
        self._exchange_s = 0.0  # a moving average
        self._paced_at, self._paced_done, self._seen_pace = time.monotonic(), 0, 0.0
        self.stale = 0
        self.draining = asyncio.Event()

    # -- what the executor tells

    def _settled(self, settlement: Settlement) -> None:
        if not self._outcomes.fresh:
            self._news.set()
        self._outcomes.add(settlement)
        self.done += 1

    def _dropped(self, task_id: bytes) -> None:
        self._news.set()

    def _may_start(self) -> bool:
        return self._lease is not None and self._lease.fresh()

    # -- life

    @property
    def executor(self) -> Executor:
        """What runs the handlers."""
        return self._executor

    @property
    def incarnation(self) -> bytes:
        """The registration in force."""
        return self._inc

    async def start(self) -> None:
        """Registers and begins to take work."""
        config = await self._store.config()
        self._lease = Lease(
            self._make_store,
            interval=config.beat_ms / 1000,
            lease=config.lease_ms / 1000,
            known=self._known,
            worked=self._worked,
            progress_age=lambda: time.monotonic() - self._moved,
            on_beat=self._on_beat,
            slots=lambda: self.settings.slots,
            window=self._window,
        )
        self._lease.start()
        await self._register()
        self._tick_task = asyncio.create_task(self._tick(), name="laneway-tick")
        self._loop_task = asyncio.create_task(self._loop(), name="laneway-worker")

    async def _tick(self) -> None:
        """Moves the mark by which the heartbeat sees that this event loop is not blocked."""
        while True:
            self._moved = time.monotonic()
            if self._executor.busy >= self.settings.slots:
                self.on_progress()  # full: there is nothing to ask for
            await asyncio.sleep(_TICK)

    def _known(self) -> dict[bytes, int]:
        known = dict(self._executor.running())
        known.update(self._outcomes.unsettled())
        return known

    def _window(self) -> int:
        """How many tasks may be held: the slots, and with Kafka about ``credit_ms`` of work on its way."""
        slots = self.settings.slots
        if self._source.mode != "kafka":
            return slots
        return slots + max(1, min(int(self._pace() * self.settings.credit_ms), self.settings.credit_max))

    def _pace(self) -> float:
        """Tasks per ms that this worker gets done: seen while its slots are full, else as its handlers' durations
        would allow. (All that a task costs beside its handler shows only in the first.)"""
        now, done = time.monotonic(), self.done
        elapsed, finished = now - self._paced_at, done - self._paced_done
        if elapsed >= 0.25:
            self._paced_at, self._paced_done = now, done
            # (some slots are always between two tasks, however much there is to do)
            full = 2 * self._executor.busy >= self.settings.slots and finished >= self.settings.slots
            self._seen_pace = finished / elapsed / 1000 if full else 0.0
        if self._seen_pace:
            return self._seen_pace
        average = self._average_ms()
        return (
            self.settings.slots / max(average, 0.02) if average > 0 else self.settings.slots / self.settings.credit_ms
        )

    async def _register(self) -> None:
        """Registers a new incarnation, adopting what really runs here and is still held by the last one."""
        last, inc = self._inc, new_incarnation()
        running = list(self._known().items())
        partitions = await self._source.partitions()
        pause = 0.05
        while True:
            sent = boottime()
            try:
                got = await self._store.register(
                    inc, self.name, self._source.mode, self.settings.slots, self._window(), partitions, last, running
                )
                break
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("redis is away, registering again", error=str(error))
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, 1.0)
        self._inc = inc
        self._lost_lease.clear()
        for id_, _ in running:
            if id_ not in got.adopted:
                self._forget(id_)
        assert self._lease is not None
        self._lease.hold(inc, sent)  # first: opening may wait for Kafka, and what was adopted must stay held
        await self._source.open(inc, got.partition, self._news.set)
        self._lease.announce()
        if last:
            log.warning("registered anew", adopted=len(got.adopted), lost=len(running) - len(got.adopted))
        self._news.set()

    def _forget(self, id_: bytes) -> None:
        """A task that is not this worker's any more: its handler is stopped, and nothing is written for it."""
        self._executor.lose(id_)
        if self._outcomes.forget(id_):
            self._count_stale(1)

    def _count_stale(self, n: int) -> None:
        self.stale += n
        if self._on_stale:
            self._on_stale(n)

    def _on_beat(self, inc: bytes, beat: Beat, known: dict[bytes, int]) -> None:
        if inc != self._inc:
            return
        if beat.status != "ok":
            log.warning("the lease is gone", status=beat.status)
            self._lost_lease.set()
            self._news.set()
            return
        if self._announced != inc and beat.state == ANNOUNCED:
            # Only an announced worker gets work, so the first look came too early.
            self._announced = inc
            self._news.set()
        for id_ in beat.cancel:
            self._executor.cancel(id_)
        if beat.lost:
            # What is settled by now, or came back under a new fence since the beat was made, is not lost.
            running = dict(self._executor.running())
            for id_ in beat.lost:
                if id_ in running and running[id_] == known.get(id_):
                    log.warning("the task was given away while it ran", task=id_text(id_))
                    self._executor.lose(id_)
        if beat.state == 3 and not self._stopping:
            self.draining.set()

    # -- the loop

    async def _loop(self) -> None:
        pause = 0.05
        pending: list[Settlement] = []
        want = 0
        while True:
            ahead, self._ahead = self._ahead, None
            if ahead is None:
                if self._lost_lease.is_set():
                    await self._register()
                pending, want = self._due(0)
                if not pending and not want:
                    if self._stopping and not self._executor.busy:
                        return
                    await self._news.wait()
                    continue
            try:
                got = await (self._exchange(pending, want) if ahead is None else ahead)
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("redis is away, outcomes wait", waiting=len(pending), error=str(error))
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, 1.0)
                continue
            pause = 0.05
            if self._on_answered is not None:
                self._on_answered(pending, got.refused)
            self._outcomes.answered()
            stale = sum(code == "stale" for code in got.refused.values())
            if stale:
                self._count_stale(stale)
                log.warning("outcomes refused: the tasks were given away", count=stale)
            if got.status in ("gone", "late"):
                self._lost_lease.set()
                continue
            if got.status == "draining" and not self._stopping:
                self.draining.set()
            took = len(got.tasks)
            if took and got.full:
                # There is more: the next call is on its way while these are started, so that Redis need not wait.
                pending, want = self._due(took)
                if pending or want:
                    self._ahead = asyncio.create_task(self._exchange(pending, want), name="laneway-exchange")
                    await asyncio.sleep(0)
            for task in got.tasks:
                self._executor.start(task, got.now_ms)
            if self._ahead is not None:
                continue
            if took and got.full:
                continue
            if took or self._outcomes.fresh:
                # There is no more: handlers that end at once are settled by the next call.
                await asyncio.sleep(0)
                if self._outcomes.fresh:
                    continue
            if self._stopping:
                continue  # perhaps that was the last: nothing else would tell
            if self._news.is_set():
                continue  # that came meanwhile: a claim left waiting would only be taken back for it
            if self._executor.busy < self.settings.slots:
                # (While a handler runs, it may block this loop: then nothing is taken that nobody could start.)
                self._source.listen(0 if self._executor.busy or got.again_ms >= 0 else self.settings.slots)
            await self._wait(got.again_ms)

    def _due(self, taken: int) -> tuple[list[Settlement], int]:
        """What to settle now, and how many tasks to ask for when ``taken`` are about to start."""
        self._news.clear()
        self.on_progress()
        free = self.settings.slots - self._executor.busy - taken
        if self._stopping or free <= 0:
            return self._outcomes.batch(), 0
        if self._source.mode == "direct":  # (by Kafka tasks are here already)
            free = slots_to_fill(free, self.settings.slots, self._average_ms(), self._exchange_s * 1000)
        return self._outcomes.batch(), free

    async def _exchange(self, pending: list[Settlement], want: int) -> Exchange:
        began = time.perf_counter()
        got = await self._source.exchange(pending, want)
        took = time.perf_counter() - began
        self._exchange_s += (took - self._exchange_s) / 8 if self._exchange_s else took
        if self._on_exchange:
            self._on_exchange(len(pending), len(got.tasks), took)
        return got

    async def _wait(self, again_ms: int) -> None:
        """Waits for news, or until a lane that is at its rate may be asked again."""
        if again_ms < 0:
            await self._news.wait()
            return
        try:
            async with asyncio.timeout(again_ms / 1000):
                await self._news.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Drains: first no more work is fetched, then running handlers finish or are handed back, then all is
        settled, and only then the registration goes, so that nobody else runs what is still running here."""
        if self._loop_task is None or self._stopping:
            return
        self._stopping = True
        assert self._lease is not None
        self._lease.drain()
        await self._source.hand_back()
        await self._executor.stop(self.settings.drain)
        self._news.set()
        # (Waits without raising: a loop that broke is told by ``failed``, and what it held goes back all the same.)
        _, late = await asyncio.wait([self._loop_task], timeout=10.0)
        if late:
            log.error("not everything could be settled", waiting=len(self._outcomes))
        for task in (self._loop_task, self._ahead, self._tick_task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._source.close()
        await self._lease.stop()  # first: a beat after the end would find itself gone
        try:
            await self._store.deregister(self._inc)
        except LanewayError as error:
            log.warning("could not deregister; the reaper will", error=str(error))

    @property
    def failed(self) -> BaseException | None:
        """What broke the main loop; None while all is well. The process has to end then: its tasks go elsewhere."""
        task = self._loop_task
        if task is None or not task.done() or task.cancelled():
            return None
        return task.exception()

    def view(self) -> dict[str, Any]:
        """What this worker does now, for health and debugging."""
        return {
            "name": self.name,
            "slots": self.settings.slots,
            "busy": self._executor.busy,
            "unsettled": len(self._outcomes),
            "done": self.done,
            "stale": self.stale,
            "lease_fresh": self._may_start(),
        }
