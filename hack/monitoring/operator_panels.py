"""Panels of the operator, its pools and its metrics adapter."""

from __future__ import annotations

from monitoring.dashboard import Panel, Row
from monitoring.queries import N, quantiles, rate

_OP = "laneway_operator_"
OPERATOR = Row(
    "Operator",
    (
        Panel("Leaders", ((f"sum({_OP}leader{{{N}}})", ""),), kind="stat", width=4, about="One, always."),
        Panel("Objects that wait", ((f"sum({_OP}queue_depth{{{N}}})", ""),), kind="stat", width=4),
        Panel(
            "The first has waited",
            ((f"max({_OP}queue_oldest_seconds{{{N}}})", ""),),
            "s",
            kind="stat",
            width=4,
            bad_over=60,
        ),
        Panel("Objects", ((f"sum by (kind) ({_OP}objects{{{N}}})", "{{kind}}"),), width=12),
        Panel("Passes", (rate(f"{_OP}reconciles_total", "kind, result", N),), "reqps", stacked=True),
        Panel("Time of a pass", quantiles(f"{_OP}reconcile_seconds", "kind", N), "s"),
        Panel("Requests to the API server", (rate(f"{_OP}api_requests_total", "verb, code", N),), "reqps"),
        Panel(
            "Requests to Redis and Kafka",
            (
                rate(f"{_OP}redis_requests_total", "operation, result", N, "redis"),
                rate(f"{_OP}kafka_requests_total", "operation, result", N, "kafka"),
            ),
            "reqps",
        ),
        Panel("Kubernetes events", (rate(f"{_OP}events_total", "result", N),), "reqps"),
        Panel(
            "Writes refused",
            ((f"sum({_OP}fenced_writes{{{N}}})", "fenced"),),
            about="By the fence of the Lease: this process did not lead.",
        ),
    ),
)

POOLS = Row(
    "Pools",
    (
        Panel(
            "Replicas",
            (
                (f"max by (exported_namespace, pool) ({_OP}pool_desired_replicas)", "wanted {{pool}}"),
                (f"max by (exported_namespace, pool) ({_OP}pool_ready_replicas)", "ready {{pool}}"),
            ),
            width=12,
        ),
        Panel(
            "Load in replicas",
            (
                (f"max by (exported_namespace, pool) ({_OP}pool_load)", "load {{pool}}"),
                (f"max by (exported_namespace, pool) ({_OP}pool_shadow_desired_replicas)", "shadow {{pool}}"),
            ),
            about="What a pool's share of its queue needs, before limits; and what one in shadow mode would have.",
            width=12,
        ),
    ),
)

_AD = "laneway_adapter_"
ADAPTER = Row(
    "Metrics adapter",
    (
        Panel("Answers", (rate(f"{_AD}requests_total", "code", N),), "reqps"),
        Panel("Its requests to the API server", (rate(f"{_AD}api_requests_total", "verb, code", N),), "reqps"),
        Panel(
            "Certificate",
            (
                (f"min({_AD}certificate_expiry_timestamp_seconds{{{N}}}) - time()", "expires in"),
                (f"max({_AD}metrics_api_conflict{{{N}}})", "another adapter is registered"),
            ),
            "s",
        ),
    ),
)
