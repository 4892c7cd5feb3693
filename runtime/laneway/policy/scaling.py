"""How many replicas a pool of workers shall have: a pure decision, with the words that explain it.

The rules, in the order in which they apply:

* What can't be read is never taken for zero: the size stays.
* The formula is the pool's target over the tasks that could run: queued in lanes that are not paused, scheduled and
  due within :data:`SOON_S`, dispatched or running. Parked tasks (their tenant is at its limit) ask for one replica at
  most, tasks in paused lanes for none.
* As long as there is one such task there is a replica; zero needs a queue in which nothing could run and nothing runs.
* ``min`` and ``max`` always hold.
* More replicas come at once. Fewer come when they have been enough for the whole stabilization time: the size is the
  most that was recommended in it. And never fewer than hold what runs.

Several pools of one queue share its tasks in proportion to the slots that each may have at most (:func:`share`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

#: Scheduled tasks due within so many seconds count as queued: a pod needs about as long to come up, and a task that
#: waits a moment for its retry does not send the last worker away.
SOON_S: Final = 5.0
#: How long a task is taken to run while none has ended yet.
ASSUMED_RUN_S: Final = 1.0
# The quotient of two floats may lie this much above the whole number that it stands for.
_ROUNDING: Final = 1e-9


class LimitedBy(StrEnum):
    """What settled the number of replicas."""

    TARGET = "Target"
    MIN = "Min"
    MAX = "Max"
    STABILIZATION = "Stabilization"
    RUNNING = "Running"
    UNREADABLE = "Unreadable"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """What a pool asks for: exactly one of ``tasks_per_replica`` and ``drain_s`` is set.

    ``slots`` are the tasks that one replica runs at once; times are in seconds.
    """

    min: int
    max: int
    stabilization_s: float
    slots: int
    tasks_per_replica: int | None = None
    drain_s: float | None = None

    def __post_init__(self) -> None:
        if (self.tasks_per_replica is None) == (self.drain_s is None):
            raise ValueError("a scaling rule has exactly one of tasks_per_replica and drain_s")
        if not 0 <= self.min <= self.max:
            raise ValueError(f"min ({self.min}) must be at least 0 and at most max ({self.max})")

    def bounded(self, replicas: int) -> int:
        """The nearest number that ``min`` and ``max`` allow."""
        return max(self.min, min(self.max, replicas))


@dataclass(frozen=True, slots=True)
class Work:
    """What a queue has to do.

    ``queued`` tasks could run now (or soon), ``running`` ones are held by workers, ``parked`` ones wait for their
    tenant's limit, ``stopped`` ones in paused lanes; ``run_s`` is how long a task runs in the mean (0: not known, none
    has ended yet)."""

    queued: int
    running: int
    parked: int = 0
    stopped: int = 0
    run_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ScalingInputs:
    """What is known now. ``work`` None: it could not be read, and ``trouble`` says why. ``now`` is in seconds of any
    clock that never goes back; ``current`` is the number of replicas asked for now; ``share`` is the pool's part of
    the queue's tasks."""

    now: float
    current: int
    work: Work | None
    share: Fraction = Fraction(1)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """What the next decision has to know of those before: ``desired``, the last one, and the recommendations of the
    stabilization time that may still count, as (when, how many), oldest and largest first."""

    desired: int
    recommended: tuple[tuple[float, int], ...] = ()

    def noting(self, now: float, replicas: int, window_s: float) -> ScalingMemory:
        """With one recommendation more. What is older than the window, or no larger than a newer one, is forgotten."""
        kept = (entry for entry in self.recommended if entry[1] > replicas and entry[0] > now - window_s)
        return ScalingMemory(self.desired, (*kept, (now, replicas)))

    @property
    def most(self) -> int:
        """The largest recommendation that still counts."""
        return max((replicas for _, replicas in self.recommended), default=0)


@dataclass(frozen=True, slots=True)
class Decision:
    """``desired`` replicas; ``raw`` is what the formula gave before limits, and ``load`` the same not rounded (None:
    unreadable). ``formula`` says for people how it came about."""

    desired: int
    raw: int | None
    load: float | None
    limited_by: LimitedBy
    formula: str

    @property
    def readable(self) -> bool:
        """Whether it was made of a reading."""
        return self.load is not None

    def differs(self, other: Decision | None) -> bool:
        """Whether people need to hear of this one after ``other``: numbers that only move are for metrics."""
        return other is None or (self.desired, self.limited_by) != (other.desired, other.limited_by)


def share(slots: int, others: Iterable[int]) -> Fraction:
    """The part of a queue's tasks that is a pool's, when it may have ``slots`` at most and the queue's other scaled
    pools ``others``. So all of them use the same part of what they may have, and none is made for another's tasks."""
    return Fraction(slots, slots + sum(others))


def load(rule: ScalingRule, work: Work, share: Fraction = Fraction(1)) -> float:
    """How many replicas the pool's part of the work needs, not rounded. It is what an HPA is told: above 0 whenever
    the pool must not be empty."""
    tasks = (work.queued + work.running) * share
    if rule.tasks_per_replica is not None:
        needed = float(tasks / rule.tasks_per_replica)
    else:
        assert rule.drain_s is not None
        needed = float(tasks) * _run_s(work) / (rule.slots * rule.drain_s)
    # Parked tasks run when others of their tenant have; somebody has to be there.
    least = 0.001 if work.queued + work.running + work.parked > 0 else 0.0
    return max(needed, least)


def decide(inputs: ScalingInputs, rule: ScalingRule, memory: ScalingMemory | None) -> tuple[Decision, ScalingMemory]:
    """The number of replicas, and the memory for the next decision. ``memory`` None: the first decision in this
    process; then the size that there is counts as just recommended, so a restart takes nothing away."""
    if memory is None:
        memory = ScalingMemory(inputs.current).noting(inputs.now, inputs.current, rule.stabilization_s)
    work = inputs.work
    if work is None:
        return _unreadable(inputs, rule, memory)
    needed = load(rule, work, inputs.share)
    raw = math.ceil(needed - _ROUNDING)
    recommended = rule.bounded(raw)
    noted = memory.noting(inputs.now, recommended, rule.stabilization_s)
    stable = rule.bounded(noted.most)
    busy = math.ceil(work.running * inputs.share / rule.slots)
    desired = max(stable, rule.bounded(min(memory.desired, busy)))
    limited_by = _limit(rule, work, raw, recommended, stable, desired, inputs.share)
    formula = f"{_formula(rule, work, inputs.share)} = {raw}{_limited(rule, work, limited_by, desired)}"
    return Decision(desired, raw, needed, limited_by, formula), ScalingMemory(desired, noted.recommended)


def _unreadable(inputs: ScalingInputs, rule: ScalingRule, memory: ScalingMemory) -> tuple[Decision, ScalingMemory]:
    desired = rule.bounded(memory.desired)
    # Counts as recommended: what was seen before the gap says nothing about what is enough after it.
    noted = memory.noting(inputs.now, desired, rule.stabilization_s)
    formula = f"kept at {desired}: the queue could not be read"
    if inputs.trouble:
        formula += f" ({inputs.trouble[:300]})"
    return Decision(desired, None, None, LimitedBy.UNREADABLE, formula), ScalingMemory(desired, noted.recommended)


def _run_s(work: Work) -> float:
    return work.run_s if work.run_s > 0 else ASSUMED_RUN_S


def _limit(
    rule: ScalingRule, work: Work, raw: int, recommended: int, stable: int, desired: int, share: Fraction
) -> LimitedBy:
    if desired > stable:
        return LimitedBy.RUNNING
    if desired > recommended:
        return LimitedBy.STABILIZATION
    if recommended > raw:
        return LimitedBy.MIN
    if recommended < raw:
        return LimitedBy.MAX
    if work.stopped:
        going = Work(work.queued + work.stopped, work.running, work.parked, 0, work.run_s)
        if math.ceil(load(rule, going, share) - _ROUNDING) > raw:
            return LimitedBy.PAUSED
    return LimitedBy.TARGET


def _formula(rule: ScalingRule, work: Work, share: Fraction) -> str:
    tasks = f"(queued {work.queued} + running {work.running})"
    if share != 1:
        tasks += f" x {float(share):.3g} of the queue"
    if rule.tasks_per_replica is not None:
        return f"ceil({tasks} / {rule.tasks_per_replica} per replica)"
    each = f"{work.run_s:.3g} s each" if work.run_s > 0 else f"{ASSUMED_RUN_S:g} s each, assumed as none has ended yet,"
    return f"ceil({tasks} x {each} / ({rule.slots} slots x {rule.drain_s:g} s))"


def _limited(rule: ScalingRule, work: Work, by: LimitedBy, desired: int) -> str:
    parked = f" (for {work.parked} parked)" if work.parked and not work.queued + work.running else ""
    match by:
        case LimitedBy.MIN:
            return f"{parked}, limited by min {rule.min}"
        case LimitedBy.MAX:
            return f"{parked}, limited by max {rule.max}"
        case LimitedBy.STABILIZATION:
            return f"{parked}, kept at {desired}: fewer have not been enough for {rule.stabilization_s:g} s yet"
        case LimitedBy.RUNNING:
            return f"{parked}, kept at {desired} by what runs"
        case LimitedBy.PAUSED:
            return f"{parked}, without {work.stopped} in paused lanes"
    return parked
