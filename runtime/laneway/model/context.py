"""What one attempt knows of itself: the plain data behind the context that handlers and middleware get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Notes(Protocol):
    """What an attempt tells of itself, wherever it runs. Nothing here is for the handler itself: see
    :class:`~laneway.client.context.Context`."""

    @property
    def saved(self) -> bytes | None:
        """The checkpoint (msgpack) of an earlier attempt, or this one's last."""
        ...

    def progress(self, fraction: float, message: str) -> None:
        """How far it is; returns at once."""
        ...

    def line(self, level: str, message: str) -> None:
        """One line of its log; returns at once."""
        ...

    async def checkpoint(self, data: bytes) -> None:
        """Saves a checkpoint (msgpack). Raises LeaseLost, Unavailable or OutcomeUnknown."""
        ...

    def checkpoint_now(self, data: bytes) -> None:
        """The same, for a thread that may wait."""
        ...

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Has something done where the way to Redis is, while this thread waits."""
        ...


class ContextData(msgspec.Struct, kw_only=True):
    """One attempt of one task, on the worker that runs it.

    ``fence`` is the attempt's fencing number; ``attempt`` counts from 1. ``deadline`` is on the clock of
    ``time.monotonic()`` (seconds; None: unbounded), ``submitted_ms`` and ``started_ms`` are ms since 1970.
    ``cancelled`` is set when the handler is asked to stop (time-out, cancellation, lost lease, shutdown):
    handlers in threads have to look at it, the others are interrupted as well. ``state`` is what the worker
    was given for its handlers, None in a child process. ``notes`` takes what the handler tells of itself (None: nobody
    keeps it).
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
    notes: Notes | None = None


ContextFactory = Callable[[ContextData], Any]
