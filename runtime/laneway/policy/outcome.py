"""What becomes of a task after an attempt: the one place that turns an ending into a settlement."""

from __future__ import annotations

import math
import random
import signal
import traceback
from collections.abc import Collection
from typing import Any

import msgspec

from laneway.model.envelope import Backoff
from laneway.model.outcomes import Cancel, Discard, Outcome, Retry, Snooze
from laneway.model.record import AttemptError, encode_error
from laneway.model.settlement import Kind
from laneway.model.task import TaskDef
from laneway.policy.backoff import delay_ms

MAX_MESSAGE = 2_000  # characters
MAX_TRACEBACK = 6_000  # characters, of the end: that is where the cause stands
MAX_DELAY = 315_360_000.0  # seconds: ten years
MAX_RESULT = 1_048_576  # bytes

#: A worker that knows the type may come with the roll-out that is under way, so attempts are not burnt fast.
UNKNOWN_TYPE_BACKOFF = Backoff(base=15.0, cap=300.0)


class Decision(msgspec.Struct):
    """A settlement without the task it is for. ``delay_ms`` and ``data`` are as in a settlement."""

    kind: Kind
    delay_ms: float = 0.0
    data: bytes | None = None
    crashed: bool = False


class Attempt(msgspec.Struct):
    """The attempt that ended. ``backoff`` is the submitter's override, ``queue_backoff`` what the queue
    says when nobody else does; ``at_ms`` is when, in ms since 1970."""

    attempt: int
    max_attempts: int
    worker: str = ""
    at_ms: int = 0
    backoff: Backoff | None = None
    queue_backoff: Backoff = Backoff()

    @property
    def last(self) -> bool:
        """Whether no attempt is left after this one."""
        return self.attempt >= self.max_attempts


def of_result(
    task: TaskDef, attempt: Attempt, result: Any, max_result: int = MAX_RESULT, rand: random.Random | None = None
) -> Decision:
    """The handler returned: a result to keep (at most ``max_result`` bytes), nothing, or an outcome."""
    if result is None:
        return Decision(Kind.COMPLETE)
    if isinstance(result, Outcome):
        return of_exception(task, attempt, result, rand)
    try:
        data = task.encode_result(result)
    except Exception as error:
        message = f"the result of {task.name!r} ({type(result).__name__}) can't be encoded: {error_text(error)}"
        return Decision(Kind.DEAD, data=_error(attempt, "ResultNotEncodable", message))
    if data is not None and len(data) > max_result:
        message = (
            f"the result of {task.name!r} has {len(data):,} bytes, over the limit of {max_result:,}: "
            "store it elsewhere and return where it is"
        )
        return Decision(Kind.DEAD, data=_error(attempt, "ResultTooLarge", message))
    return Decision(Kind.COMPLETE, data=data)


def of_exception(task: TaskDef, attempt: Attempt, error: BaseException, rand: random.Random | None = None) -> Decision:
    """The handler raised: an outcome by its own word, anything else by the task's policy."""
    if isinstance(error, Outcome):
        return _of_outcome(task, attempt, error, rand)
    data = _error(attempt, type(error).__name__, error_text(error), traceback_text(error))
    if attempt.last or isinstance(error, task.give_up_on):
        return Decision(Kind.DEAD, data=data)
    return Decision(Kind.RETRY, delay_ms(_backoff(task, attempt, error), attempt.attempt, rand), data)


def _of_outcome(task: TaskDef, attempt: Attempt, outcome: Outcome, rand: random.Random | None) -> Decision:
    name, reason = type(outcome).__name__, outcome.reason
    if isinstance(outcome, Cancel):
        return Decision(Kind.CANCEL, data=_error(attempt, name, reason))
    if isinstance(outcome, Discard):
        return Decision(Kind.DEAD, data=_error(attempt, name, reason))
    snoozes = isinstance(outcome, Snooze)
    delay = outcome.delay if isinstance(outcome, Retry | Snooze) else None
    if (delay is not None or snoozes) and not _is_delay(delay):
        reason = f"{name}(delay={delay!r}): the delay is a number of seconds from 0 to {MAX_DELAY:.0f}"
        name, delay, snoozes = "InvalidOutcome", None, False
    if snoozes and delay is not None:
        return Decision(Kind.SNOOZE, delay * 1000.0, _error(attempt, name, reason) if reason else None)
    data = _error(attempt, name, reason)
    if attempt.last:
        return Decision(Kind.DEAD, data=data)
    if delay is None:
        return Decision(Kind.RETRY, delay_ms(_backoff(task, attempt, outcome), attempt.attempt, rand), data)
    return Decision(Kind.RETRY, delay * 1000.0, data)


def of_bad_arguments(task: TaskDef, attempt: Attempt, error: BaseException) -> Decision:
    """The payload does not fit the handler. It never will: no attempt is spent on trying."""
    message = f"arguments of {task.name!r}: {error_text(error)}"
    return Decision(Kind.DEAD, data=_error(attempt, type(error).__name__, message))


def of_corrupt(attempt: Attempt, error: BaseException) -> Decision:
    """The stored envelope cannot be read."""
    return Decision(Kind.DEAD, data=_error(attempt, "corrupt", error_text(error)))


def of_unknown_type(attempt: Attempt, name: str, known: Collection[str], rand: random.Random | None = None) -> Decision:
    """This worker has no handler of that name; a newer one may have it, so it is tried again later."""
    some = ", ".join(sorted(known)[:20]) or "none"
    message = f"this worker has no task type {name!r}; it has: {some}"
    return _again(attempt, UNKNOWN_TYPE_BACKOFF, "unknown_type", message, rand)


def of_timeout(
    task: TaskDef, attempt: Attempt, seconds: float, how: str = "", rand: random.Random | None = None
) -> Decision:
    """The execution took longer than ``seconds``; ``how`` adds what it took to end it."""
    message = f"{task.name!r} ran longer than its timeout of {seconds:g} s{how}"
    error = TimeoutError()
    if isinstance(error, task.give_up_on):
        return Decision(Kind.DEAD, data=_error(attempt, "timeout", message))
    return _again(attempt, _backoff(task, attempt, error), "timeout", message, rand)


def of_crash(
    task: TaskDef, attempt: Attempt, what: str, guilty: bool = True, rand: random.Random | None = None
) -> Decision:
    """The task's own process died; ``guilty`` says that nothing but the task can have done it."""
    decision = _again(attempt, _backoff(task, attempt, None), "crash", what, rand)
    decision.crashed = guilty
    return decision


def of_cancel_request(attempt: Attempt) -> Decision:
    """Somebody asked for the cancellation, and the handler stopped."""
    return Decision(Kind.CANCEL, data=_error(attempt, "cancelled", "cancelled on request while it ran"))


def of_drain() -> Decision:
    """The worker stops and can't wait longer: back to the lane, with no attempt burnt."""
    return Decision(Kind.RELEASE)


def exit_text(status: int) -> str:
    """How a process ended, in words, from its exit code (negative: the signal that killed it)."""
    if status >= 0:
        return f"its process exited with code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    hint = ": perhaps it was out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by signal {-status} ({name}){hint}"


def error_text(error: BaseException) -> str:
    """The message of an exception; its own ``__str__`` may fail."""
    try:
        return str(error)
    except Exception as broken:
        return f"(no message: its __str__ raised {type(broken).__name__})"


def traceback_text(error: BaseException) -> str:
    """The traceback of an exception, without the executor's own frame, and of it the end."""
    try:
        tb = error.__traceback__
        lines = traceback.format_exception(type(error), error, tb.tb_next if tb and tb.tb_next else tb)
    except Exception as broken:
        return f"(no traceback: formatting it raised {type(broken).__name__})"
    return "".join(lines)[-MAX_TRACEBACK:]


def _again(attempt: Attempt, backoff: Backoff, kind: str, message: str, rand: random.Random | None) -> Decision:
    data = _error(attempt, kind, message)
    if attempt.last:
        return Decision(Kind.DEAD, data=data)
    return Decision(Kind.RETRY, delay_ms(backoff, attempt.attempt, rand), data)


def _backoff(task: TaskDef, attempt: Attempt, error: BaseException | None) -> Backoff:
    for types, backoff in task.backoff_for:
        if isinstance(error, types):
            return backoff
    return attempt.backoff or task.backoff or attempt.queue_backoff


def _is_delay(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= MAX_DELAY


def _error(attempt: Attempt, kind: str, message: str, trace: str = "") -> bytes:
    error = AttemptError(
        kind=_clean(kind),
        message=_clean(message)[:MAX_MESSAGE],
        at=attempt.at_ms,
        attempt=attempt.attempt,
        traceback=_clean(trace),
        worker=attempt.worker,
    )
    return encode_error(error)


def _clean(text: str) -> str:
    """Text without lone surrogates, which file names bring and msgpack can't carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
