"""Upgrading and uninstalling lose nothing: neither definitions nor queues, lanes and pools."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, Helm

from servers.envtest import Envtest
from servers.kube_client import KubeError

_OBJECTS: dict[str, dict[str, Any]] = {
    "taskqueues": {"kind": "TaskQueue", "spec": {}},
    "prioritylanes": {"kind": "PriorityLane", "spec": {"queueRef": {"name": "kept"}}},
    "workerpools": {"kind": "WorkerPool", "spec": {"queueRef": {"name": "kept"}, "app": "a:b", "image": "c"}},
}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _earlier(folder: Path) -> Path:
    """The chart as a release before this one could have been: another version, fewer columns, an object that went."""
    earlier = folder / "laneway"
    shutil.copytree(CHART, earlier)
    about = earlier / "Chart.yaml"
    about.write_text(yaml.safe_dump({**yaml.safe_load(about.read_text()), "version": "0.0.1", "appVersion": "0.0.1"}))
    (earlier / "templates" / "gone.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: gone\n  namespace: {{ .Release.Namespace }}\n"
    )
    return earlier


def _create(cluster: Envtest, namespace: str) -> dict[str, str]:
    """One object of each kind; their UIDs."""
    found = {}
    for plural, body in _OBJECTS.items():
        path = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/{plural}"
        metadata = {"metadata": {"name": "kept", "finalizers": ["laneway.dev/cleanup"]}}
        made = cluster.admin.request("POST", path, {"apiVersion": "laneway.dev/v1alpha1", **metadata, **body})
        found[plural] = made["metadata"]["uid"]
    return found


def _uids(cluster: Envtest, namespace: str) -> dict[str, str]:
    found = {}
    for plural in _OBJECTS:
        path = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/{plural}/kept"
        metadata = cluster.admin.request("GET", path)["metadata"]
        assert "deletionTimestamp" not in metadata
        found[plural] = metadata["uid"]
    return found


def test_an_upgrade_keeps_every_object_and_the_pods_selectors(
    helm_here: Helm, cluster: Envtest, tmp_path: Path
) -> None:
    namespace = cluster.create_namespace()
    helm_here.must("install", "laneway", str(_earlier(tmp_path)), "--namespace", namespace)
    before = _create(cluster, namespace)
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/laneway-operator"
    selector = cluster.admin.request("GET", deployment)["spec"]["selector"]
    helm_here.must("upgrade", "laneway", str(CHART), "--namespace", namespace, values={"replicas": 2})
    assert _uids(cluster, namespace) == before
    after = cluster.admin.request("GET", deployment)
    assert (after["spec"]["selector"], after["spec"]["replicas"]) == (selector, 2)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    for crd in cluster.admin.request("GET", _CRDS)["items"]:
        assert crd["metadata"]["labels"]["helm.sh/chart"] == f"laneway-{version}"
    with pytest.raises(KubeError, match="not found"):
        cluster.admin.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/gone")


def test_uninstalling_leaves_what_people_made_and_installing_again_takes_it_up(
    helm_here: Helm, cluster: Envtest
) -> None:
    namespace = cluster.create_namespace()
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace)
    before = _create(cluster, namespace)
    told = helm_here.run("uninstall", "laneway", "--namespace", namespace)
    assert told.returncode == 0, told.stderr
    assert "[CustomResourceDefinition] taskqueues.laneway.dev" in told.stdout + told.stderr
    assert _uids(cluster, namespace) == before
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert cluster.admin.request("GET", deployments)["items"] == []
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace)
    assert _uids(cluster, namespace) == before


def test_definitions_that_are_not_kept_go_with_the_release(helm_here: Helm, cluster: Envtest) -> None:
    namespace = cluster.create_namespace()
    helm_here.must("install", "laneway", str(CHART), "--namespace", namespace, values={"crds": {"keep": False}})
    assert len(cluster.admin.request("GET", _CRDS)["items"]) == 3
    helm_here.must("uninstall", "laneway", "--namespace", namespace)
    left = cluster.admin.request("GET", _CRDS)["items"]
    assert all("deletionTimestamp" in crd["metadata"] for crd in left)


def test_two_releases_in_two_namespaces_do_not_meet(helm_here: Helm, cluster: Envtest) -> None:
    first, second = cluster.create_namespace(), cluster.create_namespace()
    helm_here.must("install", "laneway", str(CHART), "--namespace", first, values={"watchNamespaces": [first]})
    values = {"watchNamespaces": [second], "crds": {"enabled": False}}
    helm_here.must("install", "laneway", str(CHART), "--namespace", second, values=values)


def test_the_notes_say_what_to_do_next_and_mark_development_services(helm_here: Helm, cluster: Envtest) -> None:
    namespace = cluster.create_namespace()
    argv = ("install", "laneway", str(CHART), "--namespace", namespace, "--dry-run=server")
    notes = helm_here.must(*argv).partition("NOTES:")[2]
    assert f"kubectl -n {namespace} logs -l app.kubernetes.io/instance=laneway," in notes
    assert "No default Redis is set: each TaskQueue names its own" in notes
    assert "DEVELOPMENT" not in notes
    notes = helm_here.must(*argv, values={"devServices": {"enabled": True}}).partition("NOTES:")[2]
    assert "DEVELOPMENT SERVICES ARE ON" in notes
    assert f"redis://laneway-dev-redis.{namespace}.svc:6379" in notes
    assert "what they hold is lost with their pods" in notes.replace("\n# ", " ")
    notes = helm_here.must(*argv, values={"crds": {"keep": False}}).partition("NOTES:")[2]
    assert "ALL queues" in notes
