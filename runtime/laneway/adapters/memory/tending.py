"""Duties beside the hot path: promote, sweep, cancel, replay, purge and trim."""

from __future__ import annotations

import math
from collections.abc import Sequence

from laneway.adapters.memory import order
from laneway.adapters.memory.ends import finish, flush, requeue, unhold
from laneway.adapters.memory.tables import F_CANCEL, F_STARTBY, NOBODY, Step, Task
from laneway.model.states import FINAL, WAITING, State
from laneway.ports.store import Promoted

REPLAYABLE = frozenset({State.DEAD, State.CANCELLED, State.EXPIRED})


def withdraw(step: Step, task: Task) -> None:
    """Takes a waiting task out of wherever it waits."""
    if task.state == State.PARKED:
        order.withdraw_parked(step, task)
    elif task.state == State.QUEUED:
        step.lane_set(task.lane).remove(task.id)
    else:
        step.t.scheduled.remove(task.id)


def promote(step: Step, limit: int) -> Promoted:
    """Expires what was not started in time, then moves what is due to its lane."""
    t = step.t
    expired = 0
    for id in t.startby.up_to(step.now, limit):
        task = t.tasks.get(id)
        if task is not None and task.state in WAITING:
            withdraw(step, task)
            finish(step, task, State.EXPIRED)
            expired += 1
    due = t.scheduled.up_to(step.now, limit)
    for id in due:
        task = t.tasks[id]
        t.scheduled.remove(id)
        if task.fresh:
            task.score = order.charge(step, task.lane, task.head.priority, task.tenant)
            order.place(step, task)
            task.fresh = task.state != State.PARKED
        else:
            come_due(step, task)
    step.wake(flush(step))
    first = t.scheduled.first(1)
    return Promoted(len(due), expired, max(0, math.ceil(first[0][0] - step.now)) if first else -1)


def come_due(step: Step, task: Task) -> None:
    """A scheduled task with a record joins its lane: with the place that it had, or a new one if it never had any."""
    if task.score < 0:
        task.score = order.charge_anew(step, task.lane, task.head.priority, task.tenant)
        task.since, task.holder, task.fresh = step.now, NOBODY, False
        order.place(step, task)
        return
    if task.score == 0:
        task.score = order.charge(step, task.lane, task.head.priority, task.tenant)
    requeue(step, task)


def cancel(step: Step, ids: Sequence[bytes]) -> list[str]:
    """Ends tasks that wait; asks running ones to stop."""
    codes: dict[bytes, str] = {}
    for id in ids:
        if id in codes:
            continue
        task = step.t.tasks.get(id)
        if task is None:
            codes[id] = "unknown"
        elif task.state in FINAL:
            codes[id] = "cancelled" if task.state == State.CANCELLED else "ended"
        elif task.state == State.RUNNING:
            task.flags |= F_CANCEL
            step.t.cancelling.add(id)
            codes[id] = "requested"
        else:
            if task.state == State.DISPATCHED:
                unhold(step, task)
            else:
                withdraw(step, task)
            task.holder = bytes(8)
            finish(step, task, State.CANCELLED)
            codes[id] = "cancelled"
    step.wake_for(flush(step))
    return [codes[id] for id in ids]


def replay(step: Step, ids: Sequence[bytes]) -> list[str]:
    """Queues dead, cancelled or expired tasks again, attempts counted anew and errors kept."""
    codes: list[str] = []
    for id in ids:
        task = step.t.tasks.get(id)
        if task is None:
            codes.append("unknown")
        elif task.state not in REPLAYABLE:
            codes.append(task.state.label)
        elif task.lane not in step.lanes:
            codes.append("lane removed")
        else:
            requeue_anew(step, task)
            codes.append("queued")
    step.wake(flush(step))
    return codes


def requeue_anew(step: Step, task: Task) -> None:
    """Queues an ended task again, with its attempts counted anew."""
    t = step.t
    t.ended[task.state].remove(task.id)
    if task.state != State.DEAD:
        t.finished_bytes -= task.size
    key = task.head.idem_key
    if key is not None and t.idem.setdefault(key, (task.id, task.head.idem_print))[0] == task.id:
        t.idem_ends.pop(key, None)
    task.flags &= ~F_STARTBY
    task.attempts = task.crashes = 0
    task.since, task.holder = step.now, bytes(8)
    task.score = order.charge(step, task.lane, task.head.priority, task.tenant)
    order.place(step, task)
    step.emit("replayed", task, 0)


def purge(step: Step, ids: Sequence[bytes]) -> int:
    """Forgets ended tasks."""
    t, gone = step.t, 0
    for id in ids:
        task = t.tasks.get(id)
        if task is not None and task.state in FINAL:
            t.ended[task.state].remove(id)
            if task.state != State.DEAD:
                t.finished_bytes -= task.size
            del t.tasks[id]
            gone += 1
    t.purged += gone
    return gone


def trim(step: Step, limit: int) -> tuple[int, bool]:
    """Forgets ended tasks past what is kept by count, bytes and time."""
    ids: list[bytes] = []
    more = False
    over = 0 < step.conf.keep_bytes < step.t.finished_bytes
    for state, ended in step.t.ended.items():
        keep = step.conf.keep.dead if state == State.DEAD else step.conf.keep.ended
        room = limit - len(ids)
        if room <= 0:
            more = True
            break
        excess = len(ended) - keep.n if keep.n > 0 else 0
        if over and state != State.DEAD:
            excess = max(excess, min(room, len(ended)))
        old: list[bytes] = []
        if excess > 0:
            old = ended.up_to(step.now - step.conf.keep_least_ms, min(excess, room))
        elif keep.ms > 0:
            old = ended.up_to(step.now - keep.ms, room)
        ids += old
        more = more or len(old) >= room
    return purge(step, ids), more


_KEYS_AT_ONCE = 500


def sweep(step: Step, cursor: str, limit: int) -> tuple[str, int]:
    """One page of slow repairs: slots, idempotency keys past their time, parked tenants with room."""
    t = step.t
    if not cursor:
        t.count_slots()
    for key in sorted((key for key, end in t.idem_ends.items() if end <= step.now), key=t.idem_ends.__getitem__)[
        :_KEYS_AT_ONCE
    ]:
        del t.idem_ends[key]
        t.idem.pop(key, None)
    unparked = 0
    tenants = [tenant for tenant in sorted(t.parked) if not cursor or tenant > cursor[1:]]
    for tenant in tenants[:limit]:
        unparked += order.unpark(step, tenant)
    step.wake(flush(step) + unparked)
    return ("=" + tenants[limit - 1] if len(tenants) >= limit else ""), unparked
