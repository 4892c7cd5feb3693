"""Workers come, beat and go: register, heartbeat, farewell and reap."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.memory.ends import flush, give_back
from laneway.adapters.memory.tables import (
    ANNOUNCED,
    DRAINING,
    F_LATE,
    GONE,
    REGISTERED,
    Step,
    Worker,
)
from laneway.model.states import State
from laneway.ports.store import Beat, Reaped, Registered

_FOREVER_AGO = 0
_DEAD_PER_TICK = 2
_HALVED_MS = 60_000
_KEPT_TASKS = 20


def register(
    step: Step, inc: bytes, worker: Worker, partitions: int, last: bytes, running: Sequence[tuple[bytes, int]]
) -> Registered:
    """Registers an incarnation. It takes over what it really runs of its last one; the rest goes back."""
    t = step.t
    known = t.workers.get(inc)
    if known is not None:
        worker = known
    elif partitions > 0:
        used = [w.partition for w in t.workers.values()]
        worker.partition = min(range(partitions), key=lambda p: (used.count(p), p))
    state = REGISTERED
    if last:
        before = t.workers.get(last)
        if before is not None:
            state = DRAINING if before.state == DRAINING else REGISTERED
            before.state, before.beat_ms = GONE, _FOREVER_AGO
        mine = dict(running)
        for id in t.held_by(last):
            task = t.tasks[id]
            if task.state == State.RUNNING and mine.get(id) == task.fence:
                t.held[last].remove(id)
                t.held.setdefault(inc, set()).add(id)
                task.holder = inc
            else:
                give_back(step, task, None)
        if not t.held.get(last, True):
            del t.held[last]
    if known is None:
        worker.state, worker.beat_ms = state, step.now
        t.workers[inc] = worker
    step.wake(flush(step))
    held = t.held.get(inc, set())
    adopted = frozenset(id for id, fence in running if id in held and t.tasks[id].fence == fence)
    return Registered(worker.partition, adopted if last else frozenset())


def heartbeat(
    step: Step, inc: bytes, state: int, slots: int, window: int, running: Sequence[bytes], heal: bool,
    worked: tuple[int, float],
) -> Beat:  # fmt: skip
    """One beat: notes what the worker is able to do and did, heals what it does not know of, says what it lost.

    ``worked``: how many handlers ended since the last beat, and how many ms those took."""
    t = step.t
    worker = t.workers.get(inc)
    if worker is None or worker.state == GONE:
        return Beat("gone", step.now)
    worker.beat_ms = step.now
    state = DRAINING if worker.state == DRAINING else state
    if (worker.state, worker.slots, worker.window) != (state, slots, window):
        worker.state, worker.slots, worker.window = state, slots, window
        t.count_slots()
        step.wake(1)
    _learn(step, *worked)
    held = t.held_by(inc)
    known = set(running)
    for id in held:
        if id in known:
            continue
        task = t.tasks[id]
        long_ago = heal and task.since < step.now - 2 * step.conf.beat_ms
        if long_ago if task.state == State.RUNNING else state != ANNOUNCED:
            give_back(step, task, None)
    step.wake_for(flush(step))
    here = set(held)
    return Beat(
        "ok", step.now, state,
        frozenset(id for id in running if id not in here),
        frozenset(id for id in running if id in here and id in t.cancelling),
    )  # fmt: skip


def _learn(step: Step, ended: int, took_ms: float) -> None:
    """The moving average of how long handlers run, as in ``lua/heartbeat.lua``."""
    t = step.t
    if ended <= 0:
        return
    age = max(0, step.now - t.ran_at) if t.ran_n else 0
    keep = max(0.5 ** (age / _HALVED_MS), min(1.0, _KEPT_TASKS / t.ran_n) if t.ran_n else 1.0)
    t.ran_n, t.ran_ms, t.ran_at = t.ran_n * keep + ended, t.ran_ms * keep + took_ms, step.now


def farewell(step: Step, inc: bytes, page: int, crashed: bool) -> tuple[int, bool]:
    """Takes up to ``page`` tasks from an incarnation that ends; it is forgotten when nothing is left."""
    t = step.t
    worker = t.workers.get(inc)
    if worker is not None:
        worker.state = GONE
    name = worker.name if worker is not None else "?"
    held = t.held_by(inc)[:page]
    for id in held:
        give_back(step, t.tasks[id], name if crashed else None)
    step.wake_for(flush(step))
    more = len(held) >= page
    if not more:
        t.replies.pop(inc, None)
        t.workers.pop(inc, None)
        t.count_slots()
    return len(held), more


def reap(step: Step, gap_ms: int, page: int) -> Reaped:
    """One tick: takes back what was not started in time, then what silent workers hold."""
    t = step.t
    gap = step.now - t.reap_at
    if gap > gap_ms or gap < 0:
        t.reap_grace = step.now + step.conf.lease_ms
    t.reap_at = step.now
    late = t.dispatched.up_to(step.now, page)
    for id in late:
        if t.tasks[id].flags < 3 * F_LATE:
            t.tasks[id].flags += F_LATE
        give_back(step, t.tasks[id], None)
    step.wake_for(flush(step))
    if step.now < t.reap_grace <= step.now + step.conf.lease_ms:
        return Reaped(True, 0, 0, len(late), False)
    silent = sorted(
        (worker.beat_ms, inc) for inc, worker in t.workers.items() if worker.beat_ms <= step.now - step.conf.lease_ms
    )[:_DEAD_PER_TICK]
    dead, returned, more = 0, 0, len(late) >= page
    for _, inc in silent:
        n, left = farewell(step, inc, page, True)
        returned += n
        dead += not left
        more = more or left or len(silent) > 1
    return Reaped(False, dead, returned, len(late), more)
