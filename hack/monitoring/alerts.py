"""The alerts and recording rules. hack/docs_monitoring.py writes the chart's rules and the reference from them.

An expression that ends in a number compares with it: that is the alert's bound, which the chart's values may replace.
Selectors of the operator's and the adapter's metrics end in ``{}`` or ``{...}``: there the chart puts its namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

QUEUE = "by (namespace, queue)"


@dataclass(frozen=True)
class Alert:
    """One alert. ``over`` is how long it must hold ('': at once); ``bound`` says what its number counts, '' when it is
    not one to choose."""

    name: str
    severity: str
    expr: str
    summary: str
    description: str
    over: str = ""
    bound: str = ""

    @property
    def number(self) -> float | None:
        """The bound, when the expression has one."""
        found = re.search(r"([0-9.]+)$", self.expr)
        return float(found[1]) if found and self.bound else None


@dataclass(frozen=True)
class Recorded:
    """One recording rule: ``meaning`` is for people."""

    record: str
    expr: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together; ``file`` is where they stand in charts/laneway/rules."""

    name: str
    file: str
    recorded: tuple[Recorded, ...] = ()
    alerts: tuple[Alert, ...] = ()


_OF = "of the queue {{ $labels.queue }}"

GROUPS: tuple[Group, ...] = (
    Group(
        "laneway-recorded",
        "queues",
        recorded=(
            Recorded(
                "namespace_queue_lane:laneway_queue_wait_seconds:p99_rate5m",
                "histogram_quantile(0.99, sum by (namespace, queue, lane, le)"
                " (rate(laneway_queue_wait_seconds_bucket[5m])))",
                "The wait that 99 % of a lane's tasks stay under, over 5 minutes",
            ),
            Recorded(
                "namespace_queue_lane:laneway_execution_seconds:p99_rate5m",
                "histogram_quantile(0.99, sum by (namespace, queue, lane, le)"
                " (rate(laneway_execution_seconds_bucket[5m])))",
                "The run time that 99 % of a lane's attempts stay under, over 5 minutes",
            ),
            Recorded(
                "namespace_queue_lane:laneway_tasks_completed:rate5m",
                "sum by (namespace, queue, lane) (rate(laneway_tasks_completed_total[5m]))",
                "Tasks of a lane that succeeded, a second",
            ),
            Recorded(
                "namespace:laneway_http_requests_failed:ratio_rate5m",
                'sum by (namespace) (rate(laneway_http_requests_total{status=~"5..", route=~"/api/.*"}[5m]))'
                ' / sum by (namespace) (rate(laneway_http_requests_total{route=~"/api/.*"}[5m]))',
                "Requests to the API that were answered with a 5xx, as a share of all",
            ),
        ),
    ),
    Group(
        "laneway-queues",
        "queues",
        alerts=(
            Alert(
                "LanewayTasksWait",
                "warning",
                "max by (namespace, queue, lane) (laneway_oldest_seconds) > 600",
                "Tasks in the lane {{ $labels.lane }} " + _OF + " wait too long",
                "The first of them was submitted {{ $value | humanizeDuration }} ago. Too few workers are there, or a"
                " limit holds the lane back.",
                "5m",
                "seconds since the submission of a lane's first task",
            ),
            Alert(
                "LanewayTasksDie",
                "warning",
                f'max {QUEUE} (laneway_tasks{{state="dead"}})'
                f' - min {QUEUE} (min_over_time(laneway_tasks{{state="dead"}}[15m])) > 0',
                "The dead letters " + _OF + " grow",
                "{{ $value }} tasks died within 15 minutes: they failed as often as they may.",
                bound="tasks that died within 15 minutes",
            ),
            Alert(
                "LanewayTasksMissing",
                "critical",
                f"max {QUEUE} (abs(laneway_conservation_drift)) > 0",
                "The queue {{ $labels.queue }} does not add up",
                "Submitted tasks are not the sum over all states, by {{ $value }}. Redis may have lost data or evicted"
                " it (maxmemory-policy must be noeviction).",
                "1m",
            ),
            Alert(
                "LanewayQueueUnreadable",
                "critical",
                f"max {QUEUE} (laneway_stats_age_seconds) > 30",
                "The queue {{ $labels.queue }} cannot be read",
                "Redis has not answered the gateway or the poller for {{ $value | humanizeDuration }}.",
                "2m",
                "seconds since a queue's numbers were last read",
            ),
            Alert(
                "LanewayNoWorkers",
                "critical",
                f'max {QUEUE} (laneway_tasks{{state="queued"}})'
                f' unless on (namespace, queue) max {QUEUE} (laneway_workers{{state="announced"}}) > 0'
                " and on (namespace, queue)"
                f' max {QUEUE} (laneway_tasks{{state="queued"}}) > 0',
                "Nobody takes the tasks " + _OF,
                "{{ $value }} tasks are queued, and no worker has announced itself.",
                "5m",
                "queued tasks without a worker",
            ),
        ),
    ),
    Group(
        "laneway-workers",
        "queues",
        alerts=(
            Alert(
                "LanewayWorkersStall",
                "warning",
                f'max {QUEUE} (laneway_workers{{state="stalled"}}) > 0',
                "Workers " + _OF + " are stuck",
                "{{ $value }} workers live, but their event loop stands still: they get no more tasks.",
                "1m",
                "stalled workers",
            ),
            Alert(
                "LanewayWorkersDie",
                "warning",
                f"sum {QUEUE} (increase(laneway_workers_lost_total[15m])) > 2",
                "Workers " + _OF + " die",
                "{{ $value | humanize }} workers were declared dead within 15 minutes; what they ran runs again.",
                bound="workers that died within 15 minutes",
            ),
            Alert(
                "LanewayOutcomesStale",
                "warning",
                f"sum {QUEUE} (increase(laneway_outcomes_stale_total[15m])) > 0",
                "Outcomes " + _OF + " come too late to count",
                "{{ $value | humanize }} attempts ended after their worker had lost its lease: the tasks ran elsewhere"
                " too.",
                bound="outcomes within 15 minutes that did not count",
            ),
            Alert(
                "LanewayRecordsCorrupt",
                "warning",
                f"sum {QUEUE} (increase(laneway_records_corrupt_total[15m])) > 0",
                "Workers " + _OF + " read records that are none",
                "{{ $value | humanize }} Kafka records were set aside within 15 minutes. Somebody else writes to the"
                " topic, or a worker is older than the poller.",
                bound="records set aside within 15 minutes",
            ),
            Alert(
                "LanewayProcessesRestart",
                "warning",
                "sum by (namespace, instance, process) (increase(laneway_process_restarts_total[15m])) > 5",
                "The worker process {{ $labels.process }} of {{ $labels.instance }} starts again and again",
                "{{ $value | humanize }} times within 15 minutes, recycling included.",
                bound="starts of one process within 15 minutes",
            ),
        ),
    ),
    Group(
        "laneway-events",
        "queues",
        alerts=(
            Alert(
                "LanewayOutboxGrows",
                "warning",
                f"max {QUEUE} (laneway_outbox_bytes) > 33554432",
                "Events " + _OF + " are not relayed",
                "{{ $value | humanize1024 }}B of events wait. At 64 MiB they give way to a gap, and submissions are"
                " refused.",
                "5m",
                "bytes of events that wait",
            ),
            Alert(
                "LanewayEventsLost",
                "warning",
                f"sum {QUEUE} (increase(laneway_events_lost_total[15m])) > 0",
                "Events " + _OF + " were given up",
                "{{ $value | humanize }} events gave way within 15 minutes, since the outbox was full. No task is lost;"
                " followers are told of the gap.",
                bound="events given up within 15 minutes",
            ),
            Alert(
                "LanewayDispatchFails",
                "warning",
                f'sum {QUEUE} (increase(laneway_dispatches_total{{outcome="failed"}}[10m])) > 0',
                "Kafka does not take the tasks " + _OF,
                "{{ $value | humanize }} tasks could not be published within 10 minutes; they went back to their"
                " lanes.",
                "2m",
                "tasks within 10 minutes that could not be published",
            ),
        ),
    ),
    Group(
        "laneway-processes",
        "queues",
        alerts=(
            Alert(
                "LanewayGatewayErrors",
                "warning",
                "namespace:laneway_http_requests_failed:ratio_rate5m > 0.05",
                "The gateway fails requests",
                "{{ $value | humanizePercentage }} of the requests to the API are answered with a 5xx.",
                "5m",
                "share of requests to the API that fail",
            ),
            Alert(
                "LanewayServiceSilent",
                "critical",
                "max by (namespace, instance, service) (laneway_service_silence_seconds) > 60",
                "The loop {{ $labels.service }} of {{ $labels.instance }} stands still",
                "It has made no progress for {{ $value | humanizeDuration }}, and was not restarted by its probe.",
                "1m",
                "seconds without progress",
            ),
            Alert(
                "LanewayServiceFails",
                "warning",
                "sum by (namespace, service) (increase(laneway_service_failures_total[15m])) > 3",
                "The loop {{ $labels.service }} breaks again and again",
                "{{ $value | humanize }} times within 15 minutes. The log of its process says why.",
                bound="failures of one loop within 15 minutes",
            ),
        ),
    ),
    Group(
        "laneway-access",
        "queues",
        alerts=(
            Alert(
                "LanewayCredentialsFail",
                "warning",
                "max by (namespace, source) (laneway_auth_source_failing) > 0",
                "The gateway cannot read credentials from {{ $labels.source }}",
                "Those that were read last hold; who comes with others is refused.",
                "5m",
            ),
            Alert(
                "LanewayChangesUnlogged",
                "warning",
                "sum by (namespace) (increase(laneway_audit_lost_total[15m])) > 0",
                "The log of changes has lost lines",
                "{{ $value | humanize }} lines could not be written within 15 minutes; the changes themselves were"
                " made.",
                bound="lines lost within 15 minutes",
            ),
        ),
    ),
    Group(
        "laneway-operator",
        "operator",
        alerts=(
            Alert(
                "LanewayOperatorLeads",
                "critical",
                "sum by (namespace) (laneway_operator_leader{}) != 1 or absent(laneway_operator_leader{})",
                "Not exactly one operator of Laneway leads",
                "No replica, or more than one, says that it leads. Queues go on as they are, but nothing is scaled,"
                " repaired or changed.",
                "2m",
            ),
            Alert(
                "LanewayOperatorPassesFail",
                "warning",
                'sum by (kind) (rate(laneway_operator_reconciles_total{result=~"failed|timeout"}[10m])) > 0.02',
                "Passes of the operator over objects of the kind {{ $labels.kind }} keep failing",
                "The conditions of the objects say why (kubectl get laneway -A -o wide).",
                "15m",
                "passes a second that fail",
            ),
            Alert(
                "LanewayOperatorBehind",
                "warning",
                "max by (namespace) (laneway_operator_queue_oldest_seconds{}) > 60",
                "Objects wait too long for the operator",
                "The first has waited {{ $value | humanizeDuration }}. Give it more CPU, or raise maxConcurrentPasses.",
                "5m",
                "seconds that an object waits for its pass",
            ),
            Alert(
                "LanewayPoolShort",
                "warning",
                "max by (namespace, exported_namespace, pool) (laneway_operator_pool_desired_replicas{})"
                " - max by (namespace, exported_namespace, pool) (laneway_operator_pool_ready_replicas{}) > 0",
                "The pool {{ $labels.pool }} has too few workers that are ready",
                "{{ $value }} replicas are missing: they do not start, or find no node.",
                "15m",
                "replicas that are missing",
            ),
        ),
    ),
    Group(
        "laneway-adapter",
        "operator",
        alerts=(
            Alert(
                "LanewayAdapterConflict",
                "warning",
                "max by (namespace) (laneway_adapter_metrics_api_conflict{}) > 0",
                "Another adapter serves external.metrics.k8s.io",
                "Laneway's adapter leaves it alone, so HPAs on Laneway's metrics get no values.",
                "5m",
            ),
            Alert(
                "LanewayAdapterCertificateExpires",
                "critical",
                "min by (namespace) (laneway_adapter_certificate_expiry_timestamp_seconds{}) - time() < 172800",
                "The certificate of the metrics adapter expires in {{ $value | humanizeDuration }}",
                "It renews it long before; if it can't, the API server will refuse it, and HPAs get no values.",
                "10m",
                "seconds until the certificate expires",
            ),
        ),
    ),
)

ALERTS = tuple(alert for group in GROUPS for alert in group.alerts)
FILES = tuple(dict.fromkeys(group.file for group in GROUPS))
