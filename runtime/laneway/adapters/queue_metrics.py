"""A queue's own numbers (depth, workers, drift ...) as metrics, from the last ``store.stats()`` that somebody
read.

A scrape never asks Redis: whoever has the queue (poller, gateway) hands in its statistics each second or so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.kit.metrics import gauge_family
from laneway.ports.store import QueueStats

#: Older numbers are not shown: a gauge that stands still would look like a queue that stands still.
MAX_AGE = 30.0

WORKER_STATES = {1: "registered", 2: "announced", 3: "draining", 4: "stalled", 5: "dead"}
_ANNOUNCED = 2


class QueueCollector(Collector):
    """Collects the gauges of every queue that this process looks at."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, tuple[float, QueueStats]] = {}

    def update(self, queue: str, stats: QueueStats) -> None:
        """Takes a queue's statistics as of now."""
        self._last[queue] = (self._clock(), stats)

    def forget(self, queue: str) -> None:
        """Shows a queue no more."""
        self._last.pop(queue, None)

    def last(self, queue: str) -> QueueStats | None:
        """The statistics last handed in, however old."""
        found = self._last.get(queue)
        return found[1] if found else None

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from QueueCollector().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family, with the queues whose numbers are fresh."""
        now = self._clock()
        known = list(self._last.items())
        fresh = [(queue, stats) for queue, (at, stats) in known if now - at <= MAX_AGE]
        lanes = [(queue, lane) for queue, stats in fresh for lane in stats.lanes]
        yield gauge_family("laneway_depth", (((queue, lane.name), lane.queued) for queue, lane in lanes))
        yield gauge_family("laneway_running", (((queue, lane.name), lane.running) for queue, lane in lanes))
        yield gauge_family(
            "laneway_oldest_seconds",
            (((queue, lane.name), max(0, lane.oldest_ms) / 1000) for queue, lane in lanes),
        )
        yield gauge_family(
            "laneway_tasks",
            (
                ((queue, state), n)
                for queue, stats in fresh
                for state, n in stats.counts.items()
                if state != "submitted"
            ),
        )
        for state in ("scheduled", "parked"):
            yield gauge_family(f"laneway_{state}", (((queue,), stats.counts[state]) for queue, stats in fresh))
        yield gauge_family(
            "laneway_workers",
            (
                ((queue, label), sum(1 for worker in stats.workers if worker.state == number))
                for queue, stats in fresh
                for number, label in WORKER_STATES.items()
            ),
        )
        yield gauge_family(
            "laneway_slots",
            (((q,), sum(w.slots for w in stats.workers if w.state == _ANNOUNCED)) for q, stats in fresh),
        )
        yield gauge_family("laneway_outbox_bytes", (((q,), stats.outbox_bytes) for q, stats in fresh))
        yield gauge_family("laneway_outbox_entries", (((q,), stats.outbox_entries) for q, stats in fresh))
        yield gauge_family("laneway_conservation_drift", (((q,), stats.drift) for q, stats in fresh))
        yield gauge_family("laneway_stats_age_seconds", (((q,), now - at) for q, (at, _) in known))
