"""Each alert fires when it should and keeps quiet when it should, by Prometheus' own promtool, and has its runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from tests.chart.charts import CHART, Helm
from tests.docs.test_links_and_commands import command_lines

import docs_monitoring
from monitoring.alerts import ALERTS, FILES, GROUPS
from monitoring.rules import RUNBOOKS
from servers.need import require
from servers.prometheus import promtool

ROOT = Path(__file__).parents[2]
Q = 'namespace="shop", queue="mail"'
_FILES = [CHART / "rules" / f"{name}.yaml" for name in FILES]

#: Per alert: series (as promtool writes them, a value each minute) with which it fires after half an hour, and such
#: with which it does not.
CASES: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "LanewayTasksWait": (
        {f'laneway_oldest_seconds{{{Q}, lane="high"}}': "700x30"},
        # The lane's first task changes: none has waited so long for five minutes.
        {f'laneway_oldest_seconds{{{Q}, lane="high"}}': "0 300 599 0 300 599 0 300 700 0 300 700 10x30"},
    ),
    "LanewayTasksDie": (
        {f'laneway_tasks{{{Q}, state="dead"}}': "3x20 4x10"},
        # Some are purged: fewer than before are there.
        {f'laneway_tasks{{{Q}, state="dead"}}': "3x20 1x10", f'laneway_tasks{{{Q}, state="queued"}}': "0+10x30"},
    ),
    "LanewayTasksMissing": (
        {f"laneway_conservation_drift{{{Q}}}": "-1x30"},
        {f"laneway_conservation_drift{{{Q}}}": "0x30"},
    ),
    "LanewayQueueUnreadable": (
        {f"laneway_stats_age_seconds{{{Q}}}": "1x20 60+60x10"},
        {f"laneway_stats_age_seconds{{{Q}}}": "1x30"},
    ),
    "LanewayNoWorkers": (
        {f'laneway_tasks{{{Q}, state="queued"}}': "5x30", f'laneway_workers{{{Q}, state="announced"}}': "0x30"},
        {f'laneway_tasks{{{Q}, state="queued"}}': "5x30", f'laneway_workers{{{Q}, state="announced"}}': "1x30"},
    ),
    "LanewayWorkersStall": (
        {f'laneway_workers{{{Q}, state="stalled"}}': "1x30"},
        {f'laneway_workers{{{Q}, state="stalled"}}': "0x30", f'laneway_workers{{{Q}, state="announced"}}': "4x30"},
    ),
    "LanewayWorkersDie": (
        {f"laneway_workers_lost_total{{{Q}}}": "0+1x30"},
        {f"laneway_workers_lost_total{{{Q}}}": "0x28 1x2"},
    ),
    "LanewayOutcomesStale": (
        {f"laneway_outcomes_stale_total{{{Q}}}": "0x25 2x5"},
        {f"laneway_outcomes_stale_total{{{Q}}}": "2x30"},
    ),
    "LanewayRecordsCorrupt": (
        {f"laneway_records_corrupt_total{{{Q}}}": "0x25 1x5"},
        {f"laneway_records_corrupt_total{{{Q}}}": "1x30"},
    ),
    "LanewayProcessesRestart": (
        {'laneway_process_restarts_total{instance="w:9100", process="worker-0"}': "0+1x30"},
        {'laneway_process_restarts_total{instance="w:9100", process="worker-0"}': "0x15 1x7 2x8"},
    ),
    "LanewayOutboxGrows": (
        {f"laneway_outbox_bytes{{{Q}}}": "40000000x30"},
        {f"laneway_outbox_bytes{{{Q}}}": "40000000x2 1000x28"},
    ),
    "LanewayEventsLost": (
        {f"laneway_events_lost_total{{{Q}}}": "0x25 100x5"},
        {f"laneway_events_lost_total{{{Q}}}": "0x30"},
    ),
    "LanewayDispatchFails": (
        {f'laneway_dispatches_total{{{Q}, outcome="failed"}}': "0x22 5+5x8"},
        {f'laneway_dispatches_total{{{Q}, outcome="published"}}': "0+5x30"},
    ),
    "LanewayGatewayErrors": (
        {
            'laneway_http_requests_total{route="/api/v1/queues/{queue}/tasks", status="503"}': "0+10x30",
            'laneway_http_requests_total{route="/api/v1/queues/{queue}/tasks", status="201"}': "0+90x30",
        },
        # A gateway that says that it is not ready fails nobody's request.
        {
            'laneway_http_requests_total{route="/readyz", status="503"}': "0+50x30",
            'laneway_http_requests_total{route="/api/v1/queues/{queue}/tasks", status="503"}': "0+1x30",
            'laneway_http_requests_total{route="/api/v1/queues/{queue}/tasks", status="201"}': "0+90x30",
        },
    ),
    "LanewayServiceSilent": (
        {'laneway_service_silence_seconds{instance="p:9101", service="relay"}': "0x20 60+60x10"},
        {'laneway_service_silence_seconds{instance="p:9101", service="relay"}': "1x30"},
    ),
    "LanewayServiceFails": (
        {'laneway_service_failures_total{service="relay"}': "0+1x30"},
        {'laneway_service_failures_total{service="relay"}': "0x25 1x5"},
    ),
    "LanewayCredentialsFail": (
        {'laneway_auth_source_failing{source="keys"}': "1x30"},
        {'laneway_auth_source_failing{source="keys"}': "1x3 0x27"},
    ),
    "LanewayChangesUnlogged": (
        {"laneway_audit_lost_total": "0x25 3x5"},
        {"laneway_audit_lost_total": "3x30"},
    ),
    "LanewayOperatorLeads": (
        {
            'laneway_operator_leader{namespace="laneway-system", pod="a"}': "1x30",
            'laneway_operator_leader{namespace="laneway-system", pod="b"}': "1x30",
        },
        {
            'laneway_operator_leader{namespace="laneway-system", pod="a"}': "1x30",
            'laneway_operator_leader{namespace="laneway-system", pod="b"}': "0x30",
        },
    ),
    "LanewayOperatorPassesFail": (
        {'laneway_operator_reconciles_total{kind="TaskQueue", result="failed"}': "0+3x30"},
        {'laneway_operator_reconciles_total{kind="TaskQueue", result="done"}': "0+60x30"},
    ),
    "LanewayOperatorBehind": (
        {"laneway_operator_queue_oldest_seconds": "90x30"},
        {"laneway_operator_queue_oldest_seconds": "90x2 1x28"},
    ),
    "LanewayPoolShort": (
        {
            'laneway_operator_pool_desired_replicas{exported_namespace="shop", pool="mailers"}': "3x30",
            'laneway_operator_pool_ready_replicas{exported_namespace="shop", pool="mailers"}': "2x30",
        },
        {
            'laneway_operator_pool_desired_replicas{exported_namespace="shop", pool="mailers"}': "3x30",
            'laneway_operator_pool_ready_replicas{exported_namespace="shop", pool="mailers"}': "0x10 3x20",
        },
    ),
    "LanewayAdapterConflict": (
        {"laneway_adapter_metrics_api_conflict": "1x30"},
        {"laneway_adapter_metrics_api_conflict": "1x3 0x27"},
    ),
    # (promtool's time begins at 1970)
    "LanewayAdapterCertificateExpires": (
        {"laneway_adapter_certificate_expiry_timestamp_seconds": "90000x30"},
        {"laneway_adapter_certificate_expiry_timestamp_seconds": "900000x30"},
    ),
}


def test_what_is_written_from_the_source_is_up_to_date() -> None:
    for path, text in docs_monitoring.files().items():
        assert path.read_text() == text, "run: python hack/docs_monitoring.py"
    written = {path for folder in ("rules", "dashboards") for path in (CHART / folder).iterdir()}
    assert written <= docs_monitoring.files().keys(), "a file that nothing writes any more"


def test_promtool_takes_the_rules_of_the_chart_and_of_its_files(helm: Helm, tmp_path: Path) -> None:
    require("prometheus")
    documents = helm.render({"monitoring": {"prometheusRule": {"enabled": True, "runbookUrl": "https://a.example/b"}}})
    (spec,) = (document["spec"] for document in documents if document["kind"] == "PrometheusRule")
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump(spec))
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rendered), *map(str, _FILES))
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(ALERTS) + sum(len(group.recorded) for group in GROUPS)} rules found" in said.stdout


def test_the_values_of_the_chart_know_each_alert_by_name() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    rule = schema["properties"]["monitoring"]["properties"]["prometheusRule"]["properties"]
    assert rule["disabled"]["items"]["enum"] == [alert.name for alert in ALERTS]
    bounded = [alert.name for alert in ALERTS if alert.number is not None and alert.name != "LanewayTasksWait"]
    assert rule["bounds"]["propertyNames"]["enum"] == bounded


def test_every_alert_has_a_case_of_firing_and_one_of_not() -> None:
    assert list(CASES) == [alert.name for alert in ALERTS]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What promtool says of all cases."""
    require("prometheus")
    tests = []
    for name, (fires, quiet) in CASES.items():
        for what, series, count in (("fires", fires, 1), ("is quiet", quiet, 0)):
            expression = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
            tests.append(
                {
                    "name": f"{name} {what}",
                    "interval": "1m",
                    "input_series": [{"series": key, "values": values} for key, values in series.items()],
                    "promql_expr_test": [
                        {"expr": expression, "eval_time": "30m", "exp_samples": [{"labels": "{}", "value": count}]}
                    ],
                }
            )
    file = tmp_path_factory.mktemp("rules") / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(path) for path in _FILES], "tests": tests}, sort_keys=False))
    said = promtool("test", "rules", str(file))
    return said.stdout + said.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(verdicts: str, name: str) -> None:
    wrong = [part for part in verdicts.split("expr:") if re.search(rf"\b{name}\b", part)]
    assert not wrong, "expr:".join(wrong)


def test_promtool_found_every_case_right(verdicts: str) -> None:
    assert verdicts.strip().endswith("SUCCESS"), verdicts


def test_an_operator_that_is_gone_is_told_too(tmp_path: Path) -> None:
    require("prometheus")
    about = {
        "summary": "Not exactly one operator of Laneway leads",
        "description": "No replica, or more than one, says that it leads. Queues go on as they are, but nothing is"
        " scaled, repaired or changed.",
        "runbook": "docs/runbooks/LanewayOperatorLeads.md",
    }
    document = {
        "rule_files": [str(path) for path in _FILES],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": "up", "values": "1x30"}],
                "alert_rule_test": [
                    {
                        "eval_time": "30m",
                        "alertname": "LanewayOperatorLeads",
                        "exp_alerts": [{"exp_labels": {"severity": "critical"}, "exp_annotations": about}],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "gone.yaml"
    file.write_text(yaml.safe_dump(document))
    said = promtool("test", "rules", str(file))
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {path.stem for path in (ROOT / RUNBOOKS).glob("Laneway*.md")}
    assert pages == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_runbook_says_what_it_means_what_to_look_at_and_what_to_do(alert: object) -> None:
    name = alert.name  # type: ignore[attr-defined]
    text = (ROOT / RUNBOOKS / f"{name}.md").read_text()
    assert re.findall(r"^#+ (.+)$", text, re.MULTILINE) == [name, "What it means", "What to look at", "What to do"]
    sections = re.split(r"^## .+$", text, flags=re.MULTILINE)
    assert all(len(section.split()) >= 15 for section in sections[1:]), f"{name}: a section says next to nothing"
    assert list(command_lines(text)) or "kubectl" in text or "```promql" in text, f"{name} names nothing to run"
