"""ETags: of a task, and the headers that compare them.

A task's ETag has two parts: one of its state, that a change of it compares (If-Match), and one of what its handler
tells of itself, which only makes a look at it (If-None-Match) fresh.
"""

from __future__ import annotations

import hashlib
import struct

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.endpoint import json_response
from laneway.gateway.problems import Problem
from laneway.ports.store import TaskView

_STATE = struct.Struct(">BBBBBHQdddd8sd")
#: A shared cache must ask again each time, and who asks may see less than others do.
_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


def task_etag(view: TaskView, more: bytes = b"") -> str:
    """The weak ETag of a task. ``more`` are bytes of what else its answer shows."""
    r = view.record
    parts = (
        (view.state, r.flags, r.lane, r.crashes, r.max_attempts, r.attempts, r.size, r.score, r.fence, r.since_ms,
         r.started_ms, r.holder)
        if r else (view.state, 0, view.envelope.lane, 0, 0, 0, 0, 0.0, 0, 0, 0, bytes(8))
    )  # fmt: skip
    state = hashlib.blake2b(_STATE.pack(*parts, view.due_ms), digest_size=8).hexdigest()
    return f'W/"{state}.{hashlib.blake2b(more, digest_size=4).hexdigest()}"' if more else f'W/"{state}"'


def require_match(request: Request, view: TaskView) -> None:
    """Checks the header If-Match, if there is one, against the task as it is.

    Raises:
        Problem: precondition-failed.
    """
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    now = _state_part(task_etag(view))
    if now not in {_state_part(tag) for tag in _tags(wanted)}:
        raise Problem(
            "precondition-failed",
            f"the task is not as If-Match says any more, its ETag is {task_etag(view)}: look at it again",
        )


def answer(request: Request, body: object, etag: str, headers: dict[str, str] | None = None) -> Response:
    """The body with its ETag, or 304 when the asking one has it already (If-None-Match)."""
    headers = {**_HEADERS, "ETag": etag, **(headers or {})}
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        known = {_opaque(tag) for tag in _tags(wanted)}
        if wanted.strip() == "*" or _opaque(etag) in known:
            return Response(status_code=304, headers=headers)
    return json_response(body, headers=headers)


def body_etag(body: object) -> str:
    """A weak ETag of an answer by its bytes."""
    return f'W/"{hashlib.blake2b(msgspec.json.encode(body), digest_size=8).hexdigest()}"'


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",") if tag.strip()]


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')


def _state_part(tag: str) -> str:
    return _opaque(tag).partition(".")[0]
