"""The operator's metrics, in a registry of their own. Each stands in ``CATALOGUE`` once, and the docs show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from laneway.kit.metrics import MetricDef, new_registry

_PASS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_POOL: Final = ("namespace", "pool")


def _def(kind: str, name: str, help: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = ()) -> MetricDef:
    return MetricDef(f"laneway_operator_{name}", kind, help, labels, "operator", buckets)


CATALOGUE: Final = (
    _def(
        "counter",
        "reconciles_total",
        "Passes ended, by result: done, failed, timeout, fenced or cancelled",
        ("kind", "result"),
    ),
    _def("histogram", "reconcile_seconds", "Time of a pass", ("kind",), _PASS_BUCKETS),
    _def("gauge", "queue_depth", "Objects that wait for a pass"),
    _def("gauge", "queue_oldest_seconds", "For how long the first of them has waited"),
    _def("gauge", "objects", "Objects in the cache", ("kind",)),
    _def(
        "counter",
        "api_requests_total",
        "Requests to the API server, watches as well; code 0: no answer",
        ("verb", "resource", "code"),
    ),
    _def("counter", "kafka_requests_total", "Requests to Kafka, by result: ok or failed", ("operation", "result")),
    _def("counter", "redis_requests_total", "Requests to Redis, by result: ok or failed", ("operation", "result")),
    _def(
        "counter",
        "events_total",
        "Kubernetes events, by result: written, folded (the same was just told), limited, dropped or failed",
        ("result",),
    ),
    _def("gauge", "leader", "1 while this process leads"),
    _def("gauge", "leader_epoch", "The Lease's leaseTransitions while this process leads, else 0"),
    _def("gauge", "fenced_writes", "Writes to the API server that were refused, since this process did not lead"),
    _def("gauge", "pool_desired_replicas", "Replicas that a pool should have", _POOL),
    _def("gauge", "pool_ready_replicas", "Replicas of a pool that are ready", _POOL),
    _def("gauge", "pool_load", "Replicas that a pool's share of its queue needs, before limits and not rounded", _POOL),
    _def("gauge", "pool_shadow_desired_replicas", "Replicas that a pool in shadow mode would have", _POOL),
)
_BY_NAME: Final = {metric.name.removeprefix("laneway_operator_"): metric for metric in CATALOGUE}


class OperatorMetrics:
    """All that one operator process counts. ``registry`` is what /metrics shows."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else new_registry()
        self.reconciles = self._counter("reconciles_total")
        reconcile = _BY_NAME["reconcile_seconds"]
        self.reconcile_seconds = Histogram(
            reconcile.name, reconcile.help, reconcile.labels, buckets=reconcile.buckets, registry=self.registry
        )
        self.api_requests = self._counter("api_requests_total")
        self.kafka_requests = self._counter("kafka_requests_total")
        self.redis_requests = self._counter("redis_requests_total")
        self.events = self._counter("events_total")
        self.pool_desired = self._gauge("pool_desired_replicas")
        self.pool_ready = self._gauge("pool_ready_replicas")
        self.pool_load = self._gauge("pool_load")
        self.pool_shadow = self._gauge("pool_shadow_desired_replicas")
        self.leader = self._gauge("leader")
        self.leader_epoch = self._gauge("leader_epoch")
        self.writes_refused = self._gauge("fenced_writes")
        self.objects = self._gauge("objects")

    def watch_queue(self, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Adds the gauges of the queue of work; both functions are called when metrics are read."""
        self._gauge("queue_depth").set_function(depth)
        self._gauge("queue_oldest_seconds").set_function(oldest)

    def count_request(self, verb: str, resource: str, code: int) -> None:
        """Counts a request to the API server."""
        self.api_requests.labels(verb, resource, str(code)).inc()

    def count_pass(self, kind: str, result: str, seconds: float) -> None:
        """Counts a pass."""
        self.reconciles.labels(kind, result).inc()
        self.reconcile_seconds.labels(kind).observe(seconds)

    def _counter(self, name: str) -> Counter:
        metric = _BY_NAME[name]
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = _BY_NAME[name]
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
