"""A task as lists show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from laneway.gateway.bodies import ProgressBody
from laneway.gateway.front import QueueFront
from laneway.gateway.times import moment
from laneway.gateway.views import lane_name, progress_body
from laneway.kit.ids import id_texts
from laneway.model.config import QueueConfig
from laneway.model.states import State
from laneway.ports.browse import TaskRow


class ErrorBody(msgspec.Struct):
    """Why the last attempt that failed did so."""

    kind: str
    message: str


class TaskItem(msgspec.Struct, rename="camel"):
    """One task in a list. ``lane`` and ``priority`` are those it has now; ``runAt`` is when a scheduled task comes due;
    ``worker`` is who holds it."""

    id: str
    state: str
    type: str
    lane: str
    priority: int
    tenant: str
    labels: dict[str, str]
    attempts: int
    max_attempts: int | None
    submitted_at: datetime | None
    state_since: datetime | None
    ended_at: datetime | None
    run_at: datetime | None
    worker: str | None
    progress: ProgressBody | None
    error: ErrorBody | None


async def task_items(front: QueueFront, config: QueueConfig, rows: Sequence[TaskRow]) -> list[TaskItem]:
    """Rows as JSON shows them, with the progress of those that run."""
    running = [row.id for row in rows if row.state is State.RUNNING]
    told = await front.ask(front.store.notes.progress(running)) if running else []
    progress = dict(zip(running, map(progress_body, told), strict=True))
    texts = id_texts([row.id for row in rows])
    return [task_item(config, row, text, progress.get(row.id)) for row, text in zip(rows, texts, strict=True)]


def task_item(config: QueueConfig, row: TaskRow, text: str, progress: ProgressBody | None = None) -> TaskItem:
    """One row as JSON shows it; ``text`` is its id."""
    env, body, record = row.envelope, row.envelope.body, row.record
    last = row.errors[-1] if row.errors else None
    return TaskItem(
        id=text,
        state=row.state.label,
        type=body.type,
        lane=lane_name(config, row.lane),
        priority=row.priority,
        tenant=env.tenant,
        labels=body.labels or {},
        attempts=record.attempts if record else 0,
        max_attempts=(record.max_attempts if record else env.max_attempts) or None,
        submitted_at=moment(env.submitted_ms),
        state_since=moment(record.since_ms if record else env.submitted_ms),
        ended_at=moment(row.ended_ms),
        run_at=moment(row.due_ms),
        worker=row.worker,
        progress=progress,
        error=ErrorBody(last.kind, last.message) if last else None,
    )
