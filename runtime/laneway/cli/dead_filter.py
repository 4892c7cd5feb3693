"""Which dead letters a command means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from laneway.cli.target import reading
from laneway.model.states import State

if TYPE_CHECKING:
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore, TaskView

#: How many dead letters are read in one go.
PAGE = 200
#: Ids alone are small: more of them go into one answer.
ID_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Filter:
    """What a dead letter must be like; None is anything. ``error`` is a text in one of its errors."""

    type: str | None = None
    lane: str | None = None
    tenant: str | None = None
    error: str | None = None

    @property
    def empty(self) -> bool:
        """Whether every dead letter is meant."""
        return self == Filter()

    def lane_number(self, config: QueueConfig) -> int | None:
        """The number of the lane meant. Raises UsageError when there is no such lane."""
        if self.lane is None:
            return None
        lane = config.lane(self.lane)
        if lane is None:
            names = ", ".join(lane.name for lane in config.lanes)
            raise click.UsageError(f"there is no lane {self.lane!r}; the lanes of this queue are {names}")
        return lane.n

    def matches(self, view: TaskView, lane: int | None) -> bool:
        """Whether a task is meant; ``lane`` as of :meth:`lane_number`."""
        env, record = view.envelope, view.record
        if self.type is not None and env.body.type != self.type:
            return False
        if lane is not None and (record.lane if record else env.lane) != lane:
            return False
        if self.tenant is not None and env.tenant != self.tenant:
            return False
        if self.error is None:
            return True
        text = self.error.casefold()
        return any(text in f"{e.kind}: {e.message}\n{e.traceback}".casefold() for e in view.errors)


async def dead_ids(store: TaskStore, page: int = ID_PAGE) -> AsyncIterator[list[bytes]]:
    """The ids of all dead letters, newest first, each once though letters come and go meanwhile."""
    seen: set[bytes] = set()
    offset = 0
    while rows := await reading(store.ended(State.DEAD, offset, page)):
        offset += len(rows)
        fresh = [id for id, _ in rows if id not in seen]
        seen.update(fresh)
        yield fresh


async def dead_views(store: TaskStore, config: QueueConfig, chosen: Filter) -> AsyncIterator[TaskView]:
    """The dead letters that are meant, newest first."""
    lane = chosen.lane_number(config)
    async for ids in dead_ids(store, PAGE):
        for view in await reading(store.get(ids)):
            if view is not None and view.state is State.DEAD and chosen.matches(view, lane):
                yield view
