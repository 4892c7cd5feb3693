"""The values: every one is described and checked, and wrong ones are refused with what would be right."""

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, Helm, everything

import docs_chart
from servers.kubernetes_build import KUBERNETES

ROOT = CHART.parents[1]

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    ({"replicas": 11}, "at '/replicas': maximum: got 11, want 10"),
    ({"image": {"name": "laneway"}}, "at '/image': additional properties 'name' not allowed"),
    ({"image": {"repository": ""}}, "at '/image/repository': minLength: got 0, want 1"),
    ({"image": {"repository": "laneway/operator:1.0"}}, "at '/image/repository': 'laneway/operator:1.0' does not"),
    ({"image": {"tag": 1.5}}, "at '/image/tag': got number, want string"),
    ({"image": {"digest": "1234"}}, 'image.digest is "1234": it must be sha256: and 64 hexadecimal digits'),
    ({"runtimeImage": {"digest": "sha1:ab"}}, 'runtimeImage.digest is "sha1:ab": it must be sha256:'),
    ({"image": {"pullPolicy": "Sometimes"}}, "must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want object"),
    ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
    ({"watchNamespaces": ["team-a", "team-a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
    ({"watchNamespaces": ["*"]}, "To watch all, leave the list empty"),
    ({"redis": {"url": "localhost:6379"}}, "it must be a URL such as redis://redis.databases:6379, or rediss://"),
    (
        {"redis": {"url": "redis://a:6379", "existingSecret": {"name": "b"}}},
        "redis.url and redis.existingSecret.name are both set: give the default Redis by one of them",
    ),
    ({"redis": {"password": "secret"}}, "at '/redis': additional properties 'password' not allowed"),
    ({"redis": {"existingSecret": "redis"}}, "at '/redis/existingSecret': got string, want object"),
    ({"leaderElection": {"leaseDuration": 7}}, "must be 4 s longer than two renewals"),
    ({"leaderElection": {"renewPeriod": "2s"}}, "at '/leaderElection/renewPeriod': got string, want number"),
    (
        {"monitoring": {"prometheusRule": {"bounds": {"LanewayTasksDy": 1}}}},
        "must be one of 'LanewayTasksDie', 'LanewayQueueUnreadable'",
    ),
    ({"monitoring": {"prometheusRule": {"bounds": {"LanewayTasksDie": "1"}}}}, "got string, want number"),
    (
        {"monitoring": {"prometheusRule": {"disabled": ["TasksDie"]}}},
        "at '/monitoring/prometheusRule/disabled/0': value",
    ),
    ({"monitoring": {"prometheusRule": {"runbookUrl": "docs/runbooks"}}}, "'docs/runbooks' does not match"),
    ({"log": {"level": "loud"}}, "must be one of 'debug', 'info', 'warning', 'error', 'critical'"),
    ({"log": {"format": "text"}}, "must be one of 'json', 'console'"),
    ({"maxConcurrentPasses": 0}, "at '/maxConcurrentPasses': minimum: got 0, want 1"),
    ({"extraEnv": {"A": "b"}}, "at '/extraEnv': got object, want array"),
    ({"extraEnv": [{"name": "A"}]}, "missing property 'value'"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value': got number, want string"),
    ({"resources": {"request": {}}}, "at '/resources': additional properties 'request' not allowed"),
    ({"resources": {"requests": {"memory": "lots"}}}, "at '/resources/requests/memory': 'lots' does not match"),
    ({"podAnnotations": {"a": True}}, "at '/podAnnotations/a': got boolean, want string"),
    ({"podLabels": {"a b": "c"}}, "invalid propertyName 'a b'"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels has app.kubernetes.io/name, a label that the"),
    (
        {"monitoring": {"podMonitor": {"labels": {"helm.sh/chart": "x"}}}},
        "monitoring.podMonitor.labels has helm.sh/chart",
    ),
    ({"redis": {"url": "redis://a:6379/0?socket_timeout=9999"}}, "with no options behind it"),
    ({"redis": {"url": "unix:///run/redis.sock"}}, "it must be a URL such as redis://redis.databases:6379"),
    (
        {"secrets": {"requireLabel": "usable"}},
        'is "usable": it must be KEY=VALUE of a label, such as laneway.dev/usable',
    ),
    ({"tolerations": [{"effect": "NoRun"}]}, "must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'"),
    ({"affinity": {"nodeAffinities": {}}}, "additional properties 'nodeAffinities' not allowed"),
    ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "missing properties 'topologyKey', 'whenUnsatisfiable'"),
    ({"serviceAccount": {"create": False}}, "name the ServiceAccount to use by serviceAccount.name"),
    ({"crds": {"install": True}}, "at '/crds': additional properties 'install' not allowed"),
    ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
    ({"adapter": True}, "at '/adapter': got boolean, want object"),
    ({"monitoring": {"podMonitor": {"interval": 15}}}, "at '/monitoring/podMonitor/interval': got number, want string"),
    ({"devServices": {"redis": {"runAsUser": 0}}}, "at '/devServices/redis/runAsUser': minimum: got 0, want 1"),
    ({"devServices": {"postgres": {}}}, "at '/devServices': additional properties 'postgres' not allowed"),
    ({"fullnameOverride": "Laneway"}, "at '/fullnameOverride': 'Laneway' does not match pattern"),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[json.dumps(values)[:60] for values, _ in WRONG])
def test_wrong_values_are_refused_with_what_would_be_right(helm: Helm, values: dict[str, Any], message: str) -> None:
    version = KUBERNETES.removeprefix("v")
    done = helm.run("template", "laneway", str(CHART), "--kube-version", version, values=values)
    assert done.returncode != 0, "these values were taken"
    assert message in done.stderr.replace('\\"', '"')


def test_the_chart_lints_without_a_warning(helm: Helm) -> None:
    argv = ["lint", "--strict", str(CHART), "--kube-version", KUBERNETES.removeprefix("v")]
    helm.must(*argv, values={})
    helm.must(*argv, values=everything())


class _Strict(yaml.SafeLoader):
    """Refuses a key that is twice in a map: an API server takes one of them, and strict readers none."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is twice in {keys}"
        return super().construct_mapping(node, deep)


def test_a_key_that_the_chart_sets_too_is_rendered_once(helm: Helm) -> None:
    values = {
        **everything(),
        "commonLabels": {"team": "queues", "tier": "a"},
        "podLabels": {"team": "pods"},
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "mine"},
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"team": "monitors"}},
            "prometheusRule": {"enabled": True, "labels": {"team": "rules"}, "alertLabels": {"severity": "page"}},
        },
    }
    version = KUBERNETES.removeprefix("v")
    text = helm.must("template", "laneway", str(CHART), "--kube-version", version, values=values)
    documents = {(one["kind"], one["metadata"]["name"]): one for one in yaml.load_all(text, _Strict) if one}
    pod = documents["Deployment", "laneway-operator"]["spec"]["template"]["metadata"]
    assert (pod["labels"]["team"], pod["labels"]["tier"]) == ("pods", "a")
    assert pod["annotations"]["kubectl.kubernetes.io/default-container"] == "mine"
    assert documents["PodMonitor", "laneway-operator"]["metadata"]["labels"]["team"] == "monitors"
    rules = documents["PrometheusRule", "laneway"]
    assert rules["metadata"]["labels"]["team"] == "rules"
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["labels"]["severity"] for rule in alerts} == {"page"}


def test_releases_of_different_namespaces_share_no_object_of_the_cluster(helm: Helm) -> None:
    def names(namespace: str, release: str) -> set[tuple[str, str]]:
        made = helm.render(
            {"crds": {"enabled": False}, "adapter": {"enabled": True}}, release=release, namespace=namespace
        )
        return {(one["kind"], one["metadata"]["name"]) for one in made if "namespace" not in one["metadata"]}

    one, other = names("team", "a-laneway"), names("team-a", "laneway")
    assert len(one) == len(other) > 3
    assert not one & other


def test_each_value_is_in_the_schema_and_each_of_the_schema_among_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    # What Helm itself hands to charts inside charts.
    del schema["properties"]["global"]
    assert set(_paths_of_schema(schema)) == set(_paths(values))


def test_a_value_without_a_description_is_an_error() -> None:
    text = (CHART / "values.yaml").read_text()
    with pytest.raises(ValueError, match=r"^replicas has no comment that begins with `# --`$"):
        docs_chart.values(text.replace("# -- Replicas of the operator.", "# Replicas of the operator."))


@pytest.mark.parametrize("path", docs_chart.FILES, ids=lambda path: path.name)
def test_what_is_generated_is_up_to_date(path: Path) -> None:
    assert path.read_text() == docs_chart.FILES[path](), "run: python hack/docs_chart.py"


def test_the_chart_has_the_version_of_laneway() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def _paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    described = {value.path for value in docs_chart.values((CHART / "values.yaml").read_text())}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path not in described:
            yield from _paths(value, f"{path}.")
        else:
            yield path


def _paths_of_schema(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, part in copy.deepcopy(schema["properties"]).items():
        if part.get("type") == "object" and "properties" in part:
            assert part["additionalProperties"] is False, f"{prefix}{name} lets in anything"
            yield from _paths_of_schema(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
