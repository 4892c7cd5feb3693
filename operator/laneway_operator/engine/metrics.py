"""The operator's metrics, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from laneway.kit.metrics import new_registry

_PASS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_POOL = ("namespace", "pool")


class OperatorMetrics:
    """All that one operator process counts. ``registry`` is what /metrics shows."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else new_registry()
        self.reconciles = Counter(
            "laneway_operator_reconciles",
            "Passes ended, by result: done, failed, timeout, fenced or cancelled",
            ("kind", "result"),
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "laneway_operator_reconcile_seconds", "Time of a pass", ("kind",), buckets=_PASS_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.api_requests = Counter(
            "laneway_operator_api_requests",
            "Requests to the API server; code 0: no answer",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.kafka_requests = Counter(
            "laneway_operator_kafka_requests",
            "Requests to Kafka, by result: ok or failed",
            ("operation", "result"),
            registry=self.registry,
        )
        self.redis_requests = Counter(
            "laneway_operator_redis_requests",
            "Requests to Redis, by result: ok or failed",
            ("operation", "result"),
            registry=self.registry,
        )
        self.events = Counter(
            "laneway_operator_events",
            "Kubernetes events, by result: written, folded (the same was just told), limited, dropped or failed",
            ("result",),
            registry=self.registry,
        )
        self.pool_desired = self._gauge("pool_desired_replicas", "Replicas that a pool should have", _POOL)
        self.pool_ready = self._gauge("pool_ready_replicas", "Replicas of a pool that are ready", _POOL)
        self.pool_load = self._gauge(
            "pool_load", "Replicas that a pool's share of its queue needs, before limits and not rounded", _POOL
        )
        self.pool_shadow = self._gauge(
            "pool_shadow_desired_replicas", "Replicas that a pool in shadow mode would have", _POOL
        )
        self.leader = self._gauge("leader", "1 while this process leads")
        self.leader_epoch = self._gauge("leader_epoch", "The Lease's leaseTransitions under the present leader")
        self.writes_refused = self._gauge("fenced_writes", "Writes that were refused, since this process does not lead")
        self.objects = self._gauge("objects", "Objects in the cache", ("kind",))

    def watch_queue(self, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Adds the gauges of the queue of work; both functions are called when metrics are read."""
        self._gauge("queue_depth", "Objects that wait for a pass").set_function(depth)
        self._gauge("queue_oldest_seconds", "For how long the first of them has waited").set_function(oldest)

    def count_request(self, verb: str, resource: str, code: int) -> None:
        """Counts a request to the API server."""
        self.api_requests.labels(verb, resource, str(code)).inc()

    def count_pass(self, kind: str, result: str, seconds: float) -> None:
        """Counts a pass."""
        self.reconciles.labels(kind, result).inc()
        self.reconcile_seconds.labels(kind).observe(seconds)

    def forget_pool(self, namespace: str, pool: str) -> None:
        """Takes the gauges of a pool that is gone away."""
        for gauge in (self.pool_desired, self.pool_ready, self.pool_load, self.pool_shadow):
            gauge.remove(namespace, pool)

    def _gauge(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"laneway_operator_{name}", help, labels, registry=self.registry)
