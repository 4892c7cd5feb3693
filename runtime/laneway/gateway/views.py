"""What the store knows, as JSON shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from laneway.adapters.queue_metrics import WORKER_STATES
from laneway.gateway.bodies import (
    AttemptErrorBody,
    BackoffBody,
    LaneBody,
    LogsBody,
    ProgressBody,
    StatsAnswer,
    TaskAnswer,
    WorkerBody,
)
from laneway.gateway.timeline import history, waits
from laneway.gateway.times import moment
from laneway.kit.ids import id_text
from laneway.model.config import QueueConfig
from laneway.model.notes import Progress
from laneway.model.record import AttemptError, priority_of
from laneway.ports.store import QueueStats, TaskView


def task_answer(
    queue: str,
    config: QueueConfig,
    view: TaskView,
    *,
    worker: str | None = None,
    progress: ProgressBody | None = None,
    logs: LogsBody | None = None,
    redacted: bool = False,
    now_ms: float | None = None,
) -> TaskAnswer:
    """A task for people and programs. ``redacted`` leaves out what it carries; ``now_ms`` is the queue's clock, this
    machine's unless given."""
    env, body, record = view.envelope, view.envelope.body, view.record
    due = view.due_ms or env.at_ms or (env.submitted_ms + env.delay_ms if env.delay_ms else 0)
    b = body.backoff
    return TaskAnswer(
        id=id_text(view.id),
        queue=queue,
        state=view.state.label,
        type=body.type,
        lane=lane_name(config, record.lane if record else env.lane),
        priority=priority_of(env, record),
        tenant=env.tenant,
        payload=None if redacted else plain(body.payload),
        description=body.description,
        labels=body.labels or {},
        idempotency_key=env.idempotency_key,
        trace=body.trace,
        attempts=record.attempts if record else 0,
        max_attempts=(record.max_attempts if record else env.max_attempts) or None,
        crashes=record.crashes if record else 0,
        submitted_at=moment(env.submitted_ms),
        state_since=moment(record.since_ms) if record else moment(env.submitted_ms),
        run_at=moment(due),
        start_timeout=env.start_timeout_ms / 1000,
        timeout=body.timeout_ms / 1000,
        backoff=BackoffBody(b.base, b.factor, b.cap, b.jitter) if b else None,
        cancel_requested=bool(record and record.cancel_requested),
        errors=[error_body(error, redacted=redacted) for error in view.errors],
        result=plain(view.result) if view.result is not None and not redacted else None,
        ended_at=moment(record.since_ms) if record and view.state.final else None,
        worker=worker,
        progress=progress,
        logs=logs,
        waits=waits(view, time.time() * 1000 if now_ms is None else now_ms),
        history=history(view),
        redacted=redacted,
    )


def lane_name(config: QueueConfig, number: int) -> str:
    """A lane's name, also of one that is in the configuration no more."""
    lane = config.lane_number(number)
    return lane.name if lane else f"(removed lane {number})"


def error_body(error: AttemptError, *, redacted: bool) -> AttemptErrorBody:
    """Why an attempt did not succeed; ``redacted`` leaves out where."""
    traceback = "" if redacted else error.traceback
    return AttemptErrorBody(error.kind, error.message, error.attempt, moment(error.at), error.worker, traceback)


def progress_body(progress: Progress | None) -> ProgressBody | None:
    """How far a task is."""
    return ProgressBody(progress.fraction, progress.message, moment(progress.at)) if progress else None


def stats_answer(queue: str, stats: QueueStats, eta: Callable[[str], float | None]) -> StatsAnswer:
    """A queue's numbers; ``eta`` gives the prediction of a lane."""
    return StatsAnswer(
        queue=queue,
        at=datetime.fromtimestamp(stats.now_ms / 1000, UTC),
        tasks=stats.counts,
        drift=stats.drift,
        lanes=[
            LaneBody(
                lane.name, lane.queued, lane.running, lane.oldest_ms / 1000 if lane.oldest_ms >= 0 else None,
                eta(lane.name),
            )
            for lane in stats.lanes
        ],
        workers=[
            WorkerBody(
                w.name, w.incarnation.hex(), w.mode, WORKER_STATES.get(w.state, str(w.state)), w.slots,
                w.held, w.beat_age_ms / 1000,
            )
            for w in stats.workers
        ],
        outbox_bytes=stats.outbox_bytes,
        outbox_entries=stats.outbox_entries,
        outbox_gap=stats.outbox_gap,
    )  # fmt: skip


def plain(raw: bytes) -> Any:
    """msgpack as values that JSON can show; None when it can't (SDK submitters may use more than JSON
    has)."""
    try:
        value = msgspec.msgpack.decode(raw)
        msgspec.json.encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return None
    return value
