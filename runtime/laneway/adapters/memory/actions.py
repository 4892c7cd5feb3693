"""MemoryActions: retry and revise, as ``lua/retry.lua`` and ``lua/revise.lua`` do them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from laneway.adapters.memory import order, tending
from laneway.adapters.memory.ends import flush, schedule
from laneway.adapters.memory.tables import NOBODY, Step, Task
from laneway.model.record import Record
from laneway.model.states import WAITING, State
from laneway.ports.actions import Revision, Seen


class MemoryActions:
    """Changes of one queue's waiting tasks. ``step`` begins a call."""

    def __init__(self, step: Callable[[], Step]) -> None:
        self._step = step

    async def retry(self, ids: Sequence[bytes]) -> list[str]:
        """Scheduled tasks now, ended ones again."""
        step = self._step()
        codes: dict[bytes, str] = {}
        for id in ids:
            if id not in codes:
                codes[id] = _retry(step, id)
        for id, code in codes.items():
            if code == "":
                task = step.t.tasks[id]
                codes[id] = "queued" if task.lane in step.lanes else "lane removed"
                if task.lane in step.lanes:
                    tending.requeue_anew(step, task)
        step.wake(flush(step))
        return [codes[id] for id in ids]

    async def revise(self, ids: Sequence[bytes], change: Revision, seen: Seen | None = None) -> list[str]:
        """Another lane, priority or time."""
        step = self._step()
        if change.delay_ms is not None:
            change = Revision(change.lane, change.priority, step.now + change.delay_ms)
        codes: dict[bytes, str] = {}
        changes: list[_Change] = []
        for id in ids:
            if id not in codes:
                codes[id] = _consider(step, id, change, seen, changes)
        left = [c for c in changes if c.moved and c.task.state is not State.SCHEDULED]
        for c in sorted(left, key=lambda c: -c.task.score):
            order.refund(step, c.task.lane, c.task.score, c.task.tenant)
        movers = [c for c in changes if not c.in_place]
        for c in changes:
            if c.in_place:
                _stand_elsewhere(step, c)
        for c in movers:
            tending.withdraw(step, c.task)
            if c.task.fresh and c.task.state is State.SCHEDULED:
                c.task.score = order.uncharged(c.task.head.priority)
            c.task.holder = NOBODY
            schedule(step, c.task, step.now if c.due is None else c.due)
            if c.moved:
                c.task.head.lane, c.task.head.priority = c.lane, c.priority
                c.task.score = order.uncharged(c.priority)
        for c in movers:
            if c.due is None:
                step.t.scheduled.remove(c.task.id)
                tending.come_due(step, c.task)
        step.wake(flush(step))
        return [codes[id] for id in ids]


def _retry(step: Step, id: bytes) -> str:
    """What becomes of a task that is to run now; "" for one that has ended, which is queued again after the others."""
    task = step.t.tasks.get(id)
    if task is None:
        return "unknown"
    if task.state in tending.REPLAYABLE:
        return ""
    if task.state is not State.SCHEDULED:
        return "waiting" if task.state is State.QUEUED else task.state.label
    if task.lane not in step.lanes:
        return "lane removed"
    step.t.scheduled.remove(id)
    if task.fresh:
        task.score = order.uncharged(task.head.priority)
    step.emit("revised", task)
    tending.come_due(step, task)
    return "queued"


class _Change:
    """What becomes of one task."""

    def __init__(self, task: Task, lane: int, priority: int, due: float | None) -> None:
        self.task = task
        self.lane = lane
        self.priority = priority
        self.due = due
        self.moved = (lane, priority) != (task.lane, task.head.priority)
        self.in_place = task.state is State.QUEUED and lane == task.lane and due is None


def _consider(step: Step, id: bytes, change: Revision, seen: Seen | None, changes: list[_Change]) -> str:
    task = step.t.tasks.get(id)
    if task is None:
        return "unknown"
    due = step.t.scheduled.score(id)
    if seen is not None and _version(task.lane, task.record(), due) != _version(
        seen.envelope.lane, seen.record, seen.due_ms or None
    ):
        return "changed"
    if task.state not in WAITING:
        return task.state.label
    lane = task.lane if change.lane is None else change.lane
    if lane not in step.lanes or (change.lane is not None and step.lanes[change.lane].gone):
        return "lane removed"
    wanted = due if change.due_ms is None else change.due_ms
    if wanted is not None and wanted <= step.now:
        wanted = None
    new = _Change(task, lane, task.head.priority if change.priority is None else change.priority, wanted)
    if not new.moved and wanted == due:
        return "same"
    step.events.setdefault("revised", []).append((id, lane, task.attempts))
    changes.append(new)
    return "revised"


def _version(lane: int, record: Record | None, due: float | None) -> tuple[float | None, ...]:
    if record is None:
        return lane, due
    return record.state, record.lane, record.score, record.fence, record.since_ms, due


def _stand_elsewhere(step: Step, c: _Change) -> None:
    """Another place in the same lane."""
    c.task.head.priority = c.priority
    c.task.score = order.charge_anew(step, c.lane, c.priority, c.task.tenant)
    c.task.fresh = False
    step.lane_set(c.lane).add(c.task.id, c.task.score)
