"""What one attempt knows of itself: the plain data behind the context that handlers and middleware get."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec


class ContextData(msgspec.Struct, kw_only=True):
    """One attempt of one task, on the worker that runs it.

    ``fence`` is the attempt's fencing number; ``attempt`` counts from 1. ``deadline`` is on the clock of
    ``time.monotonic()`` (seconds; None: unbounded), ``submitted_ms`` and ``started_ms`` are ms since 1970.
    ``cancelled`` is set when the handler is asked to stop (time-out, cancellation, lost lease, shutdown):
    handlers in threads have to look at it, the others are interrupted as well. ``state`` is what the worker
    was given for its handlers, None in a child process.
    """

    id: bytes
    fence: int
    type: str
    attempt: int
    max_attempts: int
    crashes: int
    lane: str
    tenant: str
    priority: int
    labels: dict[str, str]
    trace: str | None
    worker: str
    submitted_ms: int
    started_ms: int
    deadline: float | None
    cancelled: threading.Event
    arguments: dict[str, Any]
    state: Any = None


ContextFactory = Callable[[ContextData], Any]
