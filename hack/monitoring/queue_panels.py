"""Panels of queues: their tasks and lanes, dead letters, the outbox."""

from __future__ import annotations

from monitoring.dashboard import Panel, Row
from monitoring.queries import L, Q, R, gauge, increase, quantiles, rate

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
                rate("laneway_tasks_submitted_total", "queue", said="submitted"),
                rate("laneway_tasks_completed_total", "queue", said="succeeded"),
                rate("laneway_tasks_failed_total", "queue", said="failed attempts"),
            ),
            "reqps",
            "Submissions through the gateway; those of clients that write to Redis themselves are not counted there.",
            width=12,
        ),
        Panel(
            "Tasks by state",
            (gauge("laneway_tasks", "queue, state", f'{Q}, state=~"{_STATES}"'),),
            width=12,
            stacked=True,
        ),
    ),
)

LANES = Row(
    "Lanes",
    (
        Panel("Depth", (gauge("laneway_depth", "queue, lane", L),), stacked=True),
        Panel("Running by lane", (gauge("laneway_running", "queue, lane", L),), stacked=True),
        Panel(
            "Age of the first task",
            (gauge("laneway_oldest_seconds", "queue, lane", L),),
            "s",
            "Since its submission; 0 when the lane is empty.",
        ),
        Panel("Done by lane", (rate("laneway_tasks_completed_total", "queue, lane", L),), "reqps"),
        Panel(
            "Retries and failures by type",
            (
                rate("laneway_tasks_retried_total", "type", L, "retried"),
                rate("laneway_tasks_failed_total", "type", L, "failed"),
            ),
            "reqps",
        ),
        Panel(
            "When a task submitted now would start",
            (gauge("laneway_lane_eta_seconds", "queue, lane", L),),
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
                gauge("laneway_tasks", "queue", f'{Q}, state="cancelled"', "cancelled"),
                gauge("laneway_tasks", "queue", f'{Q}, state="expired"', "expired"),
            ),
            about="Those that are kept still.",
        ),
        Panel(
            "Scheduled and parked",
            (
                gauge("laneway_scheduled", "queue", said="scheduled"),
                gauge("laneway_parked", "queue", said="parked"),
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
        Panel("Dead letters", (gauge("laneway_tasks", "queue", f'{Q}, state="dead"'),), width=12),
        Panel(
            "Deaths by type",
            (increase("laneway_tasks_dead_total", "queue, type"),),
            about="As workers count them: what the poller buries (tasks that kill their workers) is not in it.",
            width=12,
        ),
    ),
)

EVENTS = Row(
    "Outbox and drift",
    (
        Panel("Outbox", (gauge("laneway_outbox_bytes", "queue"),), "bytes", bad_over=33_554_432),
        Panel("Outbox entries", (gauge("laneway_outbox_entries", "queue"),)),
        Panel("Relayed", (rate("laneway_events_relayed_total", "queue, kind"),), "reqps"),
        Panel("Events given up", (increase("laneway_events_lost_total", "queue"),), about="Since the outbox was full."),
        Panel("Drift", (gauge("laneway_conservation_drift", "queue"),), bad_over=1, signed=True),
        Panel(
            "Age of the numbers",
            (gauge("laneway_stats_age_seconds", "queue"),),
            "s",
            "Over 30 s the queue's gauges are left out.",
            bad_over=30,
        ),
        Panel("Promoted", (rate("laneway_promotions_total", "queue, outcome"),), "reqps"),
        Panel("Forgotten", (rate("laneway_tasks_purged_total", "queue"),), "reqps"),
        Panel("Dispatched to Kafka", (rate("laneway_dispatches_total", "queue, outcome"),), "reqps"),
    ),
)
