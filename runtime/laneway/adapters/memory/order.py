"""Where a task waits and in which order, as in ``lua/lib/lanes.lua``: fair shares, parking, counts."""

from __future__ import annotations

from laneway.adapters.memory.sortedset import SortedSet
from laneway.adapters.memory.tables import NOBODY, Step, Task
from laneway.model.states import State

STRIDE = 1 << 49
COST = 256
_UNPARK_MOST = 100


def charge(step: Step, lane_n: int, priority: int, tenant: str) -> float:
    """The score of a task that joins its lane now, charged to its tenant."""
    lane, vtime = step.lanes[lane_n], step.t.vtime
    who = (lane_n, priority, "" if lane.fifo else tenant)
    start = max(vtime.get((lane_n, priority, None), 0), vtime.get(who, 0))
    start = min(start, STRIDE - COST)
    weight = 1 if lane.fifo else step.tenant(tenant).w
    vtime[who] = start + max(1, int(COST / weight + 0.5))
    return float((9 - priority) * STRIDE + start)


def charge_anew(step: Step, lane_n: int, priority: int, tenant: str) -> float:
    """As :func:`charge`, but never 0: the score of a record says which priority its task has."""
    return max(1.0, charge(step, lane_n, priority, tenant))


def uncharged(priority: int) -> float:
    """The score of a task that has no place in a lane yet, and is charged when it gets one."""
    return float(-priority - 1)


def refund(step: Step, lane_n: int, score: float, tenant: str) -> None:
    """Gives a tenant its charge back for a task that leaves its lane unserved, when nothing of its comes after it."""
    lane = step.lanes.get(lane_n)
    if score <= 0 or lane is None:
        return
    level, start = divmod(int(score), STRIDE)
    who = (lane_n, 9 - level, "" if lane.fifo else tenant)
    cost = max(1, int(COST / (1 if lane.fifo else step.tenant(tenant).w) + 0.5))
    if step.t.vtime.get(who, 0) == start + cost:
        step.t.vtime[who] = start


def advance(step: Step, lane_n: int, score: float) -> None:
    """Moves a lane's virtual time to that of a task that leaves it."""
    level, start = divmod(int(score), STRIDE)
    field = (lane_n, 9 - level, None)
    step.t.vtime[field] = max(step.t.vtime.get(field, 0), start)


def restored(step: Step, lane_n: int, score: float) -> float:
    """The score of a task that returns: never behind what its lane hands out now."""
    level, start = divmod(int(score), STRIDE)
    return float(level * STRIDE + min(start, step.t.vtime.get((lane_n, 9 - level, None), 0)))


def occupy(step: Step, task: Task, delta: int) -> None:
    """Adds to the running counts of a task's lane and tenant."""
    step.t.running_lanes[task.lane] = max(0, step.t.running_lanes.get(task.lane, 0) + delta)
    tenants = step.t.running_tenants
    tenants[task.tenant] = max(0, tenants.get(task.tenant, 0) + delta)
    if not tenants[task.tenant]:
        del tenants[task.tenant]


def park(step: Step, task: Task) -> None:
    """Sets a task aside until its tenant has a slot."""
    task.state = State.PARKED
    task.since = step.now
    task.holder = NOBODY
    task.fresh = False
    step.t.parked.setdefault(task.tenant, {}).setdefault(task.lane, SortedSet()).add(task.id, task.score)


def withdraw_parked(step: Step, task: Task) -> None:
    """Takes a task out of those set aside."""
    lanes = step.t.parked[task.tenant]
    lanes[task.lane].remove(task.id)
    if not lanes[task.lane]:
        del lanes[task.lane]
    if not lanes:
        del step.t.parked[task.tenant]


def place(step: Step, task: Task) -> None:
    """Puts a task (its score set) where it may wait: in its lane, or parked behind others of its tenant."""
    if step.tenant(task.tenant).max > 0 and task.tenant in step.t.parked:
        park(step, task)
        return
    task.state = State.QUEUED
    step.lane_set(task.lane).add(task.id, task.score)
    step.ready += 1


def unpark(step: Step, tenant: str) -> int:
    """Moves parked tasks of a tenant with room to their lanes, best lane first; returns how many."""
    waiting = step.t.parked.get(tenant)
    limit = step.tenant(tenant).max
    free = min(limit - step.t.running_tenants.get(tenant, 0), _UNPARK_MOST) if limit > 0 else _UNPARK_MOST
    moved = 0
    for lane in step.conf.lanes if waiting else ():
        for score, id in (waiting or {}).get(lane.n, SortedSet()).first(free - moved):
            task = step.t.tasks[id]
            withdraw_parked(step, task)
            task.state = State.QUEUED
            step.lane_set(lane.n).add(id, score)
            moved += 1
    return moved
