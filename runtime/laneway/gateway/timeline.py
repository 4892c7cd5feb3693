"""What happened to a task, and how long it waited and ran: told from its envelope, its record and its errors."""

from __future__ import annotations

from laneway.gateway.bodies import HappenedBody, WaitsBody
from laneway.gateway.times import moment
from laneway.model.states import State
from laneway.ports.store import TaskView

_DETAIL = 300
_NAMES = {State.SCHEDULED: "scheduled", State.QUEUED: "queued", State.PARKED: "parked", State.DISPATCHED: "dispatched"}


def history(view: TaskView) -> list[HappenedBody]:
    """The task's timeline, oldest first. Of earlier attempts it knows how they failed, of the last one when it
    started too. (Errors are kept up to 60 kB a task, the newest; what gave way is missing here as well. An error's time
    is told by its worker's clock, all others by that of Redis.)"""
    env, record = view.envelope, view.record
    events: list[tuple[float, HappenedBody]] = [(env.submitted_ms, _happened(env.submitted_ms, "submitted", None, ""))]
    for error in view.errors:
        what = "crashed" if error.kind == "crash" else "failed"
        detail = f"{error.kind}: {error.message}" if error.message else error.kind
        events.append((error.at, _happened(error.at, what, error.attempt or None, detail)))
    if record is not None:
        attempt = record.attempts or None
        if record.started_ms:
            events.append((record.started_ms, _happened(record.started_ms, "started", attempt, "")))
        if view.state.final:
            events.append((record.since_ms, _happened(record.since_ms, view.state.label, attempt, "")))
        elif view.state in _NAMES and (record.started_ms or view.state is not State.SCHEDULED):
            events.append((record.since_ms, _happened(record.since_ms, _NAMES[view.state], attempt, "")))
    # (A stable sort: what happened in one call, as its error and its end, stays in the order above.)
    return [body for _, body in sorted(events, key=lambda event: event[0])]


def _happened(at: float, what: str, attempt: int | None, detail: str) -> HappenedBody:
    return HappenedBody(moment(at), what, attempt, detail if len(detail) <= _DETAIL else detail[: _DETAIL - 3] + "...")


def waits(view: TaskView, now_ms: float) -> WaitsBody:
    """How long it waited for its last start (until now, if it has not started), from when it could have run first; and
    how long the last attempt ran (so far; null before)."""
    env, record = view.envelope, view.record
    could = max(env.submitted_ms + env.delay_ms, env.at_ms or 0)
    started = record.started_ms if record else 0
    ended = record.since_ms if record and view.state.final else 0
    if not started:
        return WaitsBody(_seconds(could, ended or now_ms), None)
    if view.state is State.RUNNING:
        return WaitsBody(_seconds(could, started), _seconds(started, now_ms))
    last = max((error.at for error in view.errors if error.at >= started), default=0)
    return WaitsBody(_seconds(could, started), _seconds(started, ended or last) if ended or last else None)


def _seconds(since: float, until: float) -> float:
    return round(max(0.0, until - since) / 1000, 3)
