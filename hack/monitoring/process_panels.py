"""Panels of processes: workers, gateways, and all alike."""

from __future__ import annotations

from monitoring.dashboard import Panel, Row
from monitoring.queries import N, Q, R, gauge, increase, quantiles, rate

WORKERS = Row(
    "Workers",
    (
        Panel("Workers by state", (gauge("laneway_workers", "queue, state"),), stacked=True),
        Panel(
            "Slots and what fills them",
            (
                gauge("laneway_slots", "queue", said="slots"),
                (f"sum by (queue) (max by (namespace, queue, lane) (laneway_running{{{Q}}}))", "running {{queue}}"),
            ),
        ),
        Panel(
            "Taken back",
            (
                rate("laneway_tasks_returned_total", "queue, reason"),
                rate("laneway_workers_lost_total", "queue", said="workers lost"),
            ),
            "reqps",
            "Tasks of workers that died, and those that were not started in time.",
        ),
        Panel(
            "Outcomes that did not count",
            (
                increase("laneway_outcomes_stale_total", "queue", said="stale"),
                increase("laneway_records_corrupt_total", "queue", said="corrupt records"),
            ),
        ),
        Panel("Exchange that settles", quantiles("laneway_settle_seconds", "queue"), "s"),
        Panel(
            "Exchange that only takes",
            quantiles("laneway_dispatch_seconds", "queue"),
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
                increase("laneway_process_restarts_total", "instance", N, "restarts"),
            ),
        ),
        Panel(
            "Silence of loops",
            (gauge("laneway_service_silence_seconds", "service", N),),
            "s",
            "Since a loop last made progress. Over its allowance the process is not live.",
        ),
        Panel("Failures of loops", (increase("laneway_service_failures_total", "service", N),)),
        Panel("CPU", (rate("process_cpu_seconds_total", "job", N),), width=8),
        Panel("Memory", ((f"sum by (job) (process_resident_memory_bytes{{{N}}})", "{{job}}"),), "bytes"),
        Panel(
            "Versions",
            ((f"count by (version, python) (laneway_build_info{{{N}}})", "{{version}} on Python {{python}}"),),
            about="More than one during a roll-out only.",
        ),
    ),
)

HTTP = Row(
    "HTTP",
    (
        Panel("Requests", (rate("laneway_http_requests_total", "route", N),), "reqps", width=12),
        Panel(
            "Answers by status", (rate("laneway_http_requests_total", "status", N),), "reqps", width=12, stacked=True
        ),
        Panel("Time to answer", quantiles("laneway_http_request_seconds", "route", N), "s", width=12, exemplars=True),
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
        Panel("Refused", (rate("laneway_tasks_rejected_total", "queue, reason"),), "reqps"),
        Panel(
            "Sent twice",
            (rate("laneway_tasks_duplicate_total", "queue"),),
            "reqps",
            "Answered with the first task of the same key or id.",
        ),
        Panel(
            "Submissions in one call",
            quantiles("laneway_submit_batch_tasks", "queue"),
            about="Single submissions that came together go to Redis in one call.",
        ),
    ),
)

STREAMS = Row(
    "Streams of events",
    (
        Panel("Open", ((f"sum by (queue) (laneway_event_streams{{{Q}}})", "{{queue}}"),)),
        Panel("Sent", (rate("laneway_events_sent_total", "queue"),), "reqps"),
        Panel(
            "Gaps",
            (increase("laneway_event_gaps_total", "queue"),),
            about="Times that a listener was told that it missed some.",
        ),
    ),
)

ACCESS = Row(
    "Credentials",
    (
        Panel(
            "Requests by credential",
            (rate("laneway_auth_requests_total", "auth, outcome", N),),
            "reqps",
            "Where the gateway asks for credentials.",
        ),
        Panel(
            "Denied",
            (rate("laneway_auth_denied_total", "permission", N),),
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
