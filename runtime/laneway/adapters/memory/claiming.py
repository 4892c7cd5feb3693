"""The best eligible tasks for free slots, in priority order, as in ``lua/lib/claim.lua``."""

from __future__ import annotations

import math
from collections.abc import Callable

from laneway.adapters.memory import limits, order
from laneway.adapters.memory.ends import finish, flush
from laneway.adapters.memory.tables import (
    ANNOUNCED,
    DRAINING,
    F_LATE,
    F_STARTBY,
    GONE,
    Step,
    Task,
)
from laneway.model.config import LaneConfig
from laneway.model.states import State
from laneway.ports.store import Claimed

_LOOK_BEYOND = 200
NextHolder = Callable[[], bytes | None]


def allowed(step: Step, lane: LaneConfig, want: int) -> int:
    """How many tasks a lane may hand out now; notes when a lane out of tokens may be asked again."""
    if lane.paused:
        return 0
    if lane.max > 0:
        want = min(want, lane.max - step.t.running_lanes.get(lane.n, 0))
    if lane.drate > 0 and want > 0:
        left = limits.tokens(step, ("d", str(lane.n)), lane.drate, lane.dburst)
        if left < 1 and len(step.lane_set(lane.n)):
            wait = limits.wait_ms(left, lane.drate)
            step.again_ms = wait if step.again_ms is None else min(step.again_ms, wait)
        want = min(want, math.floor(left))
    return max(0, want)


def _too_late(step: Step, task: Task) -> bool:
    deadline = task.head.submitted_ms + task.head.start_timeout_ms
    return bool(task.flags & F_STARTBY) and deadline <= step.now


def hold(step: Step, task: Task, holder: bytes, state: State) -> None:
    """Gives a task to a holder, with a new fencing number."""
    task.fence = max(task.fence + 1, step.now_us)
    task.holder = holder
    task.since = step.now
    task.state = state
    task.fresh = False
    if state == State.RUNNING:
        begin(step, task)
    else:
        step.t.dispatched.add(task.id, step.now + step.conf.dispatch_ms * 2 ** (task.flags // F_LATE))
    step.t.held.setdefault(holder, set()).add(task.id)
    order.occupy(step, task, 1)


def begin(step: Step, task: Task) -> None:
    """Counts an attempt; from now on the start timeout is met."""
    task.attempts += 1
    task.started = step.now
    task.flags = task.flags % F_LATE & ~F_STARTBY
    step.t.startby.remove(task.id)


def _take_from(step: Step, lane: LaneConfig, want: int, next_holder: NextHolder, state: State) -> list[Task]:
    want = allowed(step, lane, want)
    waiting = step.lane_set(lane.n)
    taken: list[Task] = []
    looked = 0
    while len(taken) < want and looked < want + _LOOK_BEYOND:
        page = waiting.first(want - len(taken))
        if not page:
            break
        for score, id in page:
            task = step.t.tasks[id]
            limit = step.tenant(task.tenant).max
            looked += 1
            if _too_late(step, task):
                finish(step, task, State.EXPIRED)
            elif 0 < limit <= step.t.running_tenants.get(task.tenant, 0):
                order.park(step, task)
            else:
                holder = next_holder()
                if holder is None:
                    return taken
                hold(step, task, holder, state)
                order.advance(step, lane.n, score)
                taken.append(task)
                if lane.drate > 0:
                    limits.take(step, ("d", str(lane.n)), lane.drate, lane.dburst)
            waiting.remove(id)
    return taken


def claim_batch(step: Step, want: int, next_holder: NextHolder, state: State) -> list[Task]:
    """Up to ``want`` tasks: lanes under their minimum share first, then all by priority."""
    taken: list[Task] = []
    if step.conf.paused:
        return taken
    if step.conf.shares:
        for lane in step.conf.lanes:
            owed = math.ceil(step.t.slots * lane.share / 100) - step.t.running_lanes.get(lane.n, 0)
            if lane.share > 0 and owed > 0 and len(taken) < want:
                taken += _take_from(step, lane, min(want - len(taken), owed), next_holder, state)
    for lane in step.conf.lanes:
        if len(taken) >= want:
            break
        taken += _take_from(step, lane, want - len(taken), next_holder, state)
    return taken


def work_left(step: Step) -> bool:
    """Whether eligible work is left: then the wake token is passed on."""
    if step.conf.paused:
        return False
    return any(allowed(step, lane, 1) > 0 and len(step.lane_set(lane.n)) > 0 for lane in step.conf.lanes)


def wake_for_freed(step: Step, inc: bytes, ready: int, freed: int) -> None:
    """Wakes for ready tasks, or for freed ones whose places others may take; not for the first sixth of a Kafka
    worker's credits (see credits.lua)."""
    if ready > 0:
        return step.wake(ready)
    if not freed or not any(len(step.lane_set(lane.n)) for lane in step.conf.lanes):
        return None
    worker = step.t.workers.get(inc)
    if worker is not None and worker.state == ANNOUNCED and worker.mode == "kafka":
        free = worker.window - len(step.t.held.get(inc, ()))
        if free < (worker.window - worker.slots) // 6 and not any(lane.max > 0 for lane in step.conf.lanes):
            return None
    return step.wake(1)


def claim_direct(step: Step, inc: bytes, request: int, want: int) -> tuple[str, list[Claimed]]:
    """Claims for a worker's own free slots; the same request number gives the same tasks again."""
    t = step.t
    worker = t.workers.get(inc)
    if worker is None or worker.state == GONE:
        return "gone", []
    last = t.replies.get(inc)
    if last is not None and request < last[0]:
        return "late", []
    if last is not None and request == last[0]:
        again = [(t.tasks.get(id), fence) for id, fence in last[1]]
        return "ok", [
            task.claimed()
            for task, fence in again
            if task is not None and task.fence == fence and task.holder == inc and task.state == State.RUNNING
        ]
    taken: list[Task] = []
    free = min(want, worker.slots - len(t.held.get(inc, ())))
    if worker.state == ANNOUNCED and free > 0:
        taken = claim_batch(step, free, lambda: inc, State.RUNNING)
        step.wake(flush(step))
        if taken and work_left(step):
            step.wake(1)
    t.replies[inc] = (request, [(task.id, task.fence) for task in taken])
    return "draining" if worker.state == DRAINING else "ok", [task.claimed() for task in taken]


def dispatch_batch(step: Step, limit: int) -> tuple[list[tuple[bytes, int, Claimed]], int]:
    """Tasks for Kafka workers with credits, the least loaded first; and the credits left."""
    free: list[tuple[float, bytes, int, int]] = []
    for inc, worker in step.t.workers.items():
        held = len(step.t.held.get(inc, ()))
        if worker.state == ANNOUNCED and worker.mode == "kafka" and worker.window > held:
            free.append((held / max(1, worker.slots), inc, worker.window - held, worker.partition))
    free.sort()
    total = sum(credits for _, _, credits, _ in free)
    waiting = sum(len(step.lane_set(lane.n)) for lane in step.conf.lanes)
    limit = min(limit, total, waiting)
    plan = [inc for _, inc, credits, _ in free for _ in range(min(credits, math.ceil(limit * credits / max(1, total))))]
    holders = iter(plan)
    taken = claim_batch(step, limit, lambda: next(holders, None), State.DISPATCHED) if limit > 0 else []
    step.wake(flush(step))
    if total > len(taken) and work_left(step):
        step.wake(1)
    elif not any(worker.mode == "direct" for worker in step.t.workers.values()):
        step.t.work.clear()
    return [(task.holder, step.t.workers[task.holder].partition, task.claimed()) for task in taken], total - len(taken)
