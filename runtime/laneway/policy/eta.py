"""When a task submitted now to a lane would start: a pure prediction from what waits, what runs and what was measured.

It moves a model through time in which slots come free one by one, at the rate at which the tasks that hold them end,
and go to lanes as a claim gives them: minimum shares first, then strict priority, within each lane's limits on running
tasks and dispatch rate, and never by taking a slot from a task that runs. A lane's prediction is the time at which the
tasks before the new one, and one more, have been given a slot. So a better lane delays a worse one by its backlog and
by what comes in meanwhile, as in non-preemptive priority queues (Cobham 1954): a wait grows with 1 / (1 - load of the
better lanes), and a lane that is left nothing by them never starts.

How long a task holds a slot comes from Little's law (1961), L = lambda * W: the mean number of slots that a lane held
over the last minute, divided by the rate at which its tasks ended. That is all that a task costs a slot, with the time
between tasks, and not only its handler's run time. Where too few tasks have ended, run times stand in (see
``policy/load.py``, which makes the load).

Not foreseen: rates that change, workers that come or go, priorities within the lane and fairness between tenants (the
new task is taken to come after all that wait in its lane), tenants' limits, tasks that are scheduled for later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Basis = Literal["idle", "rate", "unknown"]

#: Times beyond this are not predicted (s).
HORIZON_S = 7 * 86_400.0
#: Each step of the model is so much longer than the one before, as a share of the time passed.
_GROWTH = 0.1
#: By so much a slot may fall short of being whole.
_NEARLY = 0.05
#: The shortest step: nobody cares for less.
_FIRST_STEP_S = 1e-4


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """One lane now. ``hold_s``: how long a task of it holds a slot on average (None: not known). ``arrivals``: tasks
    that came into the lane each second lately. ``max_running`` and ``dispatch_rate`` 0: unlimited; ``share`` is in per
    cent."""

    name: str
    queued: int
    running: int
    hold_s: float | None = None
    arrivals: float = 0.0
    paused: bool = False
    max_running: int = 0
    share: int = 0
    dispatch_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """A queue now, its lanes in dispatch order. ``slots``: tasks that run at once when there is enough to do; ``free``
    slots have none now."""

    lanes: Sequence[LaneLoad]
    slots: float
    free: float
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Eta:
    """A prediction. ``seconds`` None: can't be told, or not within :data:`HORIZON_S`. ``basis`` is idle (a slot is free
    for it), rate (predicted), or unknown (paused, no slots, nothing measured, or starved by better lanes). ``rate``:
    starts each second until then (0: not known); ``ahead``: tasks that start before it."""

    lane: str
    seconds: float | None
    basis: Basis
    rate: float
    ahead: int


def etas(load: QueueLoad) -> list[Eta]:
    """The prediction of each lane, in order."""
    ahead = 0
    found: list[Eta] = []
    times = _started_after(load)
    for i, lane in enumerate(load.lanes):
        open_ = not (load.paused or lane.paused)
        before = ahead + lane.queued
        seconds = times[i] if open_ and load.slots > 0 else None
        if seconds is None:
            found.append(Eta(lane.name, None, "unknown", 0.0, before))
        elif seconds == 0.0:
            found.append(Eta(lane.name, 0.0, "idle", 0.0, before))
        else:
            found.append(Eta(lane.name, seconds, "rate", (before + 1) / seconds, before))
        if open_:
            ahead = before
    return found


class _Lane:
    """A lane in the model. ``waiting`` tasks and slots ``held`` are real; ``spare`` counts what it could have started
    beyond what waits, which moves only the new task on."""

    __slots__ = (
        "arrivals",
        "held",
        "hold",
        "leaving",
        "limit",
        "rate",
        "share",
        "spare",
        "started",
        "target",
        "waiting",
        "wanted",
    )

    def __init__(self, load: LaneLoad, slots: float, paused: bool) -> None:
        self.waiting = float(load.queued)
        self.held = float(load.running)
        self.hold = load.hold_s if load.hold_s else math.inf
        self.arrivals = load.arrivals
        self.limit = 0.0 if paused or load.paused else (float(load.max_running) or math.inf)
        self.rate = load.dispatch_rate or math.inf
        self.share = slots * load.share / 100
        self.started = self.spare = self.wanted = self.leaving = 0.0
        self.target = load.queued + 1.0

    @property
    def progress(self) -> float:
        """How many tasks, the new one included, could have started."""
        return self.started + self.spare

    def end(self, step: float) -> float:
        """Ends tasks for a step; what they held is :attr:`leaving` until :meth:`leave`. Returns by how much."""
        ended = min(self.held - self.leaving, self.held * step / self.hold)
        self.leaving += ended
        return ended

    def leave(self, share: float) -> None:
        """Gives back a share of the slots that its ended tasks held."""
        self.held -= self.leaving * share
        self.leaving *= 1 - share

    def take(self, pool: float, most: float, step: float, room: float) -> tuple[float, float, float]:
        """Takes what it wants of up to ``most`` of the ``pool``, with ``room`` for so many tasks. A slot is good for
        one task in a step, or for as many as run in it one after the other. Returns slots, tasks, and the tasks for
        which there was room beside."""
        turns = max(1.0, step / self.hold)
        fit = max(0.0, min(pool, most, self.limit - self.held))
        tasks = min(self.wanted, fit * turns, room)
        slots = tasks / turns
        if self.waiting > 0.5 and tasks == self.wanted:
            slots = min(fit, math.ceil(slots))  # the last of the backlog: their slots are whole until they end
        self.wanted -= tasks
        self.started += tasks
        self.held += slots
        return slots, tasks, max(0.0, min(fit * turns, room) - tasks)


def _started_after(load: QueueLoad) -> list[float | None]:
    """For each lane, after how many seconds a new task of it has a slot; None: not within the horizon."""
    lanes = [_Lane(each, load.slots, load.paused) for each in load.lanes]
    found: list[float | None] = [None] * len(lanes)
    pool = max(0.0, load.free)
    for i, lane in enumerate(lanes):
        # What waits though slots are free waits for its dispatch rate, if it has one, or is being claimed now.
        if lane.waiting and lane.rate < math.inf:
            continue
        at_once = max(0.0, min(pool, lane.waiting, lane.limit - lane.held))
        pool -= at_once
        lane.held += at_once
        lane.waiting -= at_once
        lane.started += at_once
        if lane.waiting <= 0 and min(pool, lane.limit - lane.held) >= 1:
            found[i] = 0.0
    holds = [lane.hold for lane in lanes if lane.hold < math.inf]
    if not holds or load.slots <= 0:
        return found
    sought = [i for i, lane in enumerate(lanes) if found[i] is None and lane.limit > 0]
    now, step, part = 0.0, max(_FIRST_STEP_S, min(holds) / load.slots / 2), 0.0
    while sought and now < HORIZON_S:
        before = {i: lanes[i].progress for i in sought}
        pool, part = _move(lanes, pool, part, step)
        for i in list(sought):
            lane, was = lanes[i], before[i]
            if lane.progress >= lane.target:
                found[i] = now + step * (lane.target - was) / (lane.progress - was)
                sought.remove(i)
        now += step
        step = max(step, now * _GROWTH)
    return found


def _move(lanes: Sequence[_Lane], pool: float, part: float, step: float) -> tuple[float, float]:
    """One step of the model. Returns the slots that are free at its end, and the ``part`` of the next one to come free:
    a slot is there when it is whole, so that nothing runs on the tenth of one."""
    part += sum(lane.end(step) for lane in lanes)
    whole = float(math.floor(part + _NEARLY))
    if whole > 0:
        for lane in lanes:
            lane.leave(min(1.0, whole / part))
        pool, part = pool + whole, max(0.0, part - whole)
    room: list[float] = []
    spare = [0.0] * len(lanes)
    for i, lane in enumerate(lanes):
        lane.wanted = lane.waiting + lane.arrivals * step
        room.append(lane.rate * step)
        if lane.share > 0:
            slots, tasks, spare[i] = lane.take(pool, lane.share - lane.held, step, room[i])
            pool -= slots
            room[i] -= tasks
    for i, lane in enumerate(lanes):
        slots, _, beside = lane.take(pool, math.inf, step, room[i])
        pool -= slots
        lane.spare += max(beside, spare[i])
        lane.waiting = lane.wanted
    return max(0.0, pool), part
