"""The adapter's own metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from laneway.kit.metrics import new_registry


class AdapterMetrics:
    """All that one adapter process counts. ``registry`` is what /metrics shows."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else new_registry()
        self.requests = Counter(
            "laneway_adapter_requests", "Requests answered, by HTTP status", ("code",), registry=self.registry
        )
        self.api_requests = Counter(
            "laneway_adapter_api_requests",
            "Requests to the API server; code 0: no answer",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.conflict = Gauge(
            "laneway_adapter_metrics_api_conflict",
            "1 while another adapter has the APIService of external metrics",
            registry=self.registry,
        )
        self.expires = Gauge(
            "laneway_adapter_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires (s since 1970)",
            registry=self.registry,
        )

    def count(self, code: int) -> None:
        """Counts an answer."""
        self.requests.labels(str(code)).inc()

    def count_request(self, verb: str, resource: str, code: int) -> None:
        """Counts a request to the API server."""
        self.api_requests.labels(verb, resource, str(code)).inc()
