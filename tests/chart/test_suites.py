"""The chart's own suites (charts/laneway/tests), and what its alerts rest on."""

import re
import subprocess

import pytest
from prometheus_client import CollectorRegistry
from tests.chart.charts import CHART, Helm

from laneway.kit.metrics import CATALOGUE
from laneway_operator.adapter.metrics import AdapterMetrics
from laneway_operator.engine.metrics import OperatorMetrics
from monitoring.alerts import ALERTS
from servers.kubernetes_build import find
from servers.need import require

_SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def test_the_suites_of_the_chart_pass() -> None:
    require("helm")
    program = find("helm-unittest")
    assert program is not None
    done = subprocess.run([str(program), str(CHART), "--strict"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # Suites that are not found would pass too.
    suites = len(list((CHART / "tests").glob("*_test.yaml")))
    assert re.search(rf"^Test Suites: {suites} passed, {suites} total$", done.stdout, re.MULTILINE), done.stdout


@pytest.fixture
def known_metrics() -> set[str]:
    """The names of all metrics that Laneway serves, without the endings of their kinds."""
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)
    metrics.watch_queue(lambda: 0.0, lambda: 0.0)
    AdapterMetrics(registry)
    ours = {family.name for family in registry.collect()}
    return ours | {metric.name.removesuffix("_total") for metric in CATALOGUE}


def test_alerts_name_only_metrics_that_there_are(helm: Helm, known_metrics: set[str]) -> None:
    documents = helm.render({"monitoring": {"prometheusRule": {"enabled": True}}})
    rules = [
        rule
        for document in documents
        if document["kind"] == "PrometheusRule"
        for group in document["spec"]["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    alerts = [rule for rule in rules if "alert" in rule]
    assert len(alerts) == len(ALERTS)
    for rule in rules:
        name = rule.get("alert", rule.get("record"))
        words = set(re.findall(r"[a-z_:]*\blaneway_[\w:]+", rule["expr"]))
        assert words, f"{name} names no metric"
        named = words - recorded
        for metric in named:
            base = next((metric.removesuffix(end) for end in _SUFFIXES if metric.endswith(end)), metric)
            assert base in known_metrics, f"{name}: there is no metric {metric}"
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}


def test_alerts_say_which_object_they_are_about_to_prometheus_not_to_helm(helm: Helm) -> None:
    documents = helm.render({"monitoring": {"prometheusRule": {"enabled": True}}})
    text = str([document for document in documents if document["kind"] == "PrometheusRule"])
    assert "{{ $labels.queue }}" in text
