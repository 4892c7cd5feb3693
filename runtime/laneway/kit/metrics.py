"""The catalogue of metrics, and the plain counters and timers behind them.

Every metric that Laneway exposes stands in ``CATALOGUE`` once; collectors build their families from it, and
``docs/reference/metrics.md`` is generated from it. There is no default registry: each process makes its own
with :func:`new_registry` and registers the collectors of its role.
"""

from __future__ import annotations

import platform
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: Stands for every label value over the cap on distinct ones.
OTHER = "other"

# A task may wait a millisecond or until tomorrow; a run of 100 us to an hour is worth telling apart.
WAIT_BUCKETS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1800.0, 7200.0, 21600.0,
)  # fmt: skip
RUN_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
CALL_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
)  # fmt: skip
ETA_ERROR_BUCKETS = (
    -600.0, -60.0, -30.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    60.0, 600.0,
)  # fmt: skip
BATCH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One metric. ``name`` is as exposed (counters end in ``_total``); ``roles`` says which processes have
    it."""

    name: str
    kind: str  # counter | gauge | histogram
    help: str
    labels: tuple[str, ...]
    roles: str
    buckets: tuple[float, ...] = ()


#: Why a submission may be refused.
REJECTIONS = ("rate", "depth", "lane", "conflict", "too_large", "invalid", "unavailable", "unknown")

_QUEUE = ("queue",)
_LANE = ("queue", "lane")
_TASK = ("queue", "lane", "type")
_BOTH = "gateway, poller"

CATALOGUE: tuple[MetricDef, ...] = (
    MetricDef("laneway_tasks_submitted_total", "counter", "Tasks accepted", _TASK, "gateway"),
    MetricDef(
        "laneway_tasks_duplicate_total",
        "counter",
        "Submissions answered with the first task of the same idempotency key or id",
        _TASK,
        "gateway",
    ),
    MetricDef(
        "laneway_tasks_rejected_total",
        "counter",
        "Submissions refused, by reason: " + ", ".join(REJECTIONS),
        ("queue", "lane", "reason"),
        "gateway",
    ),
    MetricDef("laneway_tasks_completed_total", "counter", "Tasks that succeeded", _TASK, "worker"),
    MetricDef("laneway_tasks_failed_total", "counter", "Attempts that failed", _TASK, "worker"),
    MetricDef("laneway_tasks_retried_total", "counter", "Attempts that failed and will be repeated", _TASK, "worker"),
    MetricDef("laneway_tasks_dead_total", "counter", "Tasks that went to the dead letters", _TASK, "worker"),
    MetricDef("laneway_tasks_cancelled_total", "counter", "Tasks that were cancelled", _TASK, "gateway, worker"),
    MetricDef("laneway_tasks_expired_total", "counter", "Tasks not started in time", _TASK, "worker"),
    MetricDef(
        "laneway_outcomes_stale_total",
        "counter",
        "Outcomes that do not count, since the worker had lost its lease: the tasks ran elsewhere",
        _QUEUE,
        "worker",
    ),
    MetricDef(
        "laneway_records_corrupt_total",
        "counter",
        "Kafka records that could not be read and were set aside",
        _QUEUE,
        "worker",
    ),
    MetricDef(
        "laneway_promotions_total",
        "counter",
        "Scheduled tasks whose time came: promoted to their lane, or expired since they were not started in time",
        ("queue", "outcome"),
        "poller",
    ),
    MetricDef(
        "laneway_tasks_returned_total",
        "counter",
        "Tasks taken back from workers: of dead ones (dead_worker), or not started in time (overdue)",
        ("queue", "reason"),
        "poller",
    ),
    MetricDef("laneway_workers_lost_total", "counter", "Workers that were declared dead", _QUEUE, "poller"),
    MetricDef("laneway_tasks_purged_total", "counter", "Ended tasks forgotten past what is kept", _QUEUE, "poller"),
    MetricDef(
        "laneway_dispatches_total",
        "counter",
        "Tasks given to Kafka: published, or failed (they go back)",
        ("queue", "outcome"),
        "poller",
    ),
    MetricDef(
        "laneway_events_relayed_total",
        "counter",
        "Events of the outbox that the log has taken",
        ("queue", "kind"),
        "poller",
    ),
    MetricDef(
        "laneway_events_lost_total",
        "counter",
        "Events that gave way since the outbox was full; followers are told of the gap",
        _QUEUE,
        "poller",
    ),
    MetricDef(
        "laneway_queue_wait_seconds",
        "histogram",
        "From when a task could run to the start of its handler",
        _LANE,
        "worker",
        WAIT_BUCKETS,
    ),
    MetricDef("laneway_execution_seconds", "histogram", "Run time of one attempt", _TASK, "worker", RUN_BUCKETS),
    MetricDef(
        "laneway_dispatch_seconds",
        "histogram",
        "One exchange with Redis that took tasks and settled none",
        _QUEUE,
        "worker",
        CALL_BUCKETS,
    ),
    MetricDef(
        "laneway_settle_seconds",
        "histogram",
        "One exchange with Redis that settled tasks, and took the next",
        _QUEUE,
        "worker",
        CALL_BUCKETS,
    ),
    MetricDef("laneway_depth", "gauge", "Tasks queued in a lane", _LANE, _BOTH),
    MetricDef("laneway_running", "gauge", "Tasks of a lane that occupy a slot", _LANE, _BOTH),
    MetricDef(
        "laneway_oldest_seconds",
        "gauge",
        "Age, since its submission, of the task at a lane's head (0: empty)",
        _LANE,
        _BOTH,
    ),
    MetricDef(
        "laneway_tasks",
        "gauge",
        "Tasks in each state, by the sizes of the real sets",
        ("queue", "state"),
        _BOTH,
    ),
    MetricDef("laneway_scheduled", "gauge", "Tasks that wait for their time", _QUEUE, _BOTH),
    MetricDef("laneway_parked", "gauge", "Tasks that wait for a tenant's or lane's limit", _QUEUE, _BOTH),
    MetricDef(
        "laneway_workers",
        "gauge",
        "Registered workers: registered, announced, draining, stalled or dead",
        ("queue", "state"),
        _BOTH,
    ),
    MetricDef("laneway_slots", "gauge", "Slots of the announced workers", _QUEUE, _BOTH),
    MetricDef("laneway_outbox_bytes", "gauge", "Bytes of events not yet relayed", _QUEUE, _BOTH),
    MetricDef("laneway_outbox_entries", "gauge", "Entries of events not yet relayed", _QUEUE, _BOTH),
    MetricDef(
        "laneway_conservation_drift",
        "gauge",
        "Submitted tasks less the sum over all states; must be 0",
        _QUEUE,
        _BOTH,
    ),
    MetricDef(
        "laneway_stats_age_seconds",
        "gauge",
        "Age of a queue's gauges; over 30 s they are left out, and only this one remains",
        _QUEUE,
        _BOTH,
    ),
    MetricDef(
        "laneway_http_requests_total",
        "counter",
        "Requests answered",
        ("method", "route", "status"),
        "gateway",
    ),
    MetricDef(
        "laneway_http_request_seconds",
        "histogram",
        "Time to answer a request",
        ("route",),
        "gateway",
        CALL_BUCKETS,
    ),
    MetricDef(
        "laneway_submit_batch_tasks",
        "histogram",
        "Tasks per call to Redis, of single submissions that came together",
        _QUEUE,
        "gateway",
        BATCH_BUCKETS,
    ),
    MetricDef(
        "laneway_lane_eta_seconds",
        "gauge",
        "When a task submitted now to the lane would start, as predicted; none while that can't be told",
        _LANE,
        "gateway",
    ),
    MetricDef(
        "laneway_eta_error_seconds",
        "histogram",
        "Predicted less real time to the start, of one submitted task a second and lane (over 0: it started sooner)",
        _LANE,
        "gateway",
        ETA_ERROR_BUCKETS,
    ),
    MetricDef("laneway_event_streams", "gauge", "Streams of events that are open", _QUEUE, "gateway"),
    MetricDef("laneway_events_sent_total", "counter", "Events sent to those who listen", _QUEUE, "gateway"),
    MetricDef(
        "laneway_event_gaps_total", "counter", "Times that a listener was told that it missed events", _QUEUE, "gateway"
    ),
    MetricDef(
        "laneway_auth_requests_total",
        "counter",
        "Requests that needed a credential, by what they were known by (key, oidc, tokenreview; of those refused: none,"
        " key, token) and outcome: ok, missing, malformed, invalid, expired, revoked, limited, unavailable",
        ("auth", "outcome"),
        "gateway",
    ),
    MetricDef(
        "laneway_auth_denied_total",
        "counter",
        "Requests of credentials without the permission that the route needs",
        ("permission",),
        "gateway",
    ),
    MetricDef(
        "laneway_auth_source_failing",
        "gauge",
        "1 while a source of credentials fails: keys (a broken file; those read last hold), an OpenID Connect issuer,"
        " or tokenreview",
        ("source",),
        "gateway",
    ),
    MetricDef("laneway_auth_keys", "gauge", "API keys in force, expired and revoked ones included", (), "gateway"),
    MetricDef(
        "laneway_audit_lost_total",
        "counter",
        "Lines that could not be written to the file of the log of changes",
        (),
        "gateway",
    ),
    MetricDef(
        "laneway_process_up",
        "gauge",
        "Whether a worker process answers to its supervisor (with more than one process)",
        ("process",),
        "worker",
    ),
    MetricDef(
        "laneway_process_restarts_total",
        "counter",
        "Times that a worker process ended and was started again, recycling included",
        ("process",),
        "worker",
    ),
    MetricDef("laneway_build_info", "gauge", "Always 1; the labels say what runs here", ("version", "python"), "all"),
    MetricDef(
        "laneway_service_failures_total",
        "counter",
        "Times that a loop broke and was restarted",
        ("service",),
        "all",
    ),
    MetricDef(
        "laneway_service_silence_seconds",
        "gauge",
        "Time since a loop last made progress",
        ("service",),
        "all",
    ),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}


class Timer:
    """A histogram for hot paths: one bisect and two additions per observation. One thread writes.

    ``exemplars`` has the last trace of each bucket, once there was one: (trace id, value, seconds since 1970).
    """

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, value: float) -> None:
        """Counts one value. What is negative (clocks of two machines differ) or NaN counts as 0."""
        if not value >= 0.0:
            value = 0.0
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def mark(self, value: float, trace_id: str) -> None:
        """Keeps the trace of a value, which :meth:`observe` counts, as the exemplar of its bucket."""
        if not value >= 0.0:
            value = 0.0
        self.exemplars[bisect_left(self.bounds, value)] = (trace_id, value, time.time())

    def cumulative(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """The buckets as Prometheus has them: upper bound, how many values were not over it, and the exemplar of those
        that were over the bound before."""
        running = 0
        out: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for i, (bound, count) in enumerate(zip((*self.bounds, float("inf")), list(self.counts), strict=True)):
            running += count
            upper = str(floatToGoString(bound))  # type: ignore[no-untyped-call]
            marked = self.exemplars.get(i)
            if marked is None:
                out.append((upper, float(running)))
            else:
                out.append((upper, float(running), Exemplar({"trace_id": marked[0]}, marked[1], marked[2])))
        return out


class LabelCap:
    """Bounds the distinct values of a label: what comes after the first ``limit`` is ``other``."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value to use as the label."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return OTHER
        self._seen.add(value)
        return value


def new_registry() -> CollectorRegistry:
    """A registry for this process, with the process's own CPU, memory and file descriptors in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(BuildInfo())
    return registry


@cache
def _version() -> str:
    """The installed version of Laneway; of a source tree that is not installed, nothing is known."""
    try:
        return version("laneway")
    except PackageNotFoundError:
        return "unknown"


class BuildInfo(Collector):
    """Which version this is."""

    def describe(self) -> Iterator[Metric]:
        """The family without samples."""
        yield gauge_family("laneway_build_info", [])

    def collect(self) -> Iterator[Metric]:
        """One sample, always 1."""
        yield gauge_family("laneway_build_info", [((_version(), platform.python_version()), 1.0)])


def counter_family(name: str, rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """The family of a counter of the catalogue, with a sample per row of label values and count."""
    family = CounterMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def gauge_family(name: str, rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """The family of a gauge of the catalogue, with a sample per row of label values and value."""
    family = GaugeMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def histogram_family(name: str, rows: Iterable[tuple[Sequence[str], Timer]]) -> Metric:
    """The family of a histogram of the catalogue, with the buckets of a timer per row."""
    family = HistogramMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    for labels, timer in rows:
        family.add_metric(labels, timer.cumulative(), timer.total)
    return family
