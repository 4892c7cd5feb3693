"""What a handler can ask about the attempt that it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from laneway.client.checkpoints import decode_checkpoint, encode_checkpoint
from laneway.client.rehearsal import Rehearsal
from laneway.errors import ConfigError, LeaseLost
from laneway.kit.ids import id_text
from laneway.model.context import ContextData, Notes

if TYPE_CHECKING:
    import structlog

    from laneway.client.task_log import TaskLog

#: Asks Redis about a held task by id and fence: whether cancellation is requested, or None when it is lost.
Extend = Callable[[bytes, int], Awaitable[bool | None]]

T = TypeVar("T")


class Context:
    """One attempt of one task, for the handler's parameter annotated ``Context``."""

    __slots__ = ("_data", "_extend")

    def __init__(self, data: ContextData, extend: Extend | None = None) -> None:
        self._data = data
        self._extend = extend

    @property
    def task_id(self) -> str:
        """The task's id: 23 characters, the same for all its attempts."""
        return id_text(self._data.id)

    @property
    def task_type(self) -> str:
        """The name of the task type."""
        return self._data.type

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""
        return self._data.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts there are at most."""
        return self._data.max_attempts

    @property
    def fence(self) -> int:
        """The attempt's fencing number: greater than that of every earlier attempt of any task. Write only
        where no greater one was seen, and a late attempt can't undo the work of a newer one."""
        return self._data.fence

    @property
    def deadline(self) -> float | None:
        """When the attempt times out, on the clock of ``time.monotonic()``, in seconds; None: never."""
        return self._data.deadline

    @property
    def remaining(self) -> float | None:
        """Seconds until the attempt times out, 0 when that is past; None: it never does."""
        deadline = self._data.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    @property
    def tenant(self) -> str:
        """The tenant that the task was submitted for; '' when none was named."""
        return self._data.tenant

    @property
    def lane(self) -> str:
        """The name of the task's lane."""
        return self._data.lane

    @property
    def priority(self) -> int:
        """The priority within the lane, 0 to 9."""
        return self._data.priority

    @property
    def labels(self) -> dict[str, str]:
        """The labels given at submission."""
        return self._data.labels

    @property
    def trace(self) -> str | None:
        """The W3C traceparent given at submission."""
        return self._data.trace

    @property
    def worker(self) -> str:
        """The name of the worker that runs this."""
        return self._data.worker

    @property
    def submitted_at(self) -> datetime:
        """When the task was submitted, by the clock of Redis."""
        return datetime.fromtimestamp(self._data.submitted_ms / 1000.0, UTC)

    @property
    def state(self) -> Any:
        """What the App's lifespan gave; None without one, and in process handlers."""
        return self._data.state

    @property
    def cancelled(self) -> threading.Event:
        """Set when the handler is asked to stop: time-out, cancellation, a lost lease, or shutdown. An async
        handler is interrupted too; one in a thread has to look here and return soon."""
        return self._data.cancelled

    @property
    def logger(self) -> structlog.stdlib.BoundLogger:
        """A logger whose lines carry the task's id, attempt and trace id."""
        from laneway.kit.logs import get_logger  # structlog is not for those who only submit

        bound: dict[str, Any] = {"task": self.task_id, "attempt": self._data.attempt}
        parent = self._data.trace
        if parent and parent.count("-") >= 3:
            bound["trace"] = parent.split("-")[1]
        return get_logger(f"laneway.task.{self._data.type}").bind(**bound)

    @property
    def log(self) -> TaskLog:
        """The task's own log: ``ctx.log.info("read", rows=10)``. Its lines are kept with the task, whatever their
        level, and go to the worker's log as well."""
        from laneway.client.task_log import TaskLog  # structlog is not for those who only submit

        return TaskLog(self._data)

    def progress(self, fraction: float, message: str = "") -> None:
        """Says how far the handler is: ``fraction`` from 0 to 1, and a few words for people (up to 200 characters).
        It returns at once, may be called as often as you like, and is written twice a second at most, the last value.

        Raises:
            ValueError: ``fraction`` is not a number from 0 to 1.
        """
        number = float(fraction)
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"progress is a fraction from 0 to 1, not {fraction!r}")
        if self._data.notes is not None:
            self._data.notes.progress(number, str(message))

    @property
    def saved(self) -> Any:
        """The last checkpoint, of this attempt or an earlier one, as plain data: dicts, lists, numbers, text, bytes.
        None when there is none. :meth:`saved_as` gives it a type."""
        return self.saved_as(Any)

    def saved_as(self, type: type[T]) -> T | None:
        """The last checkpoint as a dataclass, a ``msgspec.Struct``, a ``TypedDict`` or whatever else it was made of.
        None when there is none.

        Raises:
            InvalidCheckpoint: it is of another form, as after a deploy that changed the type.
        """
        raw = self._data.notes.saved if self._data.notes is not None else None
        return None if raw is None else decode_checkpoint(raw, type, self.task_id)

    async def checkpoint(self, data: Any) -> None:
        """Saves what the next attempt goes on from, in place of what was saved before. When this returns, it is in
        Redis. None takes away what was saved.

        ``data`` is anything that a task's arguments may be, up to 256 KiB in msgpack. A plain function calls
        ``ctx.sync.checkpoint(data)``.

        Raises:
            InvalidCheckpoint: it is too large, or can't be encoded; what was saved before stays.
            LeaseLost: the task was given to another attempt; write nothing for it and return.
            Unavailable, OutcomeUnknown: Redis is away, so it may not be saved.
            ConfigError: nobody keeps checkpoints here.
        """
        raw = encode_checkpoint(data, self.task_id)
        notes = self._notes()
        try:
            await notes.checkpoint(raw)
        except LeaseLost:
            self._data.cancelled.set()
            raise

    @property
    def sync(self) -> SyncContext:
        """What is awaited here, for handlers that are plain functions: ``ctx.sync.checkpoint(data)``."""
        return SyncContext(self)

    def _notes(self) -> Notes:
        if self._data.notes is None:
            raise ConfigError("nobody keeps checkpoints here: this attempt runs without a worker")
        return self._data.notes

    async def extend(self) -> None:
        """Makes sure that the task is still this attempt's: call it before work that must not be done twice.
        Leases hang on workers and are renewed by themselves, so there is no need to call it to keep one.

        When cancellation was requested, ``cancelled`` is set on return.

        Raises:
            LeaseLost: the task was given to another attempt; write nothing for it and return.
            ConfigError: this handler runs in a process of its own, or without a worker.
            Unavailable: Redis is away, so it is not known.
        """
        if self._extend is None:
            raise ConfigError("extend() is for handlers in a worker's own process (async or thread)")
        answer = await self._extend(self._data.id, self._data.fence)
        if answer is None:
            self._data.cancelled.set()
            raise LeaseLost(f"task {self.task_id}: attempt {self.attempt} does not hold it any more")
        if answer:
            self._data.cancelled.set()


class SyncContext:
    """What a Context has to await, for handlers that are plain functions, in a thread or a process: each call blocks
    until it is done. In an async handler it raises ConfigError: the worker would stand still."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def checkpoint(self, data: Any) -> None:
        """As :meth:`Context.checkpoint`."""
        context = self._context
        raw = encode_checkpoint(data, context.task_id)
        notes = context._notes()
        try:
            notes.checkpoint_now(raw)
        except LeaseLost:
            context._data.cancelled.set()
            raise

    def extend(self) -> None:
        """As :meth:`Context.extend`."""
        self._context._notes().wait_for(self._context.extend())


def stand_in_context(task_type: str, *, saved: Any = None, **fields: Any) -> Context:
    """A context for calling a handler without a worker, as unit tests do: attempt 1 of a task just submitted.

    ``saved`` is the checkpoint that it finds. ``fields`` replaces what
    :class:`~laneway.model.context.ContextData` holds, such as ``attempt`` or ``state``.
    """
    now_ms = time.time_ns() // 1_000_000
    plain: dict[str, Any] = {
        "id": bytes(14), "fence": 1, "type": task_type, "attempt": 1, "max_attempts": 1, "crashes": 0,
        "lane": "default", "tenant": "", "priority": 4, "labels": {}, "trace": None, "worker": "",
        "submitted_ms": now_ms, "started_ms": now_ms, "deadline": None, "cancelled": threading.Event(),
        "arguments": {}, "notes": Rehearsal(None if saved is None else encode_checkpoint(saved, task_type)),
    }  # fmt: skip

    async def held(id: bytes, fence: int) -> bool:
        return False

    return Context(ContextData(**{**plain, **fields}), held)
