"""From kept buckets to points of a chart, and to rates. Pure.

A point covers a step of one or more buckets. Counts are added up. Sizes are the mean of their samples. Quantiles are
estimated from the histograms of the step, added up (see :mod:`laneway.policy.quantiles`). A step of which no bucket was
kept is a gap: no point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from laneway.kit.metrics import RUN_BUCKETS, WAIT_BUCKETS
from laneway.policy.quantiles import quantile
from laneway.ports.history import Bucket

#: Kinds of events that end an attempt, and so free the slot that it had.
ENDS = ("succeeded", "retried", "snoozed", "dead", "crashed", "released")

_QUEUED, _RUNNING, _SCHEDULED, _WORKERS, _SLOTS = range(5)
_SIZES = 5
#: What was held so many seconds before is taken for what was held at a step's begin.
_NEAR_S = 60


@dataclass(frozen=True, slots=True)
class LanePoint:
    """A lane in one step. ``started``: tasks that got a slot, which is how many gave one back and by how much more are
    held at its end than at its begin; None when that is not known. Times in s; None: no sample, or no value."""

    queued: float | None
    running: float | None
    submitted: int
    started: int | None
    wait_p50: float | None
    wait_p99: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """A queue in one step from ``at`` (s) on."""

    at: int
    counts: dict[str, int]
    queued: float | None
    running: float | None
    scheduled: float | None
    workers: float | None
    slots: float | None
    wait_p50: float | None
    wait_p99: float | None
    run_p50: float | None
    run_p99: float | None
    lanes: dict[str, LanePoint] = field(default_factory=dict)


def points(buckets: Sequence[Bucket], step: int) -> list[Point]:
    """The points of buckets in order, at multiples of ``step`` s."""
    found: list[Point] = []
    group: list[Bucket] = []
    before: Bucket | None = None
    for bucket in buckets:
        if group and bucket.at // step != group[0].at // step:
            found.append(_point(group, step, before))
            before, group = group[-1], []
        group.append(bucket)
    if group:
        found.append(_point(group, step, before))
    return found


def _point(group: list[Bucket], step: int, before: Bucket | None) -> Point:
    if before is not None and group[0].at - before.at > max(step, _NEAR_S):
        before = None  # what was held then says nothing of the begin of this step
    counts: dict[str, int] = {}
    for bucket in group:
        for kind, lanes in bucket.n.items():
            counts[kind] = counts.get(kind, 0) + int(sum(lanes.values()))
    sizes = [_mean([bucket.g for bucket in group], _SIZES, i) for i in range(_SIZES)]
    waits = added((times for bucket in group for times in bucket.w.values()), len(WAIT_BUCKETS))
    runs = added((times for bucket in group for times in bucket.r.values()), len(RUN_BUCKETS))
    names: set[str] = set()
    for bucket in group:
        names.update(bucket.l, bucket.w, *bucket.n.values())
    return Point(
        group[0].at // step * step, counts, sizes[_QUEUED], sizes[_RUNNING], sizes[_SCHEDULED], sizes[_WORKERS],
        sizes[_SLOTS], *_quantiles(waits, WAIT_BUCKETS), *_quantiles(runs, RUN_BUCKETS),
        {name: _lane(name, group, before) for name in sorted(names)},
    )  # fmt: skip


def _lane(name: str, group: list[Bucket], before: Bucket | None) -> LanePoint:
    samples = [bucket.l.get(name, []) for bucket in group]
    waits = added((bucket.w[name] for bucket in group if name in bucket.w), len(WAIT_BUCKETS))
    return LanePoint(
        _mean(samples, 2, 0),
        _mean(samples, 2, 1),
        count_of(group, "submitted", name),
        started(group, before, name),
        *_quantiles(waits, WAIT_BUCKETS),
    )


def count_of(buckets: Iterable[Bucket], kind: str, lane: str) -> int:
    """How many tasks of a lane met with ``kind``."""
    return int(sum(bucket.n.get(kind, {}).get(lane, 0) for bucket in buckets))


def started(group: Sequence[Bucket], before: Bucket | None, lane: str) -> int | None:
    """How many tasks of a lane got a slot in these buckets; None when the bucket before them is not known."""
    if before is None:
        return None
    first, last = before.l.get(lane), [bucket.l[lane] for bucket in group if lane in bucket.l]
    if not first or not last:
        return None
    ended = sum(count_of(group, kind, lane) for kind in ENDS)
    return max(0, int(ended + last[-1][2] - first[2]))


def added(histograms: Iterable[Sequence[float]], bounds: int) -> list[float]:
    """The sum of histograms as they are kept (counts, then seconds in all); those with other bounds are left out."""
    sums: list[float] = []
    for each in histograms:
        if len(each) == bounds + 2:
            sums = [a + b for a, b in zip(sums, each, strict=True)] if sums else list(each)
    return sums


def _mean(samples: Sequence[Sequence[float]], n: int, i: int) -> float | None:
    """The mean of the ``i``-th of ``n`` numbers over all samples."""
    good = [each for each in samples if len(each) == 2 * n + 1]
    taken = sum(each[0] for each in good)
    return round(sum(each[1 + n + i] for each in good) / taken, 2) if taken else None


def _quantiles(sums: list[float], bounds: Sequence[float]) -> tuple[float | None, float | None]:
    if not sums:
        return None, None
    counts = sums[:-1]
    found = [quantile(q, bounds, counts) for q in (0.5, 0.99)]
    p50, p99 = (None if value is None else float(f"{value:.4g}") for value in found)
    return p50, p99
