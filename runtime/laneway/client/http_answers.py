"""What a gateway answers, as :class:`laneway.client.http.HttpClient` gives it.

Each object has ``raw``: the JSON as it came, with members that this version has no name for. Members that a gateway
of another version leaves out have the default that stands here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from laneway.errors import LanewayError

T = TypeVar("T", bound="Answer")


class Answer(msgspec.Struct, kw_only=True, rename="camel", dict=True):
    """An object of the API."""

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON object as it came."""
        found: dict[str, Any] = self.__dict__.get("raw_json", {})
        return found


def read_answer(raw: Any, kind: type[T]) -> T:
    """A JSON object as a typed one.

    Raises:
        LanewayError: it is not of that form.
    """
    try:
        answer = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise LanewayError(f"the answer is not that of a gateway of Laneway: {error}") from error
    return _remember(answer, raw)


def _remember(answer: T, raw: Any) -> T:
    answer.__dict__["raw_json"] = raw
    for name, key in zip(answer.__struct_fields__, answer.__struct_encode_fields__, strict=True):
        value = getattr(answer, name)
        if isinstance(value, list) and value and isinstance(value[0], Answer):
            for inner, inner_raw in zip(value, raw[key], strict=True):
                _remember(inner, inner_raw)
        elif isinstance(value, Answer):
            _remember(value, raw[key])
    return answer


class Submitted(Answer):
    """A task that the queue has. ``duplicate``: it had it before, by its key or id."""

    id: str
    state: str | None = None
    duplicate: bool = False


class Progress(Answer):
    """How far a running task says it is: ``fraction`` from 0 to 1."""

    fraction: float
    message: str = ""
    at: datetime | None = None


class LastError(Answer):
    """The last error of a task, without its traceback."""

    kind: str
    message: str


class AttemptError(Answer):
    """Why one attempt did not succeed."""

    kind: str
    message: str
    attempt: int = 0
    at: datetime | None = None
    worker: str = ""
    traceback: str = ""


class TaskItem(Answer):
    """A task in a list."""

    id: str
    state: str
    type: str = ""
    lane: str = ""
    priority: int = 0
    tenant: str = ""
    labels: dict[str, str] = {}
    attempts: int = 0
    max_attempts: int | None = None
    submitted_at: datetime | None = None
    state_since: datetime | None = None
    ended_at: datetime | None = None
    run_at: datetime | None = None
    worker: str | None = None
    progress: Progress | None = None
    error: LastError | None = None
    fingerprint: str | None = None


class Moment(Answer):
    """One line of a task's history."""

    what: str
    at: datetime | None = None
    attempt: int | None = None
    detail: str | None = None


class LogsLink(Answer):
    """How many log lines a task has kept, and where they are."""

    lines: int = 0
    href: str = ""


class Waits(Answer):
    """How long a task waited and ran, in seconds."""

    wait_seconds: float | None = None
    run_seconds: float | None = None


class Backoff(Answer):
    """How long a task waits between attempts."""

    base: float = 2.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.25


class TaskDetail(Answer):
    """All that is known of one task. ``redacted``: the credential may not see payload, result and details of errors."""

    id: str
    state: str
    queue: str = ""
    type: str = ""
    lane: str = ""
    priority: int = 0
    tenant: str = ""
    payload: Any = None
    description: str | None = None
    labels: dict[str, str] = {}
    idempotency_key: str | None = None
    trace: str | None = None
    attempts: int = 0
    max_attempts: int | None = None
    crashes: int = 0
    submitted_at: datetime | None = None
    state_since: datetime | None = None
    ended_at: datetime | None = None
    run_at: datetime | None = None
    start_timeout: float = 0.0
    timeout: float = 0.0
    backoff: Backoff | None = None
    cancel_requested: bool = False
    worker: str | None = None
    progress: Progress | None = None
    logs: LogsLink | None = None
    waits: Waits | None = None
    history: list[Moment] = []
    errors: list[AttemptError] = []
    result: Any = None
    redacted: bool = False
    fingerprint: str | None = None
    frame: str | None = None


class TaskPage(Answer):
    """A part of a list: ``next`` leads to the rest (None: this was the last); ``scanned`` tasks were looked at for it,
    of ``total`` (None: unknown)."""

    items: list[TaskItem]
    next: str | None = None
    scanned: int = 0
    total: int | None = None


class TaskResult(Answer):
    """How a task ended; ``state`` says whether it has."""

    id: str
    state: str
    result: Any = None
    error: Any = None


class LogLine(Answer):
    """A line that a handler logged."""

    n: int
    message: str
    at: datetime | None = None
    attempt: int = 0
    level: str = ""


class TaskLogs(Answer):
    """Log lines of a task; ``next`` is what to read on after; ``truncated``: older ones gave way."""

    lines: list[LogLine]
    next: int = 0
    truncated: bool = False


class BulkAnswer(Answer):
    """What one call of a change by filter did; ``next`` leads on (None: all is done)."""

    matched: int = 0
    changed: int = 0
    skipped: int = 0
    next: str | None = None
    scanned: int = 0
    errors: list[Any] = []


class ReplayAnswer(Answer):
    """What one call of a replay or purge of dead letters did; ``next`` leads on (None: all is done)."""

    matched: int = 0
    replayed: int = 0
    purged: int = 0
    ids: list[str] = []
    next: str | None = None
    scanned: int = 0


class DeadGroup(Answer):
    """Dead letters with the same error; ``frame`` is where it was raised."""

    fingerprint: str
    type: str = ""
    kind: str = ""
    message: str = ""
    frame: str = ""
    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    sample: str = ""


class DeadGroups(Answer):
    """Dead letters by error, most first; ``complete``: all were looked at."""

    groups: list[DeadGroup]
    scanned: int = 0
    complete: bool = True
    next: str | None = None


class LaneCount(Answer):
    """One lane in the statistics."""

    name: str
    queued: int = 0
    running: int = 0
    oldest_seconds: float | None = None
    eta_seconds: float | None = None


class WorkerCount(Answer):
    """One worker in the statistics."""

    name: str
    incarnation: str = ""
    source: str = ""
    state: str = ""
    slots: int = 0
    held: int = 0
    seconds_since_beat: float = 0.0


class Stats(Answer):
    """A queue at one instant. ``drift`` must be 0."""

    queue: str
    at: datetime
    tasks: dict[str, int]
    drift: int = 0
    lanes: list[LaneCount] = []
    workers: list[WorkerCount] = []
    outbox_bytes: int = 0
    outbox_entries: int = 0
    outbox_gap: int = 0


class HistoryPoint(Answer):
    """One step of a queue's history: counts of the step, means of sizes (None: nobody looked), latencies in seconds
    (None: no task)."""

    at: datetime
    submitted: float = 0
    succeeded: float = 0
    failed: float = 0
    retried: float = 0
    dead: float = 0
    cancelled: float = 0
    expired: float = 0
    queued: float | None = None
    running: float | None = None
    scheduled: float | None = None
    workers: float | None = None
    slots: float | None = None
    wait_p50: float | None = None
    wait_p99: float | None = None
    run_p50: float | None = None
    run_p99: float | None = None


class LanePoint(Answer):
    """One step of a lane's history."""

    at: datetime
    queued: float | None = None
    running: float | None = None
    submitted: float = 0
    started: float | None = None
    wait_p50: float | None = None
    wait_p99: float | None = None


class History(Answer):
    """A queue over time; steps of which nothing is known are missing."""

    step: str
    points: list[HistoryPoint]
    lanes: dict[str, list[LanePoint]] = {}


class QueueItem(Answer):
    """A queue that the gateway serves."""

    name: str
    namespace: str = ""
    paused: bool = False
    available: bool = True
    tasks: dict[str, int] = {}
    lanes: Any = None
    workers: Any = None
    slots: int | None = None


class TypeItem(Answer):
    """A type of tasks as its application defines it. ``lane`` None: the queue's default; ``payload`` is the JSON Schema
    of the arguments."""

    type: str
    lane: str | None = None
    description: str = ""
    payload: dict[str, Any] = msgspec.field(name="schema", default_factory=dict)


class LaneItem(Answer):
    """A lane: its settings and how it stands; rates are tasks a second."""

    name: str
    priority: int = 0
    paused: bool = False
    queued: int = 0
    running: int = 0
    max_running: int | None = None
    min_share: float | None = None
    rate: Any = None
    dispatch_rate: Any = None
    oldest_seconds: float | None = None
    eta_seconds: float | None = None


class LaneEta(Answer):
    """When a task submitted now would start; ``basis`` is idle, rate or unknown."""

    lane: str
    eta_seconds: float | None = None
    basis: str = "unknown"
    rate_per_second: float | None = None
    ahead: int | None = None


class WorkerItem(Answer):
    """A registered worker; ``id`` is that of its incarnation."""

    id: str
    name: str = ""
    mode: str = ""
    state: str = ""
    slots: int = 0
    running: int = 0
    partition: int | None = None
    last_beat_seconds: float | None = None
    started_at: datetime | None = None
    tasks: list[str] = []


class Whoami(Answer):
    """Whom the gateway takes the credential for."""

    name: str
    role: str = ""
    tenants: list[str] | None = None
    permissions: list[str] = []
    auth: str = "none"
    expires_at: datetime | None = None


class Event(Answer):
    """Something that happened to tasks of one lane. ``kind`` ``gap``: some events before this one were missed, so what
    was built from events has to be read anew. ``position`` resumes after it."""

    kind: str
    position: str = ""
    at: datetime | None = None
    lane: str = ""
    attempts: Any = None
    ids: list[str] = []
