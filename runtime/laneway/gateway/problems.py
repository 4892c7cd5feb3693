"""Errors as RFC 9457 problems: each has a stable ``type``, and says what was wrong and what would be
right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from laneway.errors import (
    ConfigError,
    IdempotencyConflict,
    InvalidTask,
    LanewayError,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    SchemaTooNew,
    Unavailable,
    UnknownLane,
    UnknownTask,
)
from laneway.gateway.bodies import FieldError, ProblemBody

PREFIX = "urn:laneway:problem:"
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of error: the last part of its type, its status and title, and what a client should do."""

    name: str
    status: int
    title: str
    advice: str


_AGAIN = "Try again after `retryAfterMs`; nothing was changed."

_TYPES = (
    ProblemType("malformed-json", 400, "The body is not JSON", "Correct the body."),
    ProblemType("malformed-request", 400, "The request is not HTTP/1.1", "Correct the client."),
    ProblemType(
        "unauthenticated",
        401,
        "The request has no valid credential",
        "Send `Authorization: Bearer TOKEN`, a key or token that is valid now; `WWW-Authenticate` says what is wrong.",
    ),
    ProblemType(
        "forbidden",
        403,
        "The credential may not do this",
        "Use a credential with the role, or of the tenant, that `detail` names.",
    ),
    ProblemType("not-found", 404, "There is no such resource", "Look at `/` for what there is."),
    ProblemType("unknown-queue", 404, "There is no such queue", "Use one of `queues`."),
    ProblemType("unknown-task", 404, "There is no such task", "It never existed, or its record is no longer kept."),
    ProblemType(
        "unknown-worker", 404, "There is no such worker", "It has ended, or never was: `GET .../workers` has them."
    ),
    ProblemType("method-not-allowed", 405, "The resource does not have this method", "See the Allow header."),
    ProblemType(
        "conflict",
        409,
        "The idempotency key or id is not free for this task",
        "Use another key or id than that of `taskId`, or send the same type and payload again.",
    ),
    ProblemType("already-ended", 409, "The task has ended already", "There is nothing left to cancel."),
    ProblemType(
        "not-retryable",
        409,
        "The task can't be retried as it is",
        "`detail` says in which state it is; scheduled, dead, cancelled and expired tasks can be retried.",
    ),
    ProblemType(
        "not-waiting",
        409,
        "The task does not wait any more",
        "`detail` says in which state it is; queued, parked and scheduled tasks can be changed.",
    ),
    ProblemType(
        "too-slow",
        408,
        "The request did not come whole in time",
        "Send it again, faster: `detail` says what was waited for.",
    ),
    ProblemType(
        "precondition-failed",
        412,
        "The task is not as If-Match says",
        "Look at it again, and send its ETag of now if the change is still wanted.",
    ),
    ProblemType(
        "body-too-large",
        413,
        "The body is over the limit",
        "Send less: `limit` says how many bytes are taken.",
    ),
    ProblemType(
        "batch-too-large",
        413,
        "The batch has too many tasks",
        "Send several batches of at most `limit` tasks.",
    ),
    ProblemType(
        "payload-too-large",
        413,
        "The payload is over the queue's limit",
        "Store large data elsewhere and send where it is.",
    ),
    ProblemType(
        "unsupported-media-type",
        415,
        "The body's content type is not taken",
        "Send `Content-Type: application/json`, and no Content-Encoding.",
    ),
    ProblemType("invalid-task", 422, "The task can't be submitted as it is", "`errors` names each wrong field."),
    ProblemType(
        "invalid-request", 422, "The body is not of the form that is asked for", "`errors` names each wrong field."
    ),
    ProblemType(
        "invalid-query", 422, "The query has a wrong or unknown parameter", "`errors` names each wrong parameter."
    ),
    ProblemType(
        "invalid-cursor",
        422,
        "The cursor does not belong to this list",
        "Send a `next` of the same list with the same filter and sort, or begin without a cursor.",
    ),
    ProblemType("unknown-lane", 422, "There is no such lane", "Use one of the lanes that `detail` names."),
    ProblemType(
        "head-too-large",
        431,
        "The request line and headers are over the limit",
        "Send less: `limit` says how many bytes are taken.",
    ),
    ProblemType("rate-limited", 429, "Over the submission rate", f"{_AGAIN} `scope` says whose rate."),
    ProblemType(
        "too-many-failures",
        429,
        "Too many invalid credentials from this address",
        "Try again after `retryAfterMs`, with a valid credential.",
    ),
    ProblemType(
        "too-many-streams",
        429,
        "As many streams of events are open as one may have",
        "Close some of the `limit` that this credential (or address) has open, or try again after `retryAfterMs`.",
    ),
    ProblemType("internal", 500, "The gateway failed", "Report it with the time; the gateway's log has the cause."),
    ProblemType("queue-full", 503, "The queue is full", _AGAIN),
    ProblemType("unavailable", 503, "The queue can't be reached now", _AGAIN),
    ProblemType(
        "too-many-connections",
        503,
        "As many connections are open as the gateway takes",
        "Try again after `retryAfterMs`, and use one connection for many requests.",
    ),
    ProblemType("auth-unavailable", 503, "The credential can't be checked now", "Try again after `retryAfterMs`."),
    ProblemType("not-configured", 503, "The queue is not configured yet", "Apply its TaskQueue."),
    ProblemType("schema-too-new", 503, "The queue's data is newer than this gateway", "Upgrade the gateway."),
    ProblemType(
        "outcome-unknown",
        504,
        "No answer in time: it may or may not have happened",
        "Send it again with the same Idempotency-Key, or with `taskId` as `id`: it is then still one task.",
    ),
)

TYPES: Mapping[str, ProblemType] = {kind.name: kind for kind in _TYPES}


class Problem(Exception):
    """An error to answer with. ``more`` are further members of :class:`ProblemBody`; ``headers`` go with the
    answer."""

    def __init__(self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.kind = kind = TYPES[name]
        self.body = ProblemBody(PREFIX + kind.name, kind.title, kind.status, detail, **more)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        return Response(msgspec.json.encode(self.body), self.kind.status, headers=self.headers, media_type=MEDIA_TYPE)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """The problem of a task with wrong fields."""
    return Problem("invalid-task", "; ".join(error.message for error in errors), errors=list(errors))


def later(name: str, detail: str, seconds: float, **more: Any) -> Problem:
    """A problem that may be gone after ``seconds``: in whole seconds as a header, exactly in the body."""
    return Problem(
        name,
        detail,
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
        retry_after_ms=max(1, math.ceil(seconds * 1000)),
        **more,
    )


def problem_of(error: LanewayError) -> Problem:
    """What a stage's error is over HTTP."""
    text = str(error)
    match error:
        case PayloadTooLarge():
            return Problem("payload-too-large", text, errors=[FieldError("payload", text)])
        case UnknownLane():
            return Problem("unknown-lane", text, errors=[FieldError("lane", text)])
        case UnknownTask():
            return Problem("unknown-task", text)
        case InvalidTask():
            return Problem("invalid-task", text)
        case IdempotencyConflict():
            return Problem("conflict", text, task_id=error.task_id)
        case RateLimited():
            return later("rate-limited", text, error.retry_after, scope=error.scope)
        case QueueFull():
            return later("queue-full", text, error.retry_after)
        case Unavailable():
            return later("unavailable", text, error.retry_after)
        case OutcomeUnknown():
            return Problem("outcome-unknown", text, task_id=error.task_id or None)
        case SchemaTooNew():
            return later("schema-too-new", text, 60.0)
        case ConfigError():
            return later("not-configured", text, 5.0)
    return Problem("internal", text)


def rejection(error: LanewayError) -> str:
    """The reason by which a refused submission is counted (laneway_tasks_rejected_total)."""
    match error:
        case PayloadTooLarge():
            return "too_large"
        case UnknownLane():
            return "lane"
        case InvalidTask():
            return "invalid"
        case IdempotencyConflict():
            return "conflict"
        case RateLimited():
            return "rate"
        case QueueFull():
            return "depth"
        case OutcomeUnknown():
            return "unknown"
    return "unavailable"
