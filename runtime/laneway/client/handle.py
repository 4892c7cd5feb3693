"""A task that was submitted: what became of it, and what it returned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import msgspec

from laneway.errors import (
    ResultTimeout,
    TaskCancelled,
    TaskDead,
    TaskExpired,
    TaskNotSucceeded,
    UnknownTask,
)
from laneway.kit.ids import id_bytes, id_text
from laneway.model.notes import LogPage, Progress
from laneway.model.record import AttemptError
from laneway.model.states import State
from laneway.ports.store import TaskStore, TaskView

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
CancelAnswer = Literal["cancelled", "requested", "ended"]

#: One wait for an end (s); longer waits are made of these.
_WAIT = 30.0


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One task at one moment. ``errors`` says why attempts did not succeed, oldest first."""

    id: str
    type: str
    state: State
    attempts: int
    max_attempts: int
    lane: str
    priority: int
    tenant: str
    labels: dict[str, str]
    submitted_at: datetime
    cancel_requested: bool
    errors: list[AttemptError]


class HasStore(Protocol):
    """Where a handle gets the connection of the event loop that it is used in."""

    async def store(self) -> TaskStore:
        """The store of the running event loop."""
        ...


class Handle(Generic[R_co]):
    """A task, by its id. ``duplicate``: it had been submitted before, under the same key or id."""

    __slots__ = ("_app", "_decode", "_raw", "duplicate")

    def __init__(
        self, app: HasStore, raw: bytes, decode: Callable[[bytes | None], Any], duplicate: bool = False
    ) -> None:
        self._app = app
        self._raw = raw
        self._decode = decode
        self.duplicate = duplicate

    @property
    def id(self) -> str:
        """The task's id: 23 characters."""
        return id_text(self._raw)

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    async def status(self) -> TaskStatus:
        """What is known of the task now.

        Raises:
            UnknownTask: there is none of that id (any more).
        """
        store = await self._app.store()
        view = await self._view(store)
        config = await store.config()
        record, env = view.record, view.envelope
        lane = config.lane_number(record.lane if record else env.lane)
        return TaskStatus(
            id=self.id,
            type=env.body.type,
            state=view.state,
            attempts=record.attempts if record else 0,
            max_attempts=record.max_attempts if record else env.max_attempts,
            lane=lane.name if lane else "",
            priority=env.priority,
            tenant=env.tenant,
            labels=env.body.labels or {},
            submitted_at=datetime.fromtimestamp(env.submitted_ms / 1000.0, UTC),
            cancel_requested=record is not None and record.cancel_requested,
            errors=view.errors,
        )

    async def result(self, timeout: float | None = None) -> R_co:  # the wait is the store's
        """Waits for the task to end, at most ``timeout`` seconds (None: as long as it takes), and returns its
        result.

        Raises:
            TaskDead: it failed for good; the message has the last error.
            TaskCancelled: it was cancelled.
            TaskExpired: it was not started in time.
            ResultTimeout: it has not ended yet, and goes on.
            UnknownTask: there is none of that id (any more).
            LanewayError: its result is not what the handler's annotation says.
        """
        store = await self._app.store()
        left = timeout
        while True:
            wait = _WAIT if left is None else min(_WAIT, max(0.0, left))
            view = await store.wait_ended(self._raw, wait)
            if view is None:
                view = await self._view(store)
            if view.state.final:
                return self._outcome(view)
            if left is None:
                continue
            # Counted in waits, not read from a clock: the store's time may be virtual.
            left -= wait
            if left <= 0:
                raise ResultTimeout(
                    f"task {self.id} has not ended after {timeout:g} s; it is {view.state.label} and goes on",
                    self.id,
                )

    async def progress(self) -> Progress | None:
        """How far the task is, as its handler said last (``fraction``, ``message``, ``at`` in ms since 1970); None when
        it has said nothing, or is not kept any more."""
        store = await self._app.store()
        (progress,) = await store.notes.progress([self._raw])
        return progress

    async def logs(self, after: int = 0) -> LogPage:
        """The last lines that the task's handler logged, those with a number greater than ``after``: ``page.lines``
        (``n``, ``at``, ``attempt``, ``level``, ``message``). ``page.next`` is the ``after`` for those that come later;
        ``page.truncated`` says that older lines gave way."""
        store = await self._app.store()
        return await store.notes.logs(self._raw, after)

    async def cancel(self) -> CancelAnswer:
        """Asks that the task be not done. ``cancelled``: it had not started, and never will. ``requested``:
        it runs and was told to stop. ``ended``: it was over already.

        Raises:
            UnknownTask: there is none of that id (any more).
        """
        store = await self._app.store()
        (answer,) = await store.cancel([self._raw])
        if answer == "unknown":
            raise self._unknown()
        return cast(CancelAnswer, answer)

    async def _view(self, store: TaskStore) -> TaskView:
        (view,) = await store.get([self._raw])
        if view is None:
            raise self._unknown()
        return view

    def _unknown(self) -> UnknownTask:
        return UnknownTask(f"there is no task {self.id} in this queue; ended tasks are kept for a limited time")

    def _outcome(self, view: TaskView) -> R_co:
        if view.state is State.SUCCEEDED:
            return cast(R_co, self._decode(view.result))
        raise _failure(view, self.id)


def parse_id(text: str) -> bytes:
    """The bytes of a task id given as text.

    Raises:
        UnknownTask: it is not the form of a task id.
    """
    try:
        return id_bytes(text)
    except ValueError as error:
        raise UnknownTask(f"no task can have the id {text[:40]!r}: {error}") from error


def _failure(view: TaskView, id: str) -> TaskNotSucceeded:
    attempts = view.record.attempts if view.record else 0
    last = view.errors[-1] if view.errors else None
    why = f": {last.kind}: {last.message}" if last and last.message else f": {last.kind}" if last else ""
    name = f"task {id} ({view.envelope.body.type})"
    match view.state:
        case State.CANCELLED:
            return TaskCancelled(f"{name} was cancelled{why}", id)
        case State.EXPIRED:
            return TaskExpired(f"{name} was not started within its start timeout", id)
    return TaskDead(f"{name} is dead after {attempts} {'attempt' if attempts == 1 else 'attempts'}{why}", id)
