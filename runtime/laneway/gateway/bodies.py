"""The JSON bodies of the API. The OpenAPI document is built from these types, and messages about wrong fields
take their words from the same descriptions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from laneway.kit.ids import ID_CHARS
from laneway.kit.names import TENANT_PATTERN
from laneway.submit.checks import (
    MAX_ATTEMPTS,
    MAX_DELAY,
    MAX_DESCRIPTION,
    MAX_KEY,
    MAX_LABEL_NAME,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_TIMEOUT,
    MAX_TYPE,
)

TaskId = Annotated[
    str,
    Meta(
        min_length=ID_CHARS,
        max_length=ID_CHARS,
        pattern=r"^[0-9a-v]+$",
        description=f"a task id of {ID_CHARS} characters, 0-9 and a-v (14 bytes in lower case base32hex)",
    ),
]
WorkerId = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=16,
        pattern=r"^[0-9a-f]+$",
        description="a worker's incarnation: 16 hexadecimal digits in lower case",
    ),
]
Delay = Annotated[float, Meta(ge=0, le=MAX_DELAY, description=f"a number of seconds from 0 to {MAX_DELAY:.0f}")]
Seconds = Annotated[
    float,
    Meta(ge=0, le=MAX_TIMEOUT, description=f"a number of seconds from 0 to {MAX_TIMEOUT:.0f} (0: unbounded)"),
]


class BackoffBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The wait after attempt n is ``base * factor ** (n - 1)`` seconds, at most ``cap``, of which the share
    ``jitter`` is random."""

    base: Delay = 2.0
    factor: Annotated[float, Meta(ge=1, le=100, description="a number from 1 to 100")] = 2.0
    cap: Delay = 3600.0
    jitter: Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1 (a share of the delay)")] = 0.25


class TaskBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True):
    """A task to submit. A field that is null counts as not given."""

    type: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_TYPE, description=f"a text of 1 to {MAX_TYPE} printable characters"),
    ]
    payload: Annotated[dict[str, Any], Meta(description="an object: the handler's arguments by name")] | None = None
    id: TaskId | None = None
    lane: Annotated[str, Meta(description="the name of one of the queue's lanes")] | None = None
    priority: (
        Annotated[int, Meta(ge=0, le=9, description="a whole number from 0 to 9 (9 first, 4 by default)")] | None
    ) = None
    description: (
        Annotated[
            str,
            Meta(max_length=MAX_DESCRIPTION, description=f"a text of at most {MAX_DESCRIPTION} characters"),
        ]
        | None
    ) = None
    tenant: (
        Annotated[
            str,
            Meta(
                pattern=TENANT_PATTERN,
                description="at most 63 of the characters A-Z, a-z, 0-9, '.', '_' and '-' (none: no tenant)",
            ),
        ]
        | None
    ) = None
    idempotency_key: (
        Annotated[str, Meta(min_length=1, max_length=MAX_KEY, description=f"a text of 1 to {MAX_KEY} bytes")] | None
    ) = None
    delay: Delay | None = None
    run_at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="an RFC 3339 time with its zone, after 1970 and up to ten years from now, "
                "like 2030-01-31T08:00:00Z",
            ),
        ]
        | None
    ) = None
    start_timeout: Seconds | None = None
    timeout: Seconds | None = None
    max_attempts: (
        Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS, description=f"a whole number from 1 to {MAX_ATTEMPTS}")] | None
    ) = None
    backoff: Annotated[BackoffBody, Meta(description="an object with any of base, factor, cap and jitter")] | None = (
        None
    )
    labels: (
        Annotated[
            dict[str, str],
            Meta(
                max_length=MAX_LABELS,
                description=f"an object of at most {MAX_LABELS} texts of at most {MAX_LABEL_VALUE} "
                f"characters, with names of 1 to {MAX_LABEL_NAME}",
            ),
        ]
        | None
    ) = None


class Accepted(msgspec.Struct, rename="camel"):
    """The task is in the queue and will not be lost. ``state`` is null when a duplicate's first task has
    ended and is no longer kept."""

    id: str
    state: str | None
    duplicate: bool


class ProblemBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """An error (RFC 9457). ``type`` is stable; ``detail`` says what was wrong and what would be right."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    retry_after_ms: int | None = None
    task_id: str | None = None
    scope: str | None = None
    limit: int | None = None
    queues: list[str] | None = None
    results: list[BatchItem] | None = None


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field, by its path in the body, and what would be right."""

    field: str
    message: str


class BatchItem(msgspec.Struct, omit_defaults=True):
    """What became of one task of a batch, in the order they were sent: ``status`` is what it would have got
    alone."""

    status: int
    id: str | None = None
    state: str | None = None
    duplicate: bool | None = None
    problem: ProblemBody | None = None


class BatchAnswer(msgspec.Struct):
    """What became of a batch. Each task was taken whole or refused whole, by itself."""

    accepted: int
    duplicates: int
    refused: int
    results: list[BatchItem]


class AttemptErrorBody(msgspec.Struct):
    """Why one attempt did not succeed."""

    kind: str
    message: str
    attempt: int
    at: datetime | None
    worker: str
    traceback: str


class ProgressBody(msgspec.Struct):
    """How far a task is, as its handler said last: ``fraction`` is from 0 to 1."""

    fraction: float
    message: str
    at: datetime | None


class LogsBody(msgspec.Struct):
    """How many log lines of a task are kept, and where they are."""

    lines: int
    href: str


class WaitsBody(msgspec.Struct, rename="camel"):
    """``waitSeconds``: from when it could run first until its last start (until now or its end, if it has not started);
    null after a replay. ``runSeconds``: how long its last attempt ran, so far; null before its first."""

    wait_seconds: float | None
    run_seconds: float | None


class HappenedBody(msgspec.Struct):
    """One thing that happened to a task: submitted, started, failed, crashed, replayed, or the state that it came to.
    ``at`` is null where it is not known."""

    at: datetime | None
    what: str
    attempt: int | None
    detail: str


class TaskAnswer(msgspec.Struct, rename="camel"):
    """All that is known of a task. ``payload`` and ``result`` are null when they can't be shown as JSON, or are
    ``redacted``: whoever asks may not see what tasks carry (tracebacks are "" then)."""

    id: str
    queue: str
    state: str
    type: str
    lane: str
    priority: int
    tenant: str
    payload: Any
    description: str | None
    labels: dict[str, str]
    idempotency_key: str | None
    trace: str | None
    attempts: int
    max_attempts: int | None
    crashes: int
    submitted_at: datetime | None
    state_since: datetime | None
    run_at: datetime | None
    start_timeout: float
    timeout: float
    backoff: BackoffBody | None
    cancel_requested: bool
    errors: list[AttemptErrorBody]
    result: Any
    ended_at: datetime | None
    worker: str | None
    progress: ProgressBody | None
    logs: LogsBody | None
    waits: WaitsBody
    history: list[HappenedBody]
    redacted: bool


class CancelAnswer(msgspec.Struct):
    """``outcome`` is cancelled, or requested when the task runs: its worker is asked to stop it."""

    id: str
    outcome: str


class LaneBody(msgspec.Struct, rename="camel"):
    """One lane now. ``oldestSeconds`` is the age of the task at its head, null when empty; ``etaSeconds`` is when a
    task submitted now would start, null when that can't be told."""

    name: str
    queued: int
    running: int
    oldest_seconds: float | None
    eta_seconds: float | None


class WorkerBody(msgspec.Struct, rename="camel"):
    """One registered worker now."""

    name: str
    incarnation: str
    source: str
    state: str
    slots: int
    held: int
    seconds_since_beat: float


class StatsAnswer(msgspec.Struct, rename="camel"):
    """A queue at one instant. ``tasks`` has the number submitted, purged, and in each state; ``drift`` is
    submitted less the sum of the others, and must be 0."""

    queue: str
    at: datetime
    tasks: dict[str, int]
    drift: int
    lanes: list[LaneBody]
    workers: list[WorkerBody]
    outbox_bytes: int
    outbox_entries: int
    outbox_gap: int


class HealthAnswer(msgspec.Struct):
    """``reasons`` say what is wrong; ``notes`` are things amiss that do not change the answer."""

    ok: bool
    reasons: list[str]
    notes: list[str]
    checks: dict[str, str]


class IndexAnswer(msgspec.Struct):
    """What there is."""

    name: str
    version: str
    queues: list[str]
    links: dict[str, str]
