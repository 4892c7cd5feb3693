"""What was submitted to a TestQueue, with its arguments decoded; and whether that is what a test expects."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import msgspec

from laneway.adapters.memory.notes import MemoryNotes
from laneway.errors import InvalidTask
from laneway.kit.ids import id_text
from laneway.model.config import QueueConfig
from laneway.model.envelope import Envelope, payload_object
from laneway.model.notes import LogLine, Progress
from laneway.model.record import AttemptError
from laneway.model.states import State
from laneway.model.task import TaskDef
from laneway.ports.store import TaskView


class SubmittedTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task as it was submitted, and as it is now.

    ``arguments`` are by name, of the types that the handler's annotations say, with the defaults of those not given.
    ``state`` is None when the task has been forgotten (purged, or past the queue's retention); ``due_at`` is when a
    scheduled one is due; ``errors`` says why attempts did not succeed, oldest first. ``delay`` is in seconds.
    ``progress`` is what its handler said last, ``saved`` its last checkpoint as plain data, ``logs`` what it logged.
    """

    id: str
    type: str
    arguments: dict[str, Any]
    state: State | None
    attempts: int
    errors: list[AttemptError]
    lane: str
    priority: int
    tenant: str
    labels: dict[str, str]
    key: str | None
    delay: float
    run_at: datetime | None
    due_at: datetime | None
    submitted_at: datetime
    description: str | None
    trace: str | None
    progress: Progress | None = None
    saved: Any = None
    logs: list[LogLine] = []

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        more = "".join(
            f" {name}={value!r}"
            for name, value in (
                ("tenant", self.tenant), ("key", self.key), ("delay", self.delay), ("labels", self.labels),
            )
            if value
        )  # fmt: skip
        state = self.state.label if self.state else "forgotten"
        return f"{self.type}({arguments}) lane={self.lane!r} priority={self.priority}{more}: {state}"


class Expected(TypedDict, total=False):
    """What may be expected of a submission besides its arguments. ``labels``: those given, among others."""

    lane: str
    priority: int
    tenant: str
    key: str | None
    delay: float | timedelta
    run_at: datetime
    labels: Mapping[str, str]
    description: str | None
    trace: str | None
    state: State


def view_submitted(
    id: bytes,
    env: Envelope,
    view: TaskView | None,
    due_ms: float | None,
    config: QueueConfig,
    task: TaskDef | None,
    notes: MemoryNotes,
) -> SubmittedTask:
    """One submission with what has become of it."""
    lane = config.lane_number(env.lane)
    saved = notes.last_saved(id)
    return SubmittedTask(
        id=id_text(id),
        type=env.body.type,
        arguments=_arguments(env, task),
        state=view.state if view else None,
        attempts=view.record.attempts if view and view.record else 0,
        errors=view.errors if view else [],
        lane=lane.name if lane else "",
        priority=env.priority,
        tenant=env.tenant,
        labels=env.body.labels or {},
        key=env.idempotency_key,
        delay=env.delay_ms / 1000.0,
        run_at=datetime.fromtimestamp(env.at_ms / 1000.0, UTC) if env.at_ms else None,
        due_at=None if due_ms is None else datetime.fromtimestamp(due_ms / 1000.0, UTC),
        submitted_at=datetime.fromtimestamp(env.submitted_ms / 1000.0, UTC),
        description=env.body.description,
        trace=env.body.trace,
        progress=notes.last_progress(id),
        saved=msgspec.msgpack.decode(saved.data) if saved is not None else None,
        logs=notes.page(id).lines,
    )


def _arguments(env: Envelope, task: TaskDef | None) -> dict[str, Any]:
    if task is None:
        return dict(payload_object(env.body.payload))
    known = {**defaults_of(task), **task.decode(env.body.payload)}
    return {name: known[name] for name in inspect.signature(task.fn).parameters if name in known}


def defaults_of(task: TaskDef) -> dict[str, Any]:
    """The defaults of a handler's arguments."""
    parameters = inspect.signature(task.fn).parameters.values()
    empty = inspect.Parameter.empty
    return {
        each.name: each.default for each in parameters if each.default is not empty and each.name != task.takes_context
    }


def check_expected(name: str, task: TaskDef | None, arguments: Mapping[str, Any], options: Expected) -> None:
    """Refuses to look for what can't be there: a test for the absence of a misspelt argument would always pass.

    Raises:
        InvalidTask: there is no such argument or option.
    """
    if task is not None:
        known = [each for each in inspect.signature(task.fn).parameters if each != task.takes_context]
        wrong = [each for each in arguments if each not in known]
        if wrong:
            raise InvalidTask(
                f"task {name!r} has no argument {wrong[0]!r}; its arguments are: {', '.join(known) or 'none'}"
            )
    for option in options:
        if option not in Expected.__annotations__:
            raise InvalidTask(
                f"submissions have no {option!r} to compare; they have: {', '.join(Expected.__annotations__)}. "
                "Arguments of the task go into a dict: assert_submitted(task, {'name': value})"
            )


def matches(submitted: SubmittedTask, arguments: Mapping[str, Any], options: Expected) -> bool:
    """Whether a submission has these arguments and options; those not named may be anything."""
    for name, value in arguments.items():
        if name not in submitted.arguments or submitted.arguments[name] != value:
            return False
    return all(_same(name, getattr(submitted, name), value) for name, value in options.items())


def _same(name: str, found: Any, wanted: Any) -> bool:
    if name == "labels":
        return all(found.get(label) == value for label, value in wanted.items())
    if name == "delay":
        seconds = wanted.total_seconds() if isinstance(wanted, timedelta) else wanted
        return math.isclose(found, seconds, abs_tol=1e-6)
    if name == "run_at" and found is not None and isinstance(wanted, datetime):
        return bool(abs((found - wanted).total_seconds()) < 0.001)
    return bool(found == wanted)
