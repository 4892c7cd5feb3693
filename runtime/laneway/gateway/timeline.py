"""What happened to a task, and how long it waited and ran: told from its envelope, its record and its errors."""

from __future__ import annotations

from laneway.gateway.bodies import HappenedBody, WaitsBody
from laneway.gateway.times import moment
from laneway.model.record import AttemptError, Record
from laneway.model.states import State
from laneway.ports.store import TaskView

_DETAIL = 300
_NAMES = {State.SCHEDULED: "scheduled", State.QUEUED: "queued", State.PARKED: "parked", State.DISPATCHED: "dispatched"}
_READY = (State.QUEUED, State.PARKED)


def history(view: TaskView) -> list[HappenedBody]:
    """The task's timeline, oldest first. Of earlier attempts it knows how they failed, of the last one when it
    started too; of a replay that there was one, and when only until the task starts again. (Errors are kept up to
    60 kB a task, the newest; what gave way is missing here as well. An error's time is told by its worker's clock, all
    others by that of Redis, so the order is that in which things must have happened, not that of the times.)"""
    env, record = view.envelope, view.record
    events = [_happened(env.submitted_ms, "submitted", None, "")]
    runs = _runs(view)
    for errors in runs[:-1]:
        events += [_failed(error) for error in errors]
        events.append(HappenedBody(None, "replayed", None, "its attempts count anew"))
    events += [_failed(error) for error in runs[-1]]
    if record is None:
        return events
    attempt = record.attempts or None
    since_replay = _started_since_replay(view, runs)
    if record.started_ms and since_replay:
        events.insert(_place_of_start(view, runs, len(events)), _happened(record.started_ms, "started", attempt, ""))
    elif record.started_ms and runs[-2]:
        last = runs[-2][-1]
        events.insert(len(events) - 2, _happened(record.started_ms, "started", last.attempt or None, ""))
    if not since_replay and view.state in _READY:
        # Nothing but the replay has brought it here.
        events[-1].at = moment(record.since_ms)
    if view.state.final:
        events.append(_happened(record.since_ms, view.state.label, attempt, ""))
    elif view.state in _NAMES and (record.started_ms or view.state is not State.SCHEDULED):
        events.append(_happened(record.since_ms, _NAMES[view.state], attempt, ""))
    return events


def _runs(view: TaskView) -> list[list[AttemptError]]:
    """The errors of each time that the task was submitted or replayed, oldest first; the last are those since the last
    replay. A replay counts attempts anew, and is known by that alone: one of a task without errors is not known."""
    runs: list[list[AttemptError]] = [[]]
    last = 0
    for error in view.errors:
        attempt = error.attempt or last + 1  # what the poller or a script writes has no number
        if attempt <= last and runs[-1]:
            runs.append([])
        runs[-1].append(error)
        # A snooze gives its attempt back.
        last = attempt - 1 if error.kind == "Snooze" else attempt
    if (
        runs[-1]
        and view.record is not None
        and view.state is not State.DEAD
        and last > _failed_attempts(view, view.record)
    ):
        runs.append([])
    return runs


def _failed_attempts(view: TaskView, record: Record) -> int:
    """How many attempts can have failed since the last replay."""
    return record.attempts - 1 if view.state in (State.RUNNING, State.SUCCEEDED) else record.attempts


def _started_since_replay(view: TaskView, runs: list[list[AttemptError]]) -> bool:
    """Whether the last start that the record tells was after the last replay (True without one)."""
    record = view.record
    if record is None or len(runs) == 1 or runs[-1] or record.attempts:
        return True
    return record.started_ms > runs[-2][-1].at


def _place_of_start(view: TaskView, runs: list[list[AttemptError]], end: int) -> int:
    """Where in the events the last start goes: before the error in which it ended, also within one millisecond."""
    record = view.record
    if record is None or not runs[-1] or view.state in (State.RUNNING, State.SUCCEEDED):
        return end
    last = runs[-1][-1]
    ended_in_it = last.at >= record.started_ms or (view.state is State.DEAD and last.attempt == record.attempts)
    return end - 1 if ended_in_it else end


def _failed(error: AttemptError) -> HappenedBody:
    what = "crashed" if error.kind == "crash" else "failed"
    detail = f"{error.kind}: {error.message}" if error.message else error.kind
    return _happened(error.at, what, error.attempt or None, detail)


def _happened(at: float, what: str, attempt: int | None, detail: str) -> HappenedBody:
    return HappenedBody(moment(at), what, attempt, detail if len(detail) <= _DETAIL else detail[: _DETAIL - 3] + "...")


def waits(view: TaskView, now_ms: float) -> WaitsBody:
    """How long it waited for its last start (until now, if it has not started), from when it could have run first (null
    after a replay: since when it waits again is not known); and how long the last attempt ran (so far; null before)."""
    env, record = view.envelope, view.record
    runs = _runs(view)
    could = max(env.submitted_ms + env.delay_ms, env.at_ms or 0)
    started = record.started_ms if record and _started_since_replay(view, runs) else 0
    ended = record.since_ms if record and view.state.final else 0
    waited = None if len(runs) > 1 else _seconds(could, started or ended or now_ms)
    if not started:
        return WaitsBody(waited, None)
    if view.state is State.RUNNING:
        return WaitsBody(waited, _seconds(started, now_ms))
    last = max((error.at for error in runs[-1] if error.at >= started), default=0)
    return WaitsBody(waited, _seconds(started, ended or last) if ended or last else None)


def _seconds(since: float, until: float) -> float:
    return round(max(0.0, until - since) / 1000, 3)
