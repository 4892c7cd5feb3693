"""The dashboards: what each panel asks, said once. ``grafana.py`` makes Grafana's JSON of it.

``$namespace``, ``$queue`` and ``$lane`` are the dashboard's variables. Gauges of a queue are the same in every process
that has them, so they are taken by ``max``; counters and histograms are each process's own, so they are summed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Q = 'namespace=~"$namespace", queue=~"$queue"'
L = Q + ', lane=~"$lane"'
N = 'namespace=~"$namespace"'
R = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One panel. ``queries`` are (expression, legend); ``unit`` is Grafana's name of it. ``kind``: timeseries or stat;
    ``width`` is of 24. ``bad_over``: from there on the value is shown as bad. ``exemplars``: traces are shown.
    ``signed``: values may be under 0."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    bad_over: float | None = None
    exemplars: bool = False
    signed: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A variable with the values of a label."""

    name: str
    metric: str
    label: str


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; ``uid`` is its name in URLs and its file's."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=())


NAMESPACE = Variable("namespace", "laneway_stats_age_seconds", "namespace")
QUEUE = Variable("queue", 'laneway_stats_age_seconds{namespace=~"$namespace"}', "queue")
LANE = Variable("lane", f"laneway_depth{{{Q}}}", "lane")


def quantiles(metric: str, by: str, selector: str) -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile of a histogram, by some labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return tuple(
        (f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{selector}}}{R})))", f"{name} {legend}")
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    )


_STATES = "queued|dispatched|running|scheduled|parked|blocked"

OVERVIEW = Row(
    "Overview",
    (
        Panel(
            "Waiting",
            ((f'sum(max by (namespace, queue) (laneway_tasks{{{Q}, state="queued"}}))', ""),),
            kind="stat",
            width=4,
            about="Tasks that could run now.",
        ),
        Panel(
            "Running",
            ((f'sum(max by (namespace, queue) (laneway_tasks{{{Q}, state="running"}}))', ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Done a second",
            ((f"sum(rate(laneway_tasks_completed_total{{{Q}}}{R}))", ""),),
            "reqps",
            kind="stat",
            width=4,
        ),
        Panel(
            "Dead",
            ((f'sum(max by (namespace, queue) (laneway_tasks{{{Q}, state="dead"}}))', ""),),
            kind="stat",
            width=4,
            bad_over=1,
            about="Tasks in the dead letters, of whatever age.",
        ),
        Panel(
            "Workers",
            ((f'sum(max by (namespace, queue) (laneway_workers{{{Q}, state="announced"}}))', ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Drift",
            ((f"max(abs(laneway_conservation_drift{{{Q}}}))", ""),),
            kind="stat",
            width=4,
            bad_over=1,
            about="Submitted tasks less the sum over all states. Anything but 0 is a fault.",
        ),
        Panel(
            "In and out",
            (
                (f"sum by (queue) (rate(laneway_tasks_submitted_total{{{Q}}}{R}))", "submitted {{queue}}"),
                (f"sum by (queue) (rate(laneway_tasks_completed_total{{{Q}}}{R}))", "succeeded {{queue}}"),
                (f"sum by (queue) (rate(laneway_tasks_failed_total{{{Q}}}{R}))", "failed attempts {{queue}}"),
            ),
            "reqps",
            "Submissions through the gateway; those of clients that write to Redis themselves are not counted there.",
            width=12,
        ),
        Panel(
            "Tasks by state",
            ((f'max by (queue, state) (laneway_tasks{{{Q}, state=~"{_STATES}"}})', "{{queue}} {{state}}"),),
            width=12,
            stacked=True,
        ),
    ),
)

LANES = Row(
    "Lanes",
    (
        Panel(
            "Depth",
            ((f"max by (queue, lane) (laneway_depth{{{L}}})", "{{queue}} {{lane}}"),),
            stacked=True,
        ),
        Panel(
            "Running by lane", ((f"max by (queue, lane) (laneway_running{{{L}}})", "{{queue}} {{lane}}"),), stacked=True
        ),
        Panel(
            "Age of the first task",
            ((f"max by (queue, lane) (laneway_oldest_seconds{{{L}}})", "{{queue}} {{lane}}"),),
            "s",
            "Since its submission; 0 when the lane is empty.",
        ),
        Panel(
            "Done by lane",
            ((f"sum by (queue, lane) (rate(laneway_tasks_completed_total{{{L}}}{R}))", "{{queue}} {{lane}}"),),
            "reqps",
        ),
        Panel(
            "Retries and failures by type",
            (
                (f"sum by (type) (rate(laneway_tasks_retried_total{{{L}}}{R}))", "retried {{type}}"),
                (f"sum by (type) (rate(laneway_tasks_failed_total{{{L}}}{R}))", "failed {{type}}"),
            ),
            "reqps",
        ),
        Panel(
            "When a task submitted now would start",
            ((f"max by (queue, lane) (laneway_lane_eta_seconds{{{L}}})", "{{queue}} {{lane}}"),),
            "s",
            "As predicted from what was done lately; a lane of which nothing can be told is left out.",
        ),
        Panel(
            "Error of that prediction",
            quantiles("laneway_eta_error_seconds", "queue, lane", L),
            "s",
            "Predicted less real time to the start, of sampled tasks; over 0: it started sooner.",
            signed=True,
        ),
        Panel(
            "Cancelled and expired",
            (
                (f'max by (queue) (laneway_tasks{{{Q}, state="cancelled"}})', "cancelled {{queue}}"),
                (f'max by (queue) (laneway_tasks{{{Q}, state="expired"}})', "expired {{queue}}"),
            ),
            about="Those that are kept still.",
        ),
        Panel(
            "Scheduled and parked",
            (
                (f"max by (queue) (laneway_scheduled{{{Q}}})", "scheduled {{queue}}"),
                (f"max by (queue) (laneway_parked{{{Q}}})", "parked {{queue}}"),
            ),
            about="What waits for its time, and what waits for a limit.",
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        Panel(
            "Wait",
            quantiles("laneway_queue_wait_seconds", "queue, lane", L),
            "s",
            "From when a task could run to the start of its handler.",
            width=12,
            exemplars=True,
        ),
        Panel(
            "Run",
            quantiles("laneway_execution_seconds", "queue, type", L),
            "s",
            "Run time of one attempt.",
            width=12,
            exemplars=True,
        ),
    ),
)

DEAD = Row(
    "Dead letters",
    (
        Panel(
            "Dead letters",
            ((f'max by (queue) (laneway_tasks{{{Q}, state="dead"}})', "{{queue}}"),),
            width=12,
        ),
        Panel(
            "Deaths by type",
            ((f"sum by (queue, type) (increase(laneway_tasks_dead_total{{{Q}}}{R}))", "{{queue}} {{type}}"),),
            about="As workers count them: what the poller buries (tasks that kill their workers) is not in it.",
            width=12,
        ),
    ),
)

WORKERS = Row(
    "Workers",
    (
        Panel(
            "Workers by state",
            ((f"max by (queue, state) (laneway_workers{{{Q}}})", "{{queue}} {{state}}"),),
            stacked=True,
        ),
        Panel(
            "Slots and what fills them",
            (
                (f"max by (queue) (laneway_slots{{{Q}}})", "slots {{queue}}"),
                (f"sum by (queue) (max by (namespace, queue, lane) (laneway_running{{{Q}}}))", "running {{queue}}"),
            ),
        ),
        Panel(
            "Taken back",
            (
                (f"sum by (queue, reason) (rate(laneway_tasks_returned_total{{{Q}}}{R}))", "{{queue}} {{reason}}"),
                (f"sum by (queue) (rate(laneway_workers_lost_total{{{Q}}}{R}))", "workers lost {{queue}}"),
            ),
            "reqps",
            "Tasks of workers that died, and those that were not started in time.",
        ),
        Panel(
            "Outcomes that did not count",
            (
                (f"sum by (queue) (increase(laneway_outcomes_stale_total{{{Q}}}{R}))", "stale {{queue}}"),
                (f"sum by (queue) (increase(laneway_records_corrupt_total{{{Q}}}{R}))", "corrupt records {{queue}}"),
            ),
        ),
        Panel("Exchange that settles", quantiles("laneway_settle_seconds", "queue", Q), "s"),
        Panel(
            "Exchange that only takes",
            quantiles("laneway_dispatch_seconds", "queue", Q),
            "s",
            "With direct dispatch an idle worker's call waits in Redis for work: long is idle, not slow.",
        ),
    ),
)

PROCESSES = Row(
    "Processes",
    (
        Panel(
            "Worker processes",
            (
                (f"sum by (instance) (laneway_process_up{{{N}}})", "up {{instance}}"),
                (f"sum by (instance) (increase(laneway_process_restarts_total{{{N}}}{R}))", "restarts {{instance}}"),
            ),
        ),
        Panel(
            "Silence of loops",
            ((f"max by (service) (laneway_service_silence_seconds{{{N}}})", "{{service}}"),),
            "s",
            "Since a loop last made progress. Over its allowance the process is not live.",
        ),
        Panel(
            "Failures of loops",
            ((f"sum by (service) (increase(laneway_service_failures_total{{{N}}}{R}))", "{{service}}"),),
        ),
        Panel("CPU", ((f"sum by (job) (rate(process_cpu_seconds_total{{{N}}}{R}))", "{{job}}"),), width=8),
        Panel("Memory", ((f"sum by (job) (process_resident_memory_bytes{{{N}}})", "{{job}}"),), "bytes"),
        Panel(
            "Versions",
            ((f"count by (version, python) (laneway_build_info{{{N}}})", "{{version}} on Python {{python}}"),),
            about="More than one during a roll-out only.",
        ),
    ),
)

EVENTS = Row(
    "Outbox and drift",
    (
        Panel(
            "Outbox", ((f"max by (queue) (laneway_outbox_bytes{{{Q}}})", "{{queue}}"),), "bytes", bad_over=33_554_432
        ),
        Panel("Outbox entries", ((f"max by (queue) (laneway_outbox_entries{{{Q}}})", "{{queue}}"),)),
        Panel(
            "Relayed",
            ((f"sum by (queue, kind) (rate(laneway_events_relayed_total{{{Q}}}{R}))", "{{queue}} {{kind}}"),),
            "reqps",
        ),
        Panel(
            "Events given up",
            ((f"sum by (queue) (increase(laneway_events_lost_total{{{Q}}}{R}))", "{{queue}}"),),
            about="Since the outbox was full.",
        ),
        Panel(
            "Drift", ((f"max by (queue) (laneway_conservation_drift{{{Q}}})", "{{queue}}"),), bad_over=1, signed=True
        ),
        Panel(
            "Age of the numbers",
            ((f"max by (queue) (laneway_stats_age_seconds{{{Q}}})", "{{queue}}"),),
            "s",
            "Over 30 s the queue's gauges are left out.",
            bad_over=30,
        ),
        Panel(
            "Promoted",
            ((f"sum by (queue, outcome) (rate(laneway_promotions_total{{{Q}}}{R}))", "{{queue}} {{outcome}}"),),
            "reqps",
        ),
        Panel("Forgotten", ((f"sum by (queue) (rate(laneway_tasks_purged_total{{{Q}}}{R}))", "{{queue}}"),), "reqps"),
        Panel(
            "Dispatched to Kafka",
            ((f"sum by (queue, outcome) (rate(laneway_dispatches_total{{{Q}}}{R}))", "{{queue}} {{outcome}}"),),
            "reqps",
        ),
    ),
)

HTTP = Row(
    "HTTP",
    (
        Panel(
            "Requests",
            ((f"sum by (route) (rate(laneway_http_requests_total{{{N}}}{R}))", "{{route}}"),),
            "reqps",
            width=12,
        ),
        Panel(
            "Answers by status",
            ((f"sum by (status) (rate(laneway_http_requests_total{{{N}}}{R}))", "{{status}}"),),
            "reqps",
            width=12,
            stacked=True,
        ),
        Panel(
            "Time to answer",
            quantiles("laneway_http_request_seconds", "route", N),
            "s",
            width=12,
            exemplars=True,
        ),
        Panel(
            "Failed",
            (
                (
                    f'sum(rate(laneway_http_requests_total{{{N}, status=~"5..", route=~"/api/.*"}}{R}))'
                    f' / sum(rate(laneway_http_requests_total{{{N}, route=~"/api/.*"}}{R}))',
                    "5xx",
                ),
            ),
            "percentunit",
            width=12,
            bad_over=0.05,
        ),
    ),
)

INTAKE = Row(
    "Submissions",
    (
        Panel(
            "Refused",
            ((f"sum by (queue, reason) (rate(laneway_tasks_rejected_total{{{Q}}}{R}))", "{{queue}} {{reason}}"),),
            "reqps",
        ),
        Panel(
            "Sent twice",
            ((f"sum by (queue) (rate(laneway_tasks_duplicate_total{{{Q}}}{R}))", "{{queue}}"),),
            "reqps",
            "Answered with the first task of the same key or id.",
        ),
        Panel(
            "Submissions in one call",
            quantiles("laneway_submit_batch_tasks", "queue", Q),
            about="Single submissions that came together go to Redis in one call.",
        ),
    ),
)

STREAMS = Row(
    "Streams of events",
    (
        Panel("Open", ((f"sum by (queue) (laneway_event_streams{{{Q}}})", "{{queue}}"),)),
        Panel("Sent", ((f"sum by (queue) (rate(laneway_events_sent_total{{{Q}}}{R}))", "{{queue}}"),), "reqps"),
        Panel(
            "Gaps",
            ((f"sum by (queue) (increase(laneway_event_gaps_total{{{Q}}}{R}))", "{{queue}}"),),
            about="Times that a listener was told that it missed some.",
        ),
    ),
)

ACCESS = Row(
    "Credentials",
    (
        Panel(
            "Requests by credential",
            ((f"sum by (auth, outcome) (rate(laneway_auth_requests_total{{{N}}}{R}))", "{{auth}} {{outcome}}"),),
            "reqps",
            "Where the gateway asks for credentials.",
        ),
        Panel(
            "Denied",
            ((f"sum by (permission) (rate(laneway_auth_denied_total{{{N}}}{R}))", "{{permission}}"),),
            "reqps",
            "Requests of those who are known, and lack this permission.",
        ),
        Panel(
            "Sources of credentials",
            (
                (f"max by (source) (laneway_auth_source_failing{{{N}}})", "{{source}} fails"),
                (f"max(laneway_auth_keys{{{N}}})", "API keys"),
                (f"sum(increase(laneway_audit_lost_total{{{N}}}{R}))", "changes not logged"),
            ),
        ),
    ),
)

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
        Panel(
            "Passes",
            ((f"sum by (kind, result) (rate({_OP}reconciles_total{{{N}}}{R}))", "{{kind}} {{result}}"),),
            "reqps",
            stacked=True,
        ),
        Panel("Time of a pass", quantiles(f"{_OP}reconcile_seconds", "kind", N), "s"),
        Panel(
            "Requests to the API server",
            ((f"sum by (verb, code) (rate({_OP}api_requests_total{{{N}}}{R}))", "{{verb}} {{code}}"),),
            "reqps",
        ),
        Panel(
            "Requests to Redis and Kafka",
            (
                (
                    f"sum by (operation, result) (rate({_OP}redis_requests_total{{{N}}}{R}))",
                    "redis {{operation}} {{result}}",
                ),
                (
                    f"sum by (operation, result) (rate({_OP}kafka_requests_total{{{N}}}{R}))",
                    "kafka {{operation}} {{result}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Kubernetes events",
            ((f"sum by (result) (rate({_OP}events_total{{{N}}}{R}))", "{{result}}"),),
            "reqps",
        ),
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
        Panel("Answers", ((f"sum by (code) (rate({_AD}requests_total{{{N}}}{R}))", "{{code}}"),), "reqps"),
        Panel(
            "Its requests to the API server",
            ((f"sum by (verb, code) (rate({_AD}api_requests_total{{{N}}}{R}))", "{{verb}} {{code}}"),),
            "reqps",
        ),
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
