"""From a queue's sizes now, and what was kept of the last minutes, to the load that predictions start from. Pure."""

from __future__ import annotations

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
#: What was so many seconds earlier counts half as much.
_HALF_S = 20.0
#: Counts of the last moments may not be there yet (s).
_LAG_S = 2
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
    # What was a while ago counts less: loads change, and a burst is no stream.
    weights = [0.5 ** (max(0.0, now - bucket.at - seconds / 2) / _HALF_S) for bucket, seconds in recent]
    time = sum(weight * seconds for weight, (_, seconds) in zip(weights, recent, strict=True))

    def each_second(kinds: Sequence[str], lane: str) -> float:
        return (
            sum(w * count_of([b], kind, lane) for w, (b, _) in zip(weights, recent, strict=True) for kind in kinds)
            / time
        )

    def held_by(lane: str) -> float:
        return sum(w * s * _mean_held(b, lane) for w, (b, s) in zip(weights, recent, strict=True)) / time

    found: dict[str, LaneRates] = {}
    held_all = ends_all = 0.0
    ended = 0
    for name in names:
        held, ends = held_by(name), each_second(ENDS, name)
        count = sum(count_of([bucket for bucket, _ in recent], kind, name) for kind in ENDS)
        held_all, ends_all, ended = held_all + held, ends_all + ends, ended + count
        hold = held / ends if count >= _ENOUGH and held > 0 else None
        found[name] = LaneRates(each_second(_ARRIVE, name), ends, hold or runs[name], runs[name])
    hold = held_all / ends_all if ended >= _ENOUGH and held_all > 0 else None
    busy = _busy_slots([bucket for bucket, _ in recent])
    return Rates(found, hold or _mean_run([h for b in buckets for h in b.r.values()]) or told, busy)


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
    """How many slots were held on average, when work was waiting at the end of every bucket."""
    samples = [bucket.g for bucket in buckets if len(bucket.g) == 11]
    if len(samples) < 3 or any(each[1] < _WAITED for each in samples):
        return None
    return sum(each[7] for each in samples) / sum(each[0] for each in samples)
