"""The port for looking at many tasks: lists by filter and order, a page at a time, and what one row of a list shows.

Lists are read from the sets in which tasks stand, in the order that these have: there is no index beside them that
each transition would have to keep. A page is bounded work, so with a filter that lets little through it may hold fewer
rows than asked for, or none, and still not be the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from laneway.model.envelope import Envelope
from laneway.model.record import AttemptError, Record, priority_of
from laneway.model.states import State

#: The order of states in a list of several: what goes on now, what waits, what went wrong, and then the rest.
LIST_ORDER = (
    State.RUNNING, State.DISPATCHED, State.QUEUED, State.PARKED, State.SCHEDULED, State.BLOCKED, State.DEAD,
    State.EXPIRED, State.CANCELLED, State.SUCCEEDED,
)  # fmt: skip

#: Seconds of looking that one page is worth: what makes a list answer in time, however little its filter lets through.
BUDGET = 0.025


class Sort(StrEnum):
    """The order of a list. STATES: by state, and within each by that state's own order (of those that have ended, the
    newest first); OLDEST: the same with the oldest first."""

    STATES = "states"
    OLDEST = "oldest"
    NEXT = "next"
    DUE = "due"
    ENDED = "ended"
    ENDED_LAST = "-ended"
    CREATED = "created"
    CREATED_LAST = "-created"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks are meant: all that is said must hold. ``states`` empty: any; ``lanes``, ``types`` and ``tenants``
    None: any, else one of these (so an empty one means no task). Times are in ms since 1970: from the first on, and
    before the second; ``since_to`` bounds when a task came into the state that it is in. ``error`` is a text in one of
    the task's errors (in their tracebacks only with ``tracebacks``); ``id_prefix`` how its id begins, as text."""

    states: tuple[State, ...] = ()
    lanes: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_from: int | None = None
    created_to: int | None = None
    ended_from: int | None = None
    ended_to: int | None = None
    since_to: int | None = None
    error: str = ""
    tracebacks: bool = True
    id_prefix: str = ""

    @property
    def empty(self) -> bool:
        """Whether every task is meant."""
        return self == Filter()


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the stretch of the list (see ``policy/listing.py``), and the score and member of the last
    task looked at. It names a place in the order and not a count, so tasks that come or go move nothing."""

    stretch: str
    score: float
    member: bytes


class TaskRow(msgspec.Struct):
    """One task as lists show it. ``envelope`` is without the payload when that is large; ``errors`` has the last one
    alone, or all when the filter asks for a text in them; ``due_ms`` is when a scheduled task comes due (0: none)."""

    id: bytes
    state: State
    envelope: Envelope
    record: Record | None
    due_ms: float
    errors: list[AttemptError]
    worker: str | None

    @property
    def lane(self) -> int:
        """The number of the lane it is in now."""
        return self.record.lane if self.record else self.envelope.lane

    @property
    def priority(self) -> int:
        """The priority it has now."""
        return priority_of(self.envelope, self.record)

    @property
    def since_ms(self) -> int:
        """When it came into its state, in ms since 1970. (Without a record it is as it was submitted.)"""
        return self.record.since_ms if self.record else self.envelope.submitted_ms

    @property
    def ended_ms(self) -> int:
        """When it ended, in ms since 1970; 0 while it has not."""
        return self.record.since_ms if self.record and self.state.final else 0


class TaskPage(msgspec.Struct):
    """A page of a list. ``after`` is where the next one begins, None at the end; ``scanned`` tasks were looked at."""

    rows: list[TaskRow]
    after: Position | None
    scanned: int


class Browse(Protocol):
    """Looking at the tasks of one queue. All methods may raise :class:`~laneway.errors.Unavailable`."""

    async def page(
        self,
        wanted: Filter,
        sort: Sort,
        limit: int,
        after: Position | None = None,
        *,
        also: Callable[[TaskRow], bool] | None = None,
        budget: float = BUDGET,
    ) -> TaskPage:
        """Up to ``limit`` tasks that the filter (and ``also``) lets through, looking for about ``budget`` seconds at
        most, and at some hundred tasks at least. Each task that stays where it is comes exactly once in all pages; one
        that moves meanwhile may be met where it was, where it is, at both places or at none.

        Raises:
            ValueError: ``sort`` is not possible for these states (see ``policy/listing.py``).
        """
        ...  # fmt: skip

    async def rows(self, ids: Sequence[bytes]) -> list[TaskRow | None]:
        """These tasks as lists show them, with all their errors; None for an unknown id."""
        ...

    async def states(self, ids: Sequence[bytes]) -> list[State | None]:
        """The states of tasks, by a light read; None for an unknown id."""
        ...

    async def secret(self) -> bytes:
        """32 random bytes that all who serve this queue share, made when first asked for: the key of sealed cursors."""
        ...

    async def count(self, wanted: Filter) -> int | None:
        """How many tasks the filter lets through, where the sizes of the sets tell; else None."""
        ...
