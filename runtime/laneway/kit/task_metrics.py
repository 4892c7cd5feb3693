"""What happens to tasks, counted on the hot path in plain Python numbers and turned into metrics at a
scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.kit.metrics import (
    BATCH_BUCKETS,
    CALL_BUCKETS,
    OTHER,
    RUN_BUCKETS,
    WAIT_BUCKETS,
    LabelCap,
    Timer,
    counter_family,
    histogram_family,
)

_COUNTERS = ("submitted", "duplicate", "completed", "failed", "retried", "dead", "cancelled", "expired")


class TaskSeries:
    """The numbers of one lane and task type. Add to the counters directly (``series.completed += 1``): a
    worker keeps the series it meets, so one task costs a few additions and two bisects. ``wait`` is shared by
    a lane's types."""

    __slots__ = (*_COUNTERS, "lane", "run", "type", "wait")

    def __init__(self, lane: str, type: str, wait: Timer) -> None:
        self.lane = lane
        self.type = type
        self.wait = wait
        self.run = Timer(RUN_BUCKETS)
        self.submitted = 0
        self.duplicate = 0
        self.completed = 0
        self.failed = 0
        self.retried = 0
        self.dead = 0
        self.cancelled = 0
        self.expired = 0


class QueueTasks:
    """The numbers of one queue. ``dispatch``, ``settle`` and ``batch`` are timers to observe directly; ``stale``
    (outcomes refused) and ``corrupt`` (records set aside) are counters to add to."""

    def __init__(self, queue: str, *, max_types: int, max_lanes: int) -> None:
        self.queue = queue
        self.dispatch = Timer(CALL_BUCKETS)
        self.settle = Timer(CALL_BUCKETS)
        self.batch = Timer(BATCH_BUCKETS)
        self.stale = 0
        self.corrupt = 0
        self._lane = LabelCap(max_lanes)
        self._type = LabelCap(max_types)
        self._found: dict[tuple[str, str], TaskSeries] = {}
        self._series: dict[tuple[str, str], TaskSeries] = {}
        self._waits: dict[str, Timer] = {}
        self._rejected: dict[tuple[str, str], int] = {}

    def series(self, lane: str, type: str) -> TaskSeries:
        """The series of a lane and type, or of ``other`` when there are too many to tell apart."""
        found = self._found.get((lane, type))
        return found if found is not None else self._make(lane, type)

    def rejected(self, lane: str, reason: str, n: int = 1) -> None:
        """Counts ``n`` submissions refused for one of the catalogue's reasons."""
        key = (self._lane(lane), reason)
        self._rejected[key] = self._rejected.get(key, 0) + n

    def _make(self, lane: str, type: str) -> TaskSeries:
        key = (self._lane(lane), self._type(type))
        series = self._series.get(key)
        if series is None:
            wait = self._waits.setdefault(key[0], Timer(WAIT_BUCKETS))
            series = self._series[key] = TaskSeries(key[0], key[1], wait)
        # The index by what the caller said never grows past what is told apart: a value that became
        # `other` is looked up again each time.
        if OTHER not in key:
            self._found[lane, type] = series
        return series

    @property
    def works(self) -> bool:
        """Whether a worker counts here: it has exchanged something with Redis, or has something to tell."""
        return bool(any(self.dispatch.counts) or any(self.settle.counts) or self.stale or self.corrupt)

    # A scrape may come from another thread: each dict is copied in one step before it is walked.
    def all_series(self) -> list[TaskSeries]:
        """Every series now."""
        return list(self._series.values())

    def all_waits(self) -> list[tuple[str, Timer]]:
        """The wait of each lane."""
        return list(self._waits.items())

    def all_rejected(self) -> list[tuple[tuple[str, str], int]]:
        """Refusals by (lane, reason)."""
        return list(self._rejected.items())


class TaskMetrics(Collector):
    """Collects the task metrics of every queue that this process serves.

    A queue tells apart ``max_types`` task types and ``max_lanes`` lanes; the rest is counted as ``other``.
    """

    def __init__(self, *, max_types: int = 100, max_lanes: int = 64) -> None:
        self._max_types = max_types
        self._max_lanes = max_lanes
        self._queues: dict[str, QueueTasks] = {}

    def queue(self, name: str) -> QueueTasks:
        """The numbers of one queue; made when first asked for."""
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = QueueTasks(name, max_types=self._max_types, max_lanes=self._max_lanes)
        return found

    def describe(self) -> Iterator[Metric]:
        """The families without samples, so that a registry notices a second collector of them."""
        yield from TaskMetrics().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family with a sample per series. Timers that saw nothing are left out."""
        queues = list(self._queues.values())
        series = [(q.queue, s) for q in queues for s in q.all_series()]
        for counter in _COUNTERS:
            yield counter_family(
                f"laneway_tasks_{counter}_total",
                (((queue, s.lane, s.type), n) for queue, s in series if (n := getattr(s, counter))),
            )
        yield counter_family(
            "laneway_tasks_rejected_total",
            (((q.queue, lane, reason), n) for q in queues for (lane, reason), n in q.all_rejected()),
        )
        for name, count in (("laneway_outcomes_stale_total", "stale"), ("laneway_records_corrupt_total", "corrupt")):
            # Of a worker, zeros too: an alert on growth needs to have seen the beginning.
            yield counter_family(name, (((q.queue,), getattr(q, count)) for q in queues if q.works))
        yield histogram_family(
            "laneway_queue_wait_seconds",
            (((q.queue, lane), wait) for q in queues for lane, wait in q.all_waits() if any(wait.counts)),
        )
        yield histogram_family(
            "laneway_execution_seconds",
            (((queue, s.lane, s.type), s.run) for queue, s in series if any(s.run.counts)),
        )
        for name, attribute in (
            ("laneway_dispatch_seconds", "dispatch"),
            ("laneway_settle_seconds", "settle"),
            ("laneway_submit_batch_tasks", "batch"),
        ):
            timers: list[tuple[str, Timer]] = [(q.queue, getattr(q, attribute)) for q in queues]
            yield histogram_family(name, (((queue,), timer) for queue, timer in timers if any(timer.counts)))
