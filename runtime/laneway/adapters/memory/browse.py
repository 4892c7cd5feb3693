"""MemoryBrowse: lists over the tables in memory, in the same order as Redis gives them."""

from __future__ import annotations

import secrets
import struct
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence

from laneway.adapters.memory.tables import Tables, Task
from laneway.kit.ids import ID_BYTES, ID_CHARS, id_bytes
from laneway.model.config import QueueConfig
from laneway.model.envelope import decode_stored
from laneway.model.record import decode_errors
from laneway.model.states import State
from laneway.policy.filters import matches
from laneway.policy.listing import Stretch, begin_of, rest_of, stretches, told_by_sizes
from laneway.ports.browse import BUDGET, Filter, Position, Sort, TaskPage, TaskRow

#: Tasks looked at between two looks at the time, as one script call does in Redis.
_LOOK = 400
#: Larger payloads are left out of rows.
_PAYLOAD = 400


class MemoryBrowse:
    """Looking at one queue's tasks."""

    def __init__(self, tables: Tables, config: Callable[[], Awaitable[QueueConfig]]) -> None:
        self._t = tables
        self._config = config
        self._secret = secrets.token_bytes(32)

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
        """Up to ``limit`` tasks that the filter lets through."""
        config = await self._config()
        found = stretches(wanted, sort, config)
        page = TaskPage([], None, 0)

        def takes(row: TaskRow | None) -> bool:
            return row is not None and matches(wanted, row, config) and (also is None or also(row))

        if len(wanted.id_prefix) == ID_CHARS:
            rows = await self._named(wanted.id_prefix) if found else []
            return TaskPage([row for row in rows if row and takes(row)], None, len(rows))
        until = time.monotonic() + budget
        for stretch, position in rest_of(found, after):
            begun = position if position is not None and position.member else None
            rest = self._rest(stretch, begun)
            for n, (score, member) in enumerate(rest):
                if len(page.rows) >= limit or (page.scanned and n % _LOOK == 0 and time.monotonic() >= until):
                    page.after = position or begin_of(stretch)
                    return page
                position = Position(stretch.name, score, member)
                page.scanned += 1
                row = self._row(self._t.tasks.get(member[-ID_BYTES:]), last=not wanted.error)
                if row is not None and row.state in stretch.states and takes(row):
                    page.rows.append(row)
        return page

    async def _named(self, text: str) -> list[TaskRow | None]:
        try:
            return await self.rows([id_bytes(text)])
        except ValueError:
            return []

    def _rest(self, stretch: Stretch, after: Position | None) -> list[tuple[float, bytes]]:
        """What is left of a stretch, as (score, member) in its order."""
        entries = sorted(self._members(stretch))
        if after is not None:
            key = (after.score, after.member)
            entries = (
                entries[: bisect_left(entries, key)] if stretch.backwards else entries[bisect_right(entries, key) :]
            )
        return entries[::-1] if stretch.backwards else entries

    def _members(self, stretch: Stretch) -> list[tuple[float, bytes]]:
        """All of a stretch, with the scores and members that Redis has for it."""
        t = self._t
        match stretch.source:
            case "lane":
                return t.lanes[stretch.lane].entries() if stretch.lane in t.lanes else []
            case "scheduled":
                return t.scheduled.entries()
            case "held":
                return [(0.0, inc + id) for inc, ids in t.held.items() for id in ids]
            case "made":
                return [(0.0, id) for ids in t.held.values() for id in ids]
            case "ended":
                entries = [entry for state in stretch.states for entry in t.ended[state].entries()]
                return [entry for entry in entries if stretch.low <= entry[0] < stretch.high]
        return [
            (0.0, tenant.encode() + b"\0" + bytes([lane]) + struct.pack(">d", score) + id)
            for tenant, lanes in t.parked.items()
            if stretch.tenant is None or tenant == stretch.tenant
            for lane, ids in lanes.items()
            for score, id in ids.entries()
        ]

    def _row(self, task: Task | None, *, last: bool) -> TaskRow | None:
        if task is None:
            return None
        kept = task.errors[-1:] if last else task.errors
        errors = decode_errors(b"".join(len(error).to_bytes(4, "big") + error for error in kept))
        holder = self._t.workers.get(task.holder) if task.state in (State.RUNNING, State.DISPATCHED) else None
        envelope = decode_stored(task.stored)
        if len(envelope.body.payload) > _PAYLOAD:
            envelope.body.payload = b""
        return TaskRow(
            task.id, task.state, envelope, task.record(), self._t.scheduled.score(task.id) or 0.0,
            errors, holder.name if holder else None,
        )  # fmt: skip

    async def rows(self, ids: Sequence[bytes]) -> list[TaskRow | None]:
        """These tasks as lists show them."""
        await self._config()
        return [self._row(self._t.tasks.get(id), last=False) for id in ids]

    async def states(self, ids: Sequence[bytes]) -> list[State | None]:
        """The states of tasks."""
        tasks = [self._t.tasks.get(id) for id in ids]
        return [None if task is None else task.state for task in tasks]

    async def secret(self) -> bytes:
        """The same as long as the store lives."""
        return self._secret

    async def count(self, wanted: Filter) -> int | None:
        """By the sizes of the sets, where these tell."""
        config = await self._config()
        states = set(wanted.states or State)
        if not told_by_sizes(wanted):
            return None
        lanes = {lane.n for lane in config.lanes if wanted.lanes is None or lane.name in wanted.lanes}
        tasks = self._t.tasks.values()
        return sum(task.state in states and (wanted.lanes is None or task.lane in lanes) for task in tasks)
