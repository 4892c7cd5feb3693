"""Problems of the HTTP API as the errors that the SDK raises for the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from laneway.errors import (
    AccessDenied,
    ConfigError,
    IdempotencyConflict,
    InvalidRequest,
    InvalidTask,
    LanewayError,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    SchemaTooNew,
    Unavailable,
    UnknownLane,
    UnknownQueue,
    UnknownTask,
    WrongState,
)

_PREFIX = "urn:laneway:problem:"
#: How much of an answer that is no problem is told.
_TOLD = 200

_PLAIN: Mapping[str, type[LanewayError]] = {
    "not-configured": ConfigError,
    "schema-too-new": SchemaTooNew,
    "unknown-queue": UnknownQueue,
    "unknown-task": UnknownTask,
    "unknown-lane": UnknownLane,
    "invalid-task": InvalidTask,
    "payload-too-large": PayloadTooLarge,
    "malformed-json": InvalidRequest,
}


def error_of(problem: Mapping[str, Any], retry_after: float = 1.0) -> LanewayError:
    """The error of a problem; ``retry_after`` (s) is that of the header, and the body's own counts before it."""
    name = str(problem.get("type", "")).removeprefix(_PREFIX)
    status = problem.get("status")
    detail = str(problem.get("detail") or problem.get("title") or f"the gateway answered {status}")
    told = problem.get("retryAfterMs")
    if isinstance(told, int | float):
        retry_after = told / 1000
    task = problem.get("taskId")
    error = _make(name, status if isinstance(status, int) else 0, detail, retry_after, str(task or ""), problem)
    error.problem = name or None
    return error


def _make(
    name: str, status: int, detail: str, retry_after: float, task: str, problem: Mapping[str, Any]
) -> LanewayError:
    if name in _PLAIN:
        return _PLAIN[name](detail)
    match name:
        case "conflict":
            return IdempotencyConflict(detail, task)
        case "rate-limited":
            return RateLimited(detail, retry_after, str(problem.get("scope", "")))
        case "queue-full":
            return QueueFull(detail, retry_after)
        case "outcome-unknown":
            return OutcomeUnknown(detail, task)
    match status:
        case 401 | 403:
            return AccessDenied(detail)
        case 409 | 412 | 428:
            return WrongState(detail)
        case 429:
            return RateLimited(detail, retry_after, str(problem.get("scope", "")))
        case 502 | 503:
            return Unavailable(detail, retry_after)
        case 504:
            return OutcomeUnknown(detail, task)
    return InvalidRequest(detail) if 400 <= status < 500 else LanewayError(detail)


def error_of_answer(status: int, body: bytes, headers: Mapping[str, str], url: str) -> LanewayError:
    """The error of an answer that is none of 2xx, also when something else than a gateway sent it."""
    retry_after = _seconds(headers.get("retry-after"))
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        problem = None
    if isinstance(problem, dict) and str(problem.get("type", "")).startswith(_PREFIX):
        return error_of({"status": status, **problem}, retry_after)
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere")
        return InvalidRequest(f"{url} leads to {where}: give that address, if it is the gateway's")
    said = " ".join(body[:_TOLD].decode("utf-8", "replace").split())
    detail = f"{url} answered {status}, and not as a gateway of Laneway does: {said}".rstrip(": ")
    return error_of({"status": status, "detail": detail}, retry_after)


def _seconds(header: str | None) -> float:
    """A Retry-After header in seconds; 1 when there is none, or it is a date."""
    return float(header) if header and header.isdecimal() else 1.0
