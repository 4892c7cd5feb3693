"""What the worker's log says of attempts that did not succeed: one line each. A success writes none."""

from __future__ import annotations

from laneway.kit.ids import id_text
from laneway.kit.logs import get_logger
from laneway.model.record import AttemptError, decode_error
from laneway.model.settlement import Kind
from laneway.policy.outcome import Decision

_log = get_logger("laneway.attempts")


def log_attempt(task_id: bytes, type: str, attempt: int, of: int, decision: Decision) -> None:
    """Tells of an attempt's end: RETRY as a warning, DEAD as an error, SNOOZE and CANCEL as information.

    ``attempt`` counts from 1, ``of`` is how many there may be; ``again_in`` in the line is in seconds.
    """
    error = decode_error(decision.data) if decision.data is not None else None
    why = {"error": _first_line(error)} if error is not None else {}
    task = id_text(task_id)
    match decision.kind:
        case Kind.RETRY:
            again_in = round(decision.delay_ms / 1000, 3)
            _log.warning("attempt failed", task=task, type=type, attempt=attempt, of=of, **why, again_in=again_in)
        case Kind.DEAD:
            _log.error("task is dead", task=task, type=type, attempt=attempt, of=of, **why)
        case Kind.SNOOZE:
            again_in = round(decision.delay_ms / 1000, 3)
            _log.info("task snoozes", task=task, type=type, attempt=attempt, **why, again_in=again_in)
        case Kind.CANCEL:
            _log.info("task is cancelled", task=task, type=type, attempt=attempt, **why)


def _first_line(error: AttemptError) -> str:
    line, _, _ = error.message.strip().partition("\n")
    return f"{error.kind}: {line}" if line else error.kind
