"""What is kept of a memory store's queue over time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from laneway.adapters.memory.clock import Clock
from laneway.ports.history import RINGS, Bucket, Count, LaneTimes, Ring, Sizes

_MOST_LANES = 80


class MemoryHistory:
    """A HistoryStore in this process's memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rings: dict[Ring, dict[int, Bucket]] = {ring: {} for ring in RINGS}
        self._last: dict[Ring, tuple[int, int]] = dict.fromkeys(RINGS, (0, 0))

    def _bucket(self, ring: Ring, at: int) -> Bucket | None:
        at -= at % ring.width
        buckets, place = self._rings[ring], at // ring.width % ring.places
        found = buckets.get(place)
        if found is not None and found.at > at:
            return None
        if found is None or found.at < at:
            found = buckets[place] = Bucket(at)
        return found

    async def tally(self, last: bytes, counts: Sequence[Count]) -> int:
        """Adds counts."""
        ms, _, n = last.partition(b"-")
        entry, took = (int(ms), int(n)), 0
        for ring in RINGS:
            if entry <= self._last[ring]:
                continue
            self._last[ring] = entry
            took += 1
            for count in counts:
                bucket = self._bucket(ring, count.at)
                if bucket is not None:
                    kinds = bucket.n.setdefault(count.kind, {})
                    lane = _lane(kinds, count.lane)
                    kinds[lane] = kinds.get(lane, 0) + count.n
        return took

    async def sample(self, sizes: Sizes) -> None:
        """Adds the sizes of now."""
        numbers = (sizes.queued, sizes.running, sizes.scheduled, sizes.workers, sizes.slots)
        for ring in RINGS:
            bucket = self._bucket(ring, sizes.at)
            if bucket is not None:
                bucket.g = _sampled(bucket.g, numbers)
                for lane in sizes.lanes:
                    name = _lane(bucket.l, lane.lane)
                    bucket.l[name] = _sampled(bucket.l.get(name, []), (lane.queued, lane.running))

    async def observe(self, times: Sequence[LaneTimes]) -> None:
        """Adds how long tasks waited and ran."""
        for ring in RINGS:
            bucket = self._bucket(ring, self._clock.now_ms() // 1000)
            if bucket is not None:
                for item in times:
                    _add(bucket.w, item.lane, item.waits)
                    _add(bucket.r, item.lane, item.runs)

    async def read(self, ring: Ring, since: int, until: int) -> list[Bucket]:
        """The buckets of a time."""
        found = sorted(self._rings[ring].values(), key=lambda bucket: bucket.at)
        newest = -(-until // ring.width) * ring.width
        kept = [b for b in found if max(since, newest - ring.seconds) <= b.at < until]
        return [msgspec.convert(msgspec.to_builtins(bucket), Bucket) for bucket in kept]


def _lane(part: dict[str, list[float]] | dict[str, float], lane: str) -> str:
    return lane if lane in part or len(part) < _MOST_LANES else "other"


def _sampled(was: list[float], numbers: Sequence[float]) -> list[float]:
    n = len(numbers)
    sums = was[1 + n :] if was else [0.0] * n
    return [(was[0] if was else 0) + 1, *numbers, *(a + b for a, b in zip(sums, numbers, strict=True))]


def _add(part: dict[str, list[float]], lane: str, numbers: list[float]) -> None:
    if not numbers:
        return
    name = _lane(part, lane)
    was = part.get(name)
    part[name] = list(numbers) if was is None or len(was) != len(numbers) else [
        a + b for a, b in zip(was, numbers, strict=True)
    ]  # fmt: skip
