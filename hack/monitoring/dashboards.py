"""The dashboards: which panels each has, and what may be chosen in it."""

from __future__ import annotations

from monitoring.dashboard import Dashboard, Variable
from monitoring.operator_panels import ADAPTER, OPERATOR, POOLS
from monitoring.process_panels import ACCESS, HTTP, INTAKE, PROCESSES, STREAMS, WORKERS
from monitoring.queries import Q
from monitoring.queue_panels import DEAD, EVENTS, LANES, LATENCY, OVERVIEW

NAMESPACE = Variable("namespace", "laneway_stats_age_seconds", "namespace")
QUEUE = Variable("queue", 'laneway_stats_age_seconds{namespace=~"$namespace"}', "queue")
LANE = Variable("lane", f"laneway_depth{{{Q}}}", "lane")

DASHBOARDS: tuple[Dashboard, ...] = (
    Dashboard(
        "laneway-queues",
        "Laneway / Queues",
        "What waits, what runs, how long it takes, and what died.",
        (OVERVIEW, LANES, LATENCY, DEAD),
        (NAMESPACE, QUEUE, LANE),
    ),
    Dashboard(
        "laneway-workers",
        "Laneway / Workers",
        "Workers, their exchanges with Redis, and all processes.",
        (WORKERS, PROCESSES),
        (NAMESPACE, QUEUE),
    ),
    Dashboard(
        "laneway-redis",
        "Laneway / Redis and events",
        "The outbox, the relay, and whether the queue adds up.",
        (EVENTS,),
        (NAMESPACE, QUEUE),
    ),
    Dashboard(
        "laneway-gateway",
        "Laneway / Gateway",
        "Requests, submissions and streams of events.",
        (HTTP, INTAKE, STREAMS, ACCESS),
        (NAMESPACE, QUEUE),
    ),
    Dashboard(
        "laneway-operator",
        "Laneway / Operator",
        "The operator's passes, and its pools.",
        (OPERATOR, POOLS, ADAPTER),
        (Variable("namespace", "laneway_operator_leader", "namespace"),),
    ),
)
