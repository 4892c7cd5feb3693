"""What a poller's duties did, counted in plain numbers and turned into metrics at a scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.kit.metrics import counter_family


class TendCounts:
    """The numbers of one queue. Add to them directly; ``events`` counts relayed events by kind."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.promoted = 0
        self.expired = 0
        self.taken_from_dead = 0
        self.overdue = 0
        self.workers_lost = 0
        self.purged = 0
        self.dispatched = 0
        self.unpublished = 0
        self.events: Counter[str] = Counter()
        self.events_lost = 0


class TendMetrics(Collector):
    """Collects the counts of the queue that a poller tends."""

    def __init__(self, counts: TendCounts) -> None:
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from TendMetrics(TendCounts("")).collect()

    def collect(self) -> Iterator[Metric]:
        """A sample for each count, zeros too: an alert on growth needs to have seen the beginning."""
        counts, queue = self._counts, self._counts.queue
        for name, label, values in (
            ("laneway_promotions_total", True, {"promoted": counts.promoted, "expired": counts.expired}),
            ("laneway_tasks_returned_total", True, {"dead_worker": counts.taken_from_dead, "overdue": counts.overdue}),
            ("laneway_workers_lost_total", False, {"": counts.workers_lost}),
            ("laneway_tasks_purged_total", False, {"": counts.purged}),
            ("laneway_dispatches_total", True, {"published": counts.dispatched, "failed": counts.unpublished}),
            ("laneway_events_relayed_total", True, dict(counts.events)),
            ("laneway_events_lost_total", False, {"": counts.events_lost}),
        ):
            rows = [((queue, value) if label else (queue,), float(n)) for value, n in values.items()]
            yield counter_family(name, rows)
