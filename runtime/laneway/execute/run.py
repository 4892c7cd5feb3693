"""One attempt while it runs here, and what is told of it afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from laneway.execute.wire import Request
from laneway.kit.ids import id_text
from laneway.model.context import ContextData
from laneway.model.envelope import Backoff, Envelope
from laneway.model.notes import NOTHING
from laneway.model.settlement import Kind
from laneway.model.task import TaskDef
from laneway.policy.outcome import Attempt, Decision

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from laneway.execute.notebook import NoteBook
    from laneway.execute.notes import Scribe

T = TypeVar("T")

NEVER = float("inf")


def wall_ms() -> int:
    """The machine's time, in ms since 1970."""
    return time.time_ns() // 1_000_000


class Asked(IntEnum):
    """Why a handler was asked to stop. A later reason replaces an earlier, lower one."""

    NO = 0
    TIMEOUT = 1
    CANCEL = 2
    STOP = 3
    LOST = 4


class Stoppable(Protocol):
    """A child process as a run sees it."""

    def terminate(self) -> None:
        """Asks the child to stop."""
        ...

    def kill(self) -> None:
        """Ends the child at once."""
        ...


class RunObservation(msgspec.Struct, frozen=True, gc=False):
    """One finished attempt, for metrics. ``wait_ms`` is from when the task was due to its first start (-1 for later
    attempts and replays, whose wait is not known here); ``seconds`` is how long the handler ran."""

    type: str
    lane: int
    tenant: str
    wait_ms: float
    seconds: float
    kind: Kind
    crashed: bool


class TaskDefaults(msgspec.Struct, frozen=True):
    """What the queue says of tasks for which neither the submission nor the definition says it."""

    max_attempts: int = 4
    backoff: Backoff = Backoff()


class Run(msgspec.Struct, eq=False):
    """One attempt. ``began`` and ``deadline`` are on the clock of ``time.monotonic()``; ``now_ms`` is Redis time at
    its claim. Its names ``task``, ``attempt`` and ``trace`` are what log lines show. To its handler it is the
    :class:`~laneway.model.context.Notes`: ``book`` is there once it has told anything, and ``noted`` says that an
    earlier attempt did, whose checkpoint is ``saved`` then; ``again``: it failed before, so its attempts count anew."""

    id: bytes
    fence: int
    attempt: int
    crashes: int
    envelope: Envelope
    stored: bytes
    definition: TaskDef
    now_ms: int
    suspect: bool = False
    began: float = 0.0
    deadline: float = NEVER
    timeout: float = 0.0
    asked: Asked = Asked.NO
    ended: bool = False
    killed: bool = False
    handle: asyncio.Task[None] | None = None
    flag: threading.Event | None = None
    child: Stoppable | None = None
    in_thread: bool = False
    span: Span | None = None
    again: bool = False
    noted: bool = False
    saved: bytes | None = None
    scribe: Scribe | None = None
    book: NoteBook | None = None

    @property
    def task(self) -> str:
        """The task's id as text."""
        return id_text(self.id)

    @property
    def trace(self) -> str | None:
        """The trace id of the submitter's traceparent."""
        parent = self.envelope.body.trace
        return parent.split("-")[1] if parent and parent.count("-") >= 3 else None

    @property
    def over(self) -> bool:
        """Whether it has ended, or is not this worker's any more."""
        return self.ended or self.asked is Asked.LOST

    def progress(self, fraction: float, message: str) -> None:
        """How far the handler is."""
        if self.scribe is not None:
            self.scribe.progress(self, fraction, message)

    def line(self, level: str, message: str) -> None:
        """A line of its log."""
        if self.scribe is not None:
            self.scribe.line(self, level, message)

    async def checkpoint(self, data: bytes) -> None:
        """What the next attempt shall go on from.

        Raises:
            LeaseLost, Unavailable, OutcomeUnknown: see :meth:`laneway.execute.notes.Scribe.checkpoint`.
        """
        assert self.scribe is not None
        await self.scribe.checkpoint(self, data)
        self.saved = None if data == NOTHING else data

    def checkpoint_now(self, data: bytes) -> None:
        """The same, for a thread that may wait."""
        self.wait_for(self.checkpoint(data))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Has something done on the worker's loop while this thread waits."""
        assert self.scribe is not None
        return self.scribe.wait_for(work)

    def max_attempts(self, defaults: TaskDefaults) -> int:
        """What the submission says, else what the task's definition says, else the queue's default."""
        return self.envelope.max_attempts or self.definition.max_attempts or defaults.max_attempts

    def facts(self, worker: str, defaults: TaskDefaults, at_ms: int) -> Attempt:
        """What the outcome policy has to know of this attempt."""
        return Attempt(
            self.attempt,
            self.max_attempts(defaults),
            worker,
            at_ms,
            self.envelope.body.backoff,
            defaults.backoff,
        )

    def context(
        self,
        arguments: dict[str, Any],
        lane: str,
        worker: str,
        defaults: TaskDefaults,
        state: Any,
        started_ms: int,
    ) -> ContextData:
        """What the handler may know, with the event that says when it should stop."""
        self.flag = threading.Event()
        env = self.envelope
        return ContextData(
            id=self.id,
            fence=self.fence,
            type=env.body.type,
            attempt=self.attempt,
            max_attempts=self.max_attempts(defaults),
            crashes=self.crashes,
            lane=lane,
            tenant=env.tenant,
            priority=env.priority,
            labels=env.body.labels or {},
            trace=env.body.trace,
            worker=worker,
            submitted_ms=env.submitted_ms,
            started_ms=started_ms,
            deadline=self.deadline if self.deadline < NEVER else None,
            cancelled=self.flag,
            arguments=arguments,
            state=state,
            notes=self if self.scribe is not None else None,
        )

    def request(self, lane: str, worker: str, defaults: TaskDefaults, max_result: int) -> Request:
        """What a child has to know to run it."""
        return Request(
            self.id,
            self.fence,
            self.attempt,
            self.crashes,
            self.max_attempts(defaults),
            worker,
            lane,
            self.timeout,
            max_result,
            self.stored,
            defaults.backoff,
        )

    def observation(self, kind: Kind, crashed: bool, now: float) -> RunObservation:
        """What metrics get when it has ended."""
        env = self.envelope
        wait = -1.0
        if self.attempt <= 1 and not self.again:
            wait = max(0.0, self.now_ms - max(env.submitted_ms + env.delay_ms, env.at_ms))
        return RunObservation(
            env.body.type, env.lane, env.tenant, wait, now - self.began if self.began else 0.0, kind, crashed
        )


class Decided(Exception):
    """What a child process made of its task. Middleware around a handler in a process sees this: it is returned
    when the handler succeeded or gave an outcome, and raised when it failed."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.kind.name.lower())
        self.decision = decision


class Middleware(Protocol):
    """Wraps each execution; the first of a sequence is the outermost. It returns what ``call_next()`` returned, or
    something else in its place, and may raise or let pass what the handler raised."""

    async def around_execute(self, context: ContextData, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Runs around one handler."""
        ...
