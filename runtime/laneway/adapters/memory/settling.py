"""Settlements, each accepted once, from the holder with the current fence, as in ``lua/lib/settle.lua``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from laneway.adapters.memory.ends import add_error, finish, requeue, schedule, unhold
from laneway.adapters.memory.tables import F_CANCEL, F_RESULT, F_SUSPECT, Step, Task
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State

_LONGEST_MS = 1e15


def _settle_one(step: Step, task: Task, s: Settlement) -> None:
    unhold(step, task)
    if s.kind == Kind.COMPLETE:
        if s.data is not None:
            task.flags |= F_RESULT
            task.size += len(s.data)
            task.result = s.data
        finish(step, task, State.SUCCEEDED)
        return
    if s.data is not None:
        add_error(task, s.data)
    if s.crashed:
        task.crashes = min(255, task.crashes + 1)
        task.flags |= F_SUSPECT
    cancelled = bool(task.flags & F_CANCEL) and s.kind in (Kind.RETRY, Kind.SNOOZE, Kind.RELEASE)
    if s.kind == Kind.CANCEL or cancelled:
        finish(step, task, State.CANCELLED)
    elif s.kind == Kind.EXPIRE:
        finish(step, task, State.EXPIRED)
    elif s.kind == Kind.DEAD or (s.kind == Kind.RETRY and 0 < task.head.max_attempts <= task.attempts):
        finish(step, task, State.DEAD)
    elif s.kind == Kind.RETRY:
        step.emit("retried", task)
        schedule(step, task, step.now + _delay(s.delay_ms))
    else:
        if task.state == State.RUNNING:
            task.attempts = max(0, task.attempts - 1)
        if s.kind == Kind.SNOOZE:
            step.emit("snoozed", task)
            schedule(step, task, step.now + _delay(s.delay_ms))
        else:
            step.emit("released", task)
            requeue(step, task)


def _delay(ms: float) -> float:
    return 0.0 if math.isnan(ms) or ms < 0 else min(ms, _LONGEST_MS)


def settle_batch(step: Step, inc: bytes, batch: Sequence[Settlement]) -> dict[int, str]:
    """Applies the settlements; returns the index and reason (already, stale) of those not accepted."""
    refused: dict[int, str] = {}
    done: set[bytes] = set()
    for i, s in enumerate(batch):
        task = step.t.tasks.get(s.id)
        if s.id in done and task is not None and task.fence == s.fence:
            refused[i] = "already"
        elif task is None or task.fence != s.fence or task.holder != inc:
            refused[i] = "stale"
        elif task.state == State.RUNNING or (task.state == State.DISPATCHED and s.kind == Kind.RELEASE):
            done.add(s.id)
            _settle_one(step, task, s)
        elif task.state == State.DISPATCHED:
            refused[i] = "stale"
        else:
            refused[i] = "already"
    return refused
