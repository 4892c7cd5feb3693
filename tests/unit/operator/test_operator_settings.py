"""The operator's settings, metrics and command line: what is wrong is said before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

import docs_cli
from laneway_operator.engine.metrics import CATALOGUE, OperatorMetrics
from laneway_operator.main import main
from laneway_operator.settings import (
    Label,
    OperatorSettings,
    SecretRef,
    default_identity,
    label,
    secret_ref,
    unique_identity,
)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"namespaces": ("Team_A",)}, "'team-a' would do"),
        ({"lease_namespace": "-"}, "the lease's namespace"),
        ({"redis_url": "redis://r", "redis_secret": SecretRef("a", "b")}, "not by both"),
        ({"lease_duration": 5.0}, "one lost renewal ends the leadership"),
        ({"redis_url": "unix:///run/redis.sock"}, "must be named by HOST:PORT"),
        ({"max_passes": 0}, "1 to 256"),
        ({"runtime_image": ""}, "must be named"),
    ],
)
def test_what_can_not_be_is_refused_with_what_would_be_right(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OperatorSettings(**wrong)


def test_no_namespace_means_all() -> None:
    assert OperatorSettings().clusterwide
    assert not OperatorSettings(namespaces=("a",)).clusterwide


def test_the_identity_is_the_pods_name_and_no_two_processes_are_the_same() -> None:
    assert default_identity({"POD_NAME": "operator-0"}) == "operator-0"
    assert default_identity({}).rpartition("-")[2].isdecimal()
    assert unique_identity("operator-0") != unique_identity("operator-0")
    assert unique_identity("operator-0").startswith("operator-0_")


def test_a_label_has_a_key_and_a_value() -> None:
    assert label("laneway.dev/usable=true") == Label("laneway.dev/usable", "true")
    assert label("usable=") == Label("usable", "")
    for wrong in ("usable", "=true", "a b=c", "a=b=c", "a/b/c=d", "-a=b", "a=b,c=d"):
        with pytest.raises(ValueError, match=r"KEY=VALUE of a label, such as laneway\.dev/usable=true"):
            label(wrong)


def test_a_secret_is_named_with_its_key() -> None:
    assert secret_ref("redis/url") == SecretRef("redis", "url")
    for wrong in ("redis", "redis/", "/url", "a/b/c", "Redis/url"):
        with pytest.raises(ValueError, match=r"NAME/KEY|name of a Secret"):
            secret_ref(wrong)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--namespaces", "a,B"], "'b' would do"),
        (["run", "--redis-secret", "redis"], "must be NAME/KEY"),
        (["run", "--lease-duration", "5s"], "one lost renewal"),
        (["run", "--port", "70000"], "70000"),
        (["rnu"], "did you mean 'run'"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2_and_what_would_be_right(args: list[str], message: str) -> None:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert message in result.output


def test_each_option_says_its_environment_variable() -> None:
    text = CliRunner().invoke(main, ["run", "--help"], terminal_width=200).output
    options = [line for line in text.splitlines() if line.strip().startswith("--")]
    assert len(options) >= 15
    assert text.count("env var:") >= len(options)
    for name in ("LANEWAY_OPERATOR_RUNTIME_IMAGE", "LANEWAY_OPERATOR_REDIS_URL", "POD_NAME", "POD_NAMESPACE"):
        assert name in text


def test_without_a_cluster_it_says_where_it_looked(tmp_path: Any) -> None:
    result = CliRunner().invoke(main, ["check", "--kubeconfig", str(tmp_path / "none")])
    assert result.exit_code == 5
    assert "no kubeconfig at" in result.output


def test_each_metric_of_the_catalogue_is_exposed_and_no_other() -> None:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)
    metrics.watch_queue(lambda: 3.0, lambda: 1.5)
    exposed = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert exposed == {metric.name for metric in CATALOGUE}
    assert registry.get_sample_value("laneway_operator_queue_depth") == 3.0
    metrics.count_pass("TaskQueue", "done", 0.02)
    labels = {"kind": "TaskQueue", "result": "done"}
    assert registry.get_sample_value("laneway_operator_reconciles_total", labels) == 1.0


def test_the_reference_page_is_what_the_commands_generate() -> None:
    assert docs_cli.OPERATOR_PAGE.read_text("utf-8") == docs_cli.operator_page(), "run: python hack/docs_cli.py"
