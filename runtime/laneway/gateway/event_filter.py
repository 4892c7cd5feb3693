"""Which of a queue's events somebody asked for, and may see."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from laneway.kit.ids import id_bytes
from laneway.model.events import GAP, Event, EventTasks
from laneway.ports.store import TaskView

#: Tenants of so many tasks are remembered (about 200 bytes each).
_REMEMBERED = 20_000
_AT_ONCE = 100

GetTasks = Callable[[Sequence[bytes]], Awaitable[Sequence[TaskView | None]]]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Empty sets mean everything. A gap always passes: what is missing may have been of any kind."""

    kinds: frozenset[str] = frozenset()
    lanes: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.kinds or self.lanes or self.tasks)

    def of(self, event: Event) -> list[EventTasks]:
        """The event's tasks that were asked for."""
        if self.everything:
            return event.tasks
        if self.kinds and event.kind not in self.kinds:
            return []
        groups = [group for group in event.tasks if not self.lanes or group.lane in self.lanes]
        if not self.tasks:
            return groups
        found = []
        for group in groups:
            ids = [id for id in group.ids if id in self.tasks]
            if ids:
                found.append(EventTasks(group.lane, group.attempts, ids))
        return found


class TenantIndex:
    """Whose tasks are: events tell only ids, so for credentials that are bound to tenants it is looked up, in batches,
    and remembered. A task that is not known any more is nobody's."""

    def __init__(self, get: GetTasks) -> None:
        self._get = get
        self._known: OrderedDict[str, str | None] = OrderedDict()

    async def visible(self, events: Iterable[Event], tenants: frozenset[str]) -> list[Event]:
        """The events with only the tasks of these tenants; those that have none left are gone."""
        events = list(events)
        tenant_of = await self._tenants([id for event in events for group in event.tasks for id in group.ids])
        found = []
        for event in events:
            groups = []
            for group in event.tasks:
                ids = [id for id in group.ids if tenant_of[id] in tenants]
                if ids:
                    groups.append(EventTasks(group.lane, group.attempts, ids))
            if groups or event.kind == GAP:
                found.append(Event(event.schema, event.queue, event.kind, event.at, event.sequence, groups))
        return found

    async def _tenants(self, ids: list[str]) -> dict[str, str | None]:
        """The tenant of each of these tasks; of one that is unknown, None, which is in no set of tenants."""
        found: dict[str, str | None] = {}
        missing: list[str] = []
        for id in dict.fromkeys(ids):
            if id in self._known:
                self._known.move_to_end(id)
                found[id] = self._known[id]
            else:
                missing.append(id)
        for i in range(0, len(missing), _AT_ONCE):
            page = missing[i : i + _AT_ONCE]
            for id, view in zip(page, await self._get([id_bytes(id) for id in page]), strict=True):
                found[id] = view.envelope.tenant if view is not None else None
                if view is not None:  # (what is unknown may be so for a moment)
                    self._known[id] = view.envelope.tenant
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found
