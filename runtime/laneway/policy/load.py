"""From a queue's sizes now, and what was kept of the last minutes, to the load that predictions start from. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from laneway.kit.metrics import RUN_BUCKETS
from laneway.model.config import LaneConfig, QueueConfig
from laneway.policy.eta import LaneLoad, QueueLoad
from laneway.policy.history import ENDS, added, count_of
from laneway.ports.history import FINE, Bucket
from laneway.ports.store import QueueStats

#: Rates are those of so many seconds before now,
WINDOW_S = 60
#: and run times, where few tasks have ended in that time, those of so many.
RUNS_S = 600
#: Rates need at least so long a time (s).
_LEAST_S = 4
#: What was so many seconds earlier counts half as much: loads change, but how long tasks hold slots changes less.
_ARRIVALS_HALF_S, _HOLD_HALF_S = 8.0, 15.0
#: A bucket with so many times as many arrivals as any other was a burst.
_BURST = 3
#: Counts of the last moments may not be there yet (s).
_LAG_S = 1
#: Little's law is asked once so many tasks have ended.
_ENOUGH = 5
#: A queue was busy throughout when at its least at least this many tasks were waiting.
_WAITED = 1
_ANNOUNCED = 2
#: What comes into a lane: new tasks, and those that come back.
_ARRIVE = ("submitted", "retried", "snoozed", "replayed", "released", "crashed")


@dataclass(frozen=True, slots=True)
class LaneRates:
    """A lane lately: tasks that came in and ended each second; how long one holds a slot, and how long it runs (s;
    None: not known)."""

    arrivals: float = 0.0
    ends: float = 0.0
    hold_s: float | None = None
    run_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """A queue lately. ``hold_s``: how long a task of any lane holds a slot; ``busy_slots``: how many were held on
    average while there was always something waiting (None: there was not always)."""

    lanes: dict[str, LaneRates] = field(default_factory=dict)
    hold_s: float | None = None
    busy_slots: float | None = None


def rates(buckets: Sequence[Bucket], now: float, run_ms: float = 0.0) -> Rates:
    """What the last minute's buckets say. ``buckets`` reach back :data:`RUNS_S`; ``now`` is in s; ``run_ms`` is how
    long handlers run on average as workers tell it (0: not known), for want of anything better."""
    recent = [(bucket, _seconds(bucket, now)) for bucket in buckets if bucket.at >= now - WINDOW_S - FINE.width]
    names: set[str] = set()
    for bucket in buckets:
        names.update(bucket.l, bucket.r, *bucket.n.values())
    told = run_ms / 1000 or None
    runs = {name: _mean_run([bucket.r[name] for bucket in buckets if name in bucket.r]) for name in names}
    if sum(seconds for _, seconds in recent) < _LEAST_S:
        lanes = {name: LaneRates(hold_s=runs[name] or told, run_s=runs[name]) for name in names}
        return Rates(lanes, told)
    found: dict[str, LaneRates] = {}
    held_all = ends_all = 0.0
    enough = 0
    for name in names:
        count = sum(count_of([bucket for bucket, _ in recent], kind, name) for kind in ENDS)
        held = _each_second([(b, s, s * _mean_held(b, name)) for b, s in recent], now, _HOLD_HALF_S)
        ends = _each_second([(b, s, _counted(b, ENDS, name)) for b, s in recent], now, _HOLD_HALF_S)
        held_all, ends_all, enough = held_all + held, ends_all + ends, enough + count
        hold = held / ends if count >= _ENOUGH and held > 0 else None
        if hold is not None:
            # Sizes are sampled: tasks that run between two looks are not seen, but each tells how long it ran.
            hold = max(hold, _recent_run(recent, name, now) or 0.0)
        steady = _without_a_burst([(b, s, _counted(b, _ARRIVE, name)) for b, s in recent])
        arrivals = _each_second(steady, now, _ARRIVALS_HALF_S)
        found[name] = LaneRates(arrivals, ends, hold or runs[name], runs[name])
    hold = held_all / ends_all if enough >= _ENOUGH and held_all > 0 else None
    busy = _busy_slots([bucket for bucket, _ in recent])
    return Rates(found, hold or _mean_run([h for b in buckets for h in b.r.values()]) or told, busy)


#: A bucket, how many of its seconds are told, and a number of them.
_Part = tuple[Bucket, float, float]


def _each_second(parts: Sequence[_Part], now: float, half: float) -> float:
    """The mean of a number for each second; what was ``half`` seconds earlier counts half as much."""
    weights = [0.5 ** (max(0.0, now - bucket.at - seconds / 2) / half) for bucket, seconds, _ in parts]
    time = sum(weight * seconds for weight, (_, seconds, _) in zip(weights, parts, strict=True))
    return sum(weight * n for weight, (_, _, n) in zip(weights, parts, strict=True)) / time if time else 0.0


def _without_a_burst(parts: Sequence[_Part]) -> Sequence[_Part]:
    """The parts without the one in which most came in, if that was far more than in the others and is over: many tasks
    submitted at once are a backlog, and no stream that goes on. The newest parts may be the begin of one."""
    if len(parts) < 4:
        return parts
    most = max(parts, key=lambda part: part[2])
    if most in parts[-2:]:
        return parts
    rest = [part for part in parts if part is not most]
    return rest if most[2] > _BURST * max(part[2] for part in rest) else parts


def _recent_run(recent: Sequence[tuple[Bucket, float]], lane: str, now: float) -> float | None:
    """How long tasks ran lately, on average; weighed as the rates are."""
    times = [(b, s, b.r[lane]) for b, s in recent if len(b.r.get(lane, ())) == len(RUN_BUCKETS) + 2]
    ran = _each_second([(b, s, sum(each[:-1])) for b, s, each in times], now, _HOLD_HALF_S)
    took = _each_second([(b, s, each[-1]) for b, s, each in times], now, _HOLD_HALF_S)
    return took / ran if ran else None


def _counted(bucket: Bucket, kinds: Sequence[str], lane: str) -> float:
    return float(sum(count_of([bucket], kind, lane) for kind in kinds))


def _seconds(bucket: Bucket, now: float) -> float:
    """How much of a bucket is over, and told."""
    return min(float(FINE.width), max(0.0, now - _LAG_S - bucket.at))


def load_of(stats: QueueStats, config: QueueConfig, lately: Rates) -> QueueLoad:
    """A queue's load now."""
    workers = [worker for worker in stats.workers if worker.state == _ANNOUNCED]
    slots = float(sum(worker.slots for worker in workers))
    free = float(sum(max(0, worker.slots - worker.held) for worker in workers))
    if slots and lately.busy_slots:
        # Kafka's workers hold more than they run, and others may be less than full though work waits.
        slots = max(lately.busy_slots, slots / 4)
    queued = {lane.name: lane for lane in stats.lanes}
    return QueueLoad(
        [
            _lane(lane, queued[lane.name].queued, queued[lane.name].running, lately)
            for lane in config.lanes
            if lane.name in queued
        ],
        slots,
        free,
        config.paused,
    )


def _lane(lane: LaneConfig, queued: int, running: int, lately: Rates) -> LaneLoad:
    known = lately.lanes.get(lane.name, LaneRates())
    hold = known.hold_s or lately.hold_s
    return LaneLoad(lane.name, queued, running, hold, known.arrivals, lane.paused, lane.max, lane.share, lane.drate)


def _mean_held(bucket: Bucket, lane: str) -> float:
    """How many slots a lane held on average."""
    samples = bucket.l.get(lane, ())
    return samples[4] / samples[0] if len(samples) == 5 and samples[0] else 0.0


def _mean_run(histograms: Sequence[Sequence[float]]) -> float | None:
    sums = added(histograms, len(RUN_BUCKETS))
    ran = sum(sums[:-1])
    return sums[-1] / ran if ran else None


def _busy_slots(buckets: Sequence[Bucket]) -> float | None:
    """How many slots were held on average in the buckets at whose begin and end work was waiting."""
    samples = [bucket.g for bucket in buckets if len(bucket.g) == 11]
    busy = [now for before, now in itertools.pairwise(samples) if before[1] >= _WAITED <= now[1]]
    if len(busy) < 2:
        return None
    return sum(each[7] for each in busy) / sum(each[0] for each in busy)
