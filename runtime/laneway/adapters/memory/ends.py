"""The ends of a task and what an end sets free, as in ``lua/lib/finish.lua``."""

from __future__ import annotations

from laneway.adapters.memory import order
from laneway.adapters.memory.outbox import flush_events
from laneway.adapters.memory.tables import (
    F_CANCEL,
    F_ERRORS,
    F_SUSPECT,
    NOBODY,
    TEND_CAP,
    Step,
    Task,
)
from laneway.model.record import AttemptError, encode_error
from laneway.model.states import State

_ERRORS_KEPT = 60_000


def add_error(task: Task, raw: bytes) -> None:
    """Keeps one more error (msgpack); the oldest go when there are too many bytes of them."""
    task.errors.append(raw)
    while len(task.errors) > 1 and sum(len(error) + 4 for error in task.errors) > _ERRORS_KEPT:
        del task.errors[0]
    task.flags |= F_ERRORS


def unhold(step: Step, task: Task) -> None:
    """Takes a held task from its holder: slot, running counts and marks are free again."""
    held = step.t.held[task.holder]
    held.remove(task.id)
    if not held:
        del step.t.held[task.holder]
    step.t.dispatched.remove(task.id)
    order.occupy(step, task, -1)
    step.freed_tenants.add(task.tenant)
    step.freed_slots += 1
    step.t.cancelling.discard(task.id)


def finish(step: Step, task: Task, state: State) -> None:
    """Brings a task to one of its ends."""
    task.state = state
    step.freed_tenants.add(task.tenant)
    task.since = step.now
    task.fresh = False
    task.flags &= ~(F_CANCEL | F_SUSPECT)
    step.t.ended[state].add(task.id, step.now)
    step.t.startby.remove(task.id)
    key = task.head.idem_key
    # A key that has been forgotten since, or is another task's now, is not this task's to end.
    if key is not None and step.t.idem.get(key, (b"",))[0] == task.id:
        step.t.idem_ends[key] = step.now + step.conf.idem_ms
    if state != State.DEAD:
        step.t.finished_bytes += task.size
    step.done.append((task.id, state))
    step.emit(state.label, task)


def schedule(step: Step, task: Task, due: float) -> None:
    """Sends a task to wait until ``due`` (ms since 1970)."""
    task.state = State.SCHEDULED
    task.since = step.now
    task.fresh = False
    step.t.scheduled.add(task.id, due)
    step.news_to_tend = True


def requeue(step: Step, task: Task) -> None:
    """Sends a task back to where it waited, with the score it had. Nobody holds it then."""
    task.since = step.now
    task.holder = NOBODY
    task.score = order.restored(step, task.lane, task.score)
    task.fresh = False
    order.place(step, task)


def give_back(step: Step, task: Task, crashed_worker: str | None) -> None:
    """Takes back a task from a holder that is gone (``crashed_worker`` names it) or that never started it."""
    was_running = task.state == State.RUNNING
    unhold(step, task)
    if task.flags & F_CANCEL:
        finish(step, task, State.CANCELLED)
        return
    if was_running and crashed_worker is not None:
        task.crashes = min(255, task.crashes + 1)
        task.flags |= F_SUSPECT
        message = f"worker {crashed_worker} stopped answering while it ran this task"
        add_error(task, encode_error(AttemptError("crash", message, step.now, worker=crashed_worker)))
        if (
            task.attempts >= (task.head.max_attempts or step.conf.max_attempts)
            and task.crashes >= step.conf.max_crashes
        ):
            finish(step, task, State.DEAD)
            return
        step.emit("crashed", task)
    else:
        if was_running:
            task.attempts = max(0, task.attempts - 1)
        step.emit("released", task)
    requeue(step, task)


def flush(step: Step) -> int:
    """Tells what the call has done, and moves on what waited for the slots it freed. Returns how many tasks
    became ready to go."""
    flush_events(step)
    ready = step.ready + sum(order.unpark(step, tenant) for tenant in sorted(step.freed_tenants))
    step.ready = 0
    step.freed_tenants = set()
    step.t.ends.publish(step.done)
    step.done = []
    if step.news_to_tend:
        step.t.tend.add(1, TEND_CAP)
        step.news_to_tend = False
    return ready
