"""What a submission's result code means to the one who submitted."""

from __future__ import annotations

from laneway.errors import (
    IdempotencyConflict,
    InvalidTask,
    LanewayError,
    QueueFull,
    RateLimited,
    Unavailable,
    UnknownLane,
)
from laneway.kit.ids import id_text
from laneway.ports.store import Submitted
from laneway.submit.new_task import NewTask, Receipt


def verdict(task: NewTask, got: Submitted) -> Receipt | LanewayError:
    """The receipt of an accepted task, or the error that says why it was refused (nothing was changed
    then)."""
    wait = max(got.retry_ms, 1) / 1000.0
    match got.code:
        case "accepted":
            return Receipt(got.id)
        case "duplicate":
            return Receipt(got.id, True)
        case "conflict":
            return _conflict(task, got.id)
        case "rate":
            return RateLimited(
                f"the {got.scope} is over its submission rate; try again in {wait:.3g} s", wait, got.scope
            )
        case "depth":
            return QueueFull(f"the queue holds as many tasks as it may ({got.scope}); try again when some have left")
        case "backlog":
            return Unavailable(f"the log of events is too far behind; try again in {wait:.3g} s", wait)
        case "lane":
            return UnknownLane(f"the queue's lanes have changed, and lane {task.lane!r} is not among them")
        case "malformed":
            return InvalidTask(
                "the envelope is malformed; its submitter is of another version than the queue's scripts"
            )
    return LanewayError(f"a submission was answered with {got.code!r}, which is not known here")


def _conflict(task: NewTask, first: bytes) -> IdempotencyConflict:
    other = id_text(first)
    if task.key is None or first == task.id:
        # (It may be another's: nothing is told of it.)
        what = f"the task id {other} can't be used for this task"
    else:
        what = f"the idempotency key {task.key!r} belongs to task {other}, which has another type or payload"
    return IdempotencyConflict(f"{what}; use another, or send the same task again", other)
