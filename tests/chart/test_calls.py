"""The operator that the chart runs: with the rights and settings that it gets there, it is refused nothing.

What it asks is taken from the API server's audit log, so that a right which nothing uses is found too.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tests.chart.charts import CHART, Document, Helm, everything
from tests.operator.running import RunningOperator, until

import laneway
from laneway_operator.main import main
from laneway_operator.permissions import PERMISSIONS, Part
from servers.envtest import Envtest
from servers.ports import free_port


def _container(documents: list[Document], name: str, *, init: bool = False) -> Document:
    (deployment,) = (
        found for found in documents if found["kind"] == "Deployment" and found["metadata"]["name"] == f"laneway-{name}"
    )
    pod = deployment["spec"]["template"]["spec"]
    container: Document = pod["initContainers" if init else "containers"][0]
    return container


def _environ(container: Document, namespace: str, kubeconfig: Path) -> dict[str, str]:
    """The container's environment as its pod would have it, without what the tests run in."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY")}
    given = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    fields = {"POD_NAME": "laneway-operator-0", "POD_NAMESPACE": namespace}
    return {**environ, **given, **fields, "KUBECONFIG": str(kubeconfig)}


@pytest.mark.parametrize("name", ["operator", "adapter"])
def test_each_variable_that_the_chart_sets_is_one_that_the_command_reads(helm: Helm, name: str) -> None:
    container = _container(helm.render({**everything(), "watchNamespaces": ["a", "b"]}), name)
    known = {param.envvar for param in main.commands[container["command"][1]].params}
    given = {entry["name"] for entry in container["env"] if entry["name"].startswith(("LANEWAY", "POD"))}
    # Who an adapter is, its metrics do not tell: the pod's name is for its logs' readers.
    assert given - known <= {"POD_NAME"}


def test_the_settings_that_the_chart_gives_are_taken_as_they_are_meant(helm: Helm) -> None:
    values = {
        "watchNamespaces": ["a", "b"],
        "redis": {"existingSecret": {"name": "redis", "key": "address"}},
        "leaderElection": {"leaseDuration": 20, "renewPeriod": 2.5},
        "log": {"level": "debug", "format": "console"},
        "maxConcurrentPasses": 32,
    }
    container = _container(helm.render(values), "operator")
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    run = main.commands["run"]
    parsed = {}
    for param in run.params:
        if isinstance(param.envvar, str) and param.envvar in given:
            parsed[param.name] = param.type_cast_value(click.Context(run), given[param.envvar])
    assert parsed == {
        "namespaces": ("a", "b"),
        "lease_name": "laneway-operator",
        "lease_duration": 20.0,
        "lease_renew": 2.5,
        "runtime_image": f"laneway/runtime:{laneway.__version__}",
        "redis_secret": ("redis", "address"),
        "max_passes": 32,
        "log_level": "debug",
        "log_format": "console",
    }


def _check(cluster: Envtest, container: Document, namespace: str, account: str) -> tuple[int, str]:
    environ = _environ(container, namespace, cluster.service_account_kubeconfig(namespace, account))
    argv = [sys.executable, "-m", "laneway_operator", *container["command"][1:]]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("watched", [[], ["default"]], ids=["all namespaces", "one namespace"])
def test_the_startup_check_passes_where_the_chart_is_installed(
    helm_here: Helm, cluster: Envtest, watched: list[str]
) -> None:
    namespace = cluster.create_namespace()
    values = {"watchNamespaces": watched}
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace, values=values)
    container = _container(helm_here.render(values, namespace=namespace), "operator", init=True)
    until(
        "the roles are in force",
        lambda: _check(cluster, container, namespace, "laneway-operator")[0] == 0,
        timeout=60,
    )


def test_the_startup_check_says_what_is_missing_where_it_is_not(helm: Helm, cluster: Envtest) -> None:
    namespace = cluster.create_namespace()
    container = _container(helm.render(namespace=namespace), "operator", init=True)
    code, said = _check(cluster, container, namespace, "stranger")
    assert code == 1
    assert "CRD TaskQueue: laneway.dev/v1alpha1 is not served" in said
    assert "get secrets in all namespaces: get is not allowed" in said


@pytest.fixture
def installed(helm_here: Helm, cluster: Envtest, tmp_path: Path) -> Iterator[tuple[str, RunningOperator]]:
    """The chart in a namespace that it watches alone, and an operator there by the account of its Deployment."""
    namespace = cluster.create_namespace()
    values = {"watchNamespaces": [namespace]}
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace, values=values)
    kubeconfig = cluster.service_account_kubeconfig(namespace, "laneway-operator")
    with RunningOperator(kubeconfig, [namespace], tmp_path, cleanup_deadline="1s", identity="laneway-operator-0") as it:
        yield namespace, it


Call = tuple[str, str, str]
"""API group, resource and verb."""

_RARE: dict[Call, str] = {
    **{
        (group, plural, "create"): "asked for by every first patch of server-side apply, which is noted as a patch"
        for group, plural in (
            ("apps", "deployments"),
            ("", "services"),
            ("policy", "poddisruptionbudgets"),
            ("networking.k8s.io", "networkpolicies"),
            ("autoscaling", "horizontalpodautoscalers"),
        )
    },
    **{
        (group, plural, "get"): "when an object of that name is there and not the operator's"
        for group, plural in (
            ("apps", "deployments"),
            ("", "services"),
            ("policy", "poddisruptionbudgets"),
            ("networking.k8s.io", "networkpolicies"),
            ("autoscaling", "horizontalpodautoscalers"),
        )
    },
    ("policy", "poddisruptionbudgets", "delete"): "when two replicas become one",
    ("networking.k8s.io", "networkpolicies", "delete"): "when a gateway has no replicas any more",
    ("laneway.dev", "taskqueues/finalizers", "update"): "asked for by an admission plugin that this server has not",
    ("laneway.dev", "workerpools/finalizers", "update"): "asked for by an admission plugin that this server has not",
    ("", "pods", "patch"): "when workers are taken away, of which some are busy",
}
"""What one life of a queue, a lane and a pool does not show, and when it is needed."""

_READER: Call = ("", "configmaps", "get")
"""By the cluster's own role for extensions of its API."""


def _granted(part: Part) -> set[Call]:
    return {
        (permission.group, permission.resource, verb)
        for permission in PERMISSIONS
        if permission.part is part
        for verb in permission.verbs
    }


def _used_and_refused(audit_log: Path, namespace: str, account: str) -> tuple[set[Call], list[str]]:
    """What a ServiceAccount asked of the API server, and the paths that it was refused for want of a right."""
    used, refused = set[Call](), list[str]()
    for line in audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] != f"system:serviceaccount:{namespace}:{account}" or "objectRef" not in entry:
            continue
        about = entry["objectRef"]
        resource = "/".join(filter(None, [about["resource"], about.get("subresource")]))
        if about.get("apiGroup") != "authorization.k8s.io" or about["resource"] != "selfsubjectaccessreviews":
            used.add((about.get("apiGroup", ""), resource, entry["verb"]))
        if entry["responseStatus"]["code"] in (401, 403):
            refused.append(f"{entry['verb']} {entry['requestURI']}")
    return used, refused


def test_at_work_the_operator_is_refused_nothing_and_asks_for_all_that_it_was_given(
    installed: tuple[str, RunningOperator], cluster: Envtest, audit_log: Path, redis7_url: str
) -> None:
    namespace, operator = installed
    api = cluster.admin
    base = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}"

    def create(plural: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        body = {"apiVersion": "laneway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        api.request("POST", f"{base}/{plural}", body)

    def exists(path: str) -> bool:
        return api.raw("GET", path)[0] == 200

    secret = {"metadata": {"name": "redis"}, "stringData": {"url": redis7_url}}
    api.request("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    create(
        "taskqueues", "TaskQueue", "q", {"redis": {"secretRef": {"name": "redis", "key": "url"}}, "drainTimeout": "1s"}
    )
    create("prioritylanes", "PriorityLane", "urgent", {"queueRef": {"name": "q"}, "priority": 9})
    scaling = {"min": 1, "max": 3, "target": {"tasksPerReplica": 5}, "controller": "HorizontalPodAutoscaler"}
    create(
        "workerpools", "WorkerPool", "p", {"queueRef": {"name": "q"}, "app": "a:b", "image": "c", "scaling": scaling}
    )
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    hpa = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/laneway-p-worker"
    for path in (f"{apps}/laneway-q-gateway", f"{apps}/laneway-q-poller", f"{apps}/laneway-p-worker", hpa):
        until(f"{path} is there", lambda path=path: exists(path), timeout=40)  # type: ignore[misc]
    merge = "application/merge-patch+json"
    api.request("PATCH", f"{base}/workerpools/p", {"spec": {"scaling": None, "replicas": 1}}, content=merge)
    until("the HPA is gone", lambda: not exists(hpa), timeout=40)
    for plural, name in (("workerpools", "p"), ("prioritylanes", "urgent"), ("taskqueues", "q")):
        api.request("DELETE", f"{base}/{plural}/{name}")
        until(f"{name} is gone", lambda path=f"{base}/{plural}/{name}": not exists(path), timeout=60)  # type: ignore[misc]
    operator.stop()

    used, refused = _used_and_refused(audit_log, namespace, "laneway-operator")
    assert refused == []
    assert used <= _granted(Part.OPERATOR)
    assert _granted(Part.OPERATOR) - used <= set(_RARE)


def test_pods_that_the_operator_makes_are_let_in_where_only_restricted_ones_are(
    installed: tuple[str, RunningOperator], cluster: Envtest, redis7_url: str
) -> None:
    namespace, _ = installed
    api = cluster.admin
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.request("PATCH", f"/api/v1/namespaces/{namespace}", label, content="application/merge-patch+json")
    base = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}"
    about = {"apiVersion": "laneway.dev/v1alpha1", "metadata": {"name": "r"}}
    queue = {**about, "kind": "TaskQueue", "spec": {"redis": {"url": redis7_url}}}
    pool = {**about, "kind": "WorkerPool", "spec": {"queueRef": {"name": "r"}, "app": "a:b"}}
    api.request("POST", f"{base}/taskqueues", queue)
    api.request("POST", f"{base}/workerpools", pool)
    for name in ("laneway-r-gateway", "laneway-r-poller", "laneway-r-worker"):
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        until(f"{name} is there", lambda path=path: api.raw("GET", path)[0] == 200, timeout=40)  # type: ignore[misc]
        template = api.request("GET", path)["spec"]["template"]
        pod = {"metadata": {"name": name, "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
        assert api.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)["metadata"]["name"] == name


def test_the_adapter_registers_itself_by_its_own_rights(
    helm_here: Helm, cluster: Envtest, audit_log: Path, tmp_path: Path
) -> None:
    namespace = cluster.create_namespace()
    values = {"watchNamespaces": [namespace], "adapter": {"enabled": True}}
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace, values=values)
    container = _container(helm_here.render(values, namespace=namespace), "adapter")
    kubeconfig = cluster.service_account_kubeconfig(namespace, "laneway-adapter")
    environ = _environ(container, namespace, kubeconfig)
    port, health = free_port(), free_port()
    argv = [sys.executable, "-m", "laneway_operator", *container["command"][1:]]
    argv += ["--adapter-host", "127.0.0.1", "--adapter-port", str(port), "--host", "127.0.0.1", "--port", str(health)]
    apiservice = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
    log = tmp_path / "adapter.log"
    with log.open("wb") as file:
        adapter = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        until("it is registered", lambda: cluster.admin.raw("GET", apiservice)[0] == 200, timeout=60)
        registered = cluster.admin.request("GET", apiservice)
        assert registered["spec"]["service"] == {"name": "laneway-adapter", "namespace": namespace, "port": 443}
        # Uninstalling the release deletes this role, and so the cluster the APIService.
        (owner,) = registered["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("ClusterRole", f"{namespace}.laneway-adapter")
    except BaseException:
        print(log.read_text())
        raise
    finally:
        adapter.terminate()
        adapter.wait(30)
        if cluster.admin.raw("GET", apiservice)[0] == 200:
            cluster.admin.request("DELETE", apiservice)
    used, refused = _used_and_refused(audit_log, namespace, "laneway-adapter")
    assert used <= _granted(Part.ADAPTER) | {_READER}
    # Roles come into force a moment after they are made, and the adapter asks again.
    assert not [path for path in refused if "certificate" in path]
    assert ("", "secrets", "create") in used
