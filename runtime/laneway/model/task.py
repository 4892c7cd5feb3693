"""A task type as a worker and a client know it: the handler and all policy in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from laneway.model.envelope import Backoff


class HandlerKind(StrEnum):
    """Where a handler runs: on the event loop, in a thread, or in a process of its own that can be killed."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class TaskDef:
    """One task type.

    ``decode`` turns a payload (msgpack map) into keyword arguments and raises :class:`~laneway.errors.InvalidTask`
    with a message for people; ``encode_result`` gives msgpack, or None for no result. ``takes_context`` names the
    parameter that gets the :class:`~laneway.client.context.Context`, or is None. Times are in seconds.
    """

    name: str
    fn: Callable[..., Any]
    kind: HandlerKind
    decode: Callable[[bytes], dict[str, Any]]
    encode_result: Callable[[Any], bytes | None]
    takes_context: str | None = None
    lane: str | None = None
    priority: int = 4
    max_attempts: int | None = None  # None: the queue's default
    timeout: float = 0.0  # of one execution; 0: unbounded
    start_timeout: float = 0.0  # from submission to the first start; 0: unbounded
    backoff: Backoff | None = None  # None: the queue's default
    backoff_for: tuple[tuple[type[BaseException], Backoff], ...] = ()  # by exception, first match wins
    give_up_on: tuple[type[BaseException], ...] = ()  # these failures are for good
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
