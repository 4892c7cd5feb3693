"""MemoryStore: the TaskStore in plain Python. One method is one script: it happens at once, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from laneway.adapters.memory import claiming, membership, outbox, settling, submitting, tending
from laneway.adapters.memory.actions import MemoryActions
from laneway.adapters.memory.browse import MemoryBrowse
from laneway.adapters.memory.clock import Clock, SystemClock
from laneway.adapters.memory.ends import finish, flush, give_back, unhold
from laneway.adapters.memory.feed import MemoryFeed, MemoryLog
from laneway.adapters.memory.history import MemoryHistory
from laneway.adapters.memory.notes import MemoryNotes
from laneway.adapters.memory.tables import (
    F_CANCEL,
    F_STARTBY,
    REGISTERED,
    TEND_CAP,
    Step,
    Tables,
    Task,
    Worker,
)
from laneway.adapters.memory.workers import MemoryWorkers
from laneway.errors import ConfigError
from laneway.model.config import QueueConfig, TenantConfig, config_hash, encode_config
from laneway.model.envelope import decode_stored
from laneway.model.record import decode_errors
from laneway.model.settlement import Settlement
from laneway.model.states import State
from laneway.ports.store import (
    Beat,
    Begun,
    Depth,
    Dispatched,
    LaneStats,
    OutboxEntry,
    Promoted,
    QueueStats,
    Reaped,
    Registered,
    Start,
    Submitted,
    TaskView,
    Turn,
    WorkerStats,
)

__all__ = ["MemoryStore"]

_BATCH_MOST = 999


class MemoryStore:
    """One queue in this process's memory. On a :class:`VirtualClock` time moves only when advanced."""

    namespace = "default"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._t = Tables()
        self.browse = MemoryBrowse(self._t, self.config)
        self.actions = MemoryActions(self._step)
        self.notes = MemoryNotes(self._t, self.clock)
        self._log = MemoryLog()
        self.events = MemoryFeed(self._log)
        self.history = MemoryHistory(self.clock)
        self.workers = MemoryWorkers(self._step)

    def _step(self) -> Step:
        if self._t.conf is None:
            raise ConfigError("this queue is not configured: call configure() first")
        return Step(self._t, self._t.conf, self.clock)

    # -- configuration

    async def config(self, *, reload: bool = False) -> QueueConfig:
        """The live configuration."""
        return self._step().conf

    @property
    def config_hash(self) -> str:
        """The hash of the configuration in force."""
        return self._t.conf_hash

    async def configure(self, config: QueueConfig, tenants: dict[str, TenantConfig], *, expected: str | None) -> bool:
        """Writes the live configuration if ``expected`` is in force."""
        new, t = config_hash(encode_config(config)), self._t
        if expected is not None and expected != t.conf_hash and t.conf_hash != new:
            return False
        t.conf, t.conf_hash, t.tenants = config, new, dict(tenants)
        step = self._step()
        step.wake(1)
        t.tend.add(1, TEND_CAP)
        return True

    # -- submitters

    async def submit(self, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        """Submits (id, envelope) pairs."""
        if len(batch) > _BATCH_MOST:
            raise ValueError(f"at most {_BATCH_MOST} tasks in one call, not {len(batch)}")
        return submitting.submit(self._step(), batch)

    async def get(self, ids: Sequence[bytes]) -> list[TaskView | None]:
        """All that is known of tasks."""
        return [self._view(self._t.tasks.get(id)) for id in ids]

    def _view(self, task: Task | None) -> TaskView | None:
        if task is None:
            return None
        errors = decode_errors(b"".join(len(error).to_bytes(4, "big") + error for error in task.errors))
        due = self._t.scheduled.score(task.id) or 0.0
        return TaskView(task.id, task.state, decode_stored(task.stored), task.record(), errors, task.result, due)

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        """Ends tasks that wait; asks running ones to stop."""
        return tending.cancel(self._step(), ids)

    async def wait_ended(self, id: bytes, timeout: float) -> TaskView | None:
        """Waits for the task to end."""
        view = self._view(self._t.tasks.get(id))
        if view is None or view.state.final:
            return view
        if not await self._t.ends.wait(id, self.clock, timeout):
            return None
        return self._view(self._t.tasks.get(id))

    # -- workers

    async def register(
        self, inc: bytes, name: str, mode: str, slots: int, window: int, partitions: int,
        last: bytes = b"", running: Sequence[tuple[bytes, int]] = (),
    ) -> Registered:  # fmt: skip
        """Registers an incarnation."""
        step = self._step()
        worker = Worker(name, mode, slots, window, -1, REGISTERED, step.now, step.now)
        return membership.register(step, inc, worker, partitions, last, running)

    async def heartbeat(
        self, inc: bytes, state: int, slots: int, window: int, running: Sequence[bytes], *, heal: bool = True,
        ended: int = 0, took_ms: float = 0.0,
    ) -> Beat:  # fmt: skip
        """One beat."""
        return membership.heartbeat(self._step(), inc, state, slots, window, running, heal, (ended, took_ms))

    async def turn(self, inc: bytes, request: int, want: int, settled: Sequence[Settlement]) -> Turn:
        """Settles a batch and claims the next."""
        step = self._step()
        refused = settling.settle_batch(step, inc, settled)
        ready = flush(step)
        status, tasks = claiming.claim_direct(step, inc, request, want)
        woken = ready - len(tasks)
        if not tasks and step.freed_slots and woken <= 0 and claiming.work_left(step):
            woken = 1
        step.wake(woken)
        return Turn(status, step.now, tasks, refused, -1 if step.again_ms is None else step.again_ms)

    async def start(self, inc: bytes, items: Sequence[tuple[bytes, int]]) -> tuple[int, list[Start]]:
        """Begins dispatched tasks."""
        step = self._step()
        answers: list[Start] = []
        late: set[bytes] = set()
        for id, fence in items:
            task = self._t.tasks.get(id)
            code = 0
            if task is not None and task.fence == fence and task.holder == inc:
                if id in late:
                    code = 3
                elif task.state == State.RUNNING:
                    code = 2
                elif task.state == State.DISPATCHED:
                    code = 1 if self._begin(step, task) else 3
                    if code == 3:
                        late.add(id)
            answers.append(Start(code, task.attempts if task is not None else 0))
        freed = step.freed_slots
        claiming.wake_for_freed(step, inc, flush(step), freed)
        return step.now, answers

    async def begin(self, inc: bytes, items: Sequence[tuple[bytes, int]], settled: Sequence[Settlement]) -> Begun:
        """Settles a batch and begins dispatched tasks."""
        refused = await self.settle(inc, settled)
        now, answers = await self.start(inc, items)
        return Begun(now, bytes(one.code for one in answers), tuple(one.attempt for one in answers), refused)

    def _begin(self, step: Step, task: Task) -> bool:
        deadline = task.head.submitted_ms + task.head.start_timeout_ms
        if task.flags & F_STARTBY and deadline <= step.now:
            unhold(step, task)
            finish(step, task, State.EXPIRED)
            return False
        self._t.dispatched.remove(task.id)
        task.state = State.RUNNING
        task.since = step.now
        claiming.begin(step, task)
        return True

    async def settle(self, inc: bytes, settled: Sequence[Settlement]) -> dict[int, str]:
        """Settles a batch."""
        step = self._step()
        refused = settling.settle_batch(step, inc, settled)
        freed = step.freed_slots
        claiming.wake_for_freed(step, inc, flush(step), freed)
        return refused

    async def extend(self, inc: bytes, id: bytes, fence: int) -> bool | None:
        """Whether cancellation of a held task is requested; None when it is not held any more."""
        task = self._t.tasks.get(id)
        if task is None or task.state != State.RUNNING or task.holder != inc or task.fence != fence:
            return None
        task.since = self._step().now
        return bool(task.flags & F_CANCEL)

    async def release(self, items: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Returns dispatched tasks that will not start."""
        step, released = self._step(), 0
        for holder, id, fence in items:
            task = self._t.tasks.get(id)
            if task is not None and (task.state, task.holder, task.fence) == (
                State.DISPATCHED,
                holder,
                fence,
            ):
                give_back(step, task, None)
                released += 1
        step.wake_for(flush(step))
        return released

    async def deregister(self, inc: bytes) -> int:
        """Ends an incarnation."""
        return membership.farewell(self._step(), inc, len(self._t.held.get(inc, ())) + 1, False)[0]

    # -- the poller's duties

    async def dispatch(self, limit: int) -> Dispatched:
        """Takes tasks for Kafka workers with credits."""
        step = self._step()
        tasks, left = claiming.dispatch_batch(step, limit)
        return Dispatched(step.now, tasks, left, -1 if step.again_ms is None else step.again_ms)

    async def promote(self, limit: int) -> Promoted:
        """Moves due tasks to their lanes."""
        return tending.promote(self._step(), limit)

    async def reap(self, gap_ms: int, page: int) -> Reaped:
        """Returns what dead workers held."""
        return membership.reap(self._step(), gap_ms, page)

    async def sweep(self, cursor: str, limit: int) -> tuple[str, int]:
        """One page of slow repairs."""
        return tending.sweep(self._step(), cursor, limit)

    async def trim(self, limit: int) -> tuple[int, bool]:
        """Forgets ended tasks past what is kept."""
        return tending.trim(self._step(), limit)

    async def wait_work(self, timeout: float) -> bool:
        """Waits for a wake token, on this store's clock."""
        return await self._t.work.take(self.clock, timeout)

    async def await_turn(self, inc: bytes, request: int, want: int, timeout: float) -> Turn:
        """Waits for a wake token, on this store's clock, and claims."""
        await self.wait_work(timeout)
        return await self.turn(inc, request, want, ())

    async def await_dispatch(self, limit: int, timeout: float) -> Dispatched:
        """Waits for a wake token, on this store's clock, and dispatches."""
        await self.wait_work(timeout)
        return await self.dispatch(limit)

    async def wait_tend(self, timeout: float) -> bool:
        """Waits for news to the poller's duties, on this store's clock."""
        return await self._t.tend.take(self.clock, timeout)

    # -- dead letters, statistics

    async def ended(self, state: State, offset: int, limit: int) -> list[tuple[bytes, int]]:
        """(id, ended at, ms) of tasks in a final state, newest first."""
        return [(id, int(at)) for at, id in self._t.ended[state].last(offset, limit)]

    async def replay(self, ids: Sequence[bytes]) -> list[str]:
        """Queues ended tasks again."""
        return tending.replay(self._step(), ids)

    async def purge(self, ids: Sequence[bytes]) -> int:
        """Forgets ended tasks."""
        self._step()
        return tending.purge(self._step(), ids)

    async def stats(self) -> QueueStats:
        """Sizes, lanes and workers now."""
        step, t = self._step(), self._t
        lanes = []
        for lane in step.conf.lanes:
            head = step.lane_set(lane.n).first(1)
            age = step.now - int.from_bytes(head[0][1][:6], "big") if head else -1
            lanes.append(LaneStats(lane.name, len(step.lane_set(lane.n)), t.running_lanes.get(lane.n, 0), age))
        held = sum(len(ids) for ids in t.held.values())
        counts = {
            "submitted": t.submitted,
            "purged": t.purged,
            "queued": sum(len(lane) for lane in t.lanes.values()),
            "scheduled": len(t.scheduled),
            "parked": sum(len(ids) for lanes_ in t.parked.values() for ids in lanes_.values()),
            "blocked": 0,
            "dispatched": len(t.dispatched),
            "running": held - len(t.dispatched),
            **{state.label: len(t.ended[state]) for state in t.ended},
        }
        workers = [
            WorkerStats(
                inc, w.name, w.mode, w.state, w.slots, w.window, w.partition, len(t.held.get(inc, ())),
                max(0, step.now - w.beat_ms),
            )
            for inc, w in t.workers.items()
        ]  # fmt: skip
        return QueueStats(
            step.now, counts, lanes, workers, t.outbox_bytes, len(t.outbox), t.outbox_gap, t.finished_bytes
        )

    async def depth(self, soon_ms: int) -> Depth:
        """How much there is to do, for scaling."""
        step, t = self._step(), self._t
        conf = step.conf
        sizes = {lane.n: len(step.lane_set(lane.n)) for lane in conf.lanes}
        stopped = {lane.n for lane in conf.lanes if conf.paused or lane.paused}
        dispatched = len(t.dispatched)
        return Depth(
            step.now,
            ready=sum(n for lane, n in sizes.items() if lane not in stopped),
            stopped=sum(n for lane, n in sizes.items() if lane in stopped),
            parked=sum(len(ids) for lanes_ in t.parked.values() for ids in lanes_.values()),
            soon=0 if stopped else t.scheduled.count_up_to(step.now + soon_ms),
            dispatched=dispatched,
            running=sum(len(ids) for ids in t.held.values()) - dispatched,
            run_ms=t.ran_ms / t.ran_n if t.ran_n else 0.0,
        )

    # -- the outbox

    async def lease_relay(self, owner: str, ms: int) -> bool:
        """Takes or renews the relay's lease."""
        return outbox.lease(self._t, owner, ms, self.clock.now_ms())

    async def outbox(self, limit: int) -> tuple[list[OutboxEntry], int]:
        """The oldest entries and the gap before them."""
        return list(self._t.outbox.values())[:limit], self._t.outbox_gap

    async def relayed(self, owner: str, entries: Sequence[OutboxEntry], gap: int) -> int:
        """Removes entries that the log acknowledged."""
        return outbox.relayed(self._t, owner, entries, gap, self.clock.now_ms())

    async def append_log(self, stream: str, records: Sequence[bytes], cap: int) -> None:
        """Appends to a capped log."""
        self._log.append(stream, list(records), cap)

    async def check_server(self) -> list[str]:
        """Memory keeps nothing beyond this process, and says so."""
        return ["tasks are kept in this process's memory only: they end with it"]

    async def done_feed(self) -> AsyncIterator[tuple[bytes, State]]:
        """Ends as they happen."""
        queue = self._t.ends.open()
        try:
            while True:
                yield await queue.get()
        finally:
            self._t.ends.shut(queue)

    async def close(self) -> None:
        """Nothing to close."""
