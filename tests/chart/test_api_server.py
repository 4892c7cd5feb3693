"""A real API server takes all that the chart makes, and lets its pods in where only restricted pods are."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.charts import Document, Helm, everything

from servers.envtest import Envtest
from servers.kube_client import KubeError
from servers.kubernetes_build import find

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": everything(),
    "namespaced": {"watchNamespaces": ["default"], "adapter": {"enabled": True}, "replicas": 2},
    "volumes": {
        "devServices": {
            "enabled": True,
            "redis": {"persistence": {"enabled": True, "storageClassName": "fast"}},
            "kafka": {"persistence": {"enabled": True}},
        }
    },
    "bare": {
        "startupCheck": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False, "name": "default"},
        "crds": {"enabled": False},
        "image": {"digest": "sha256:" + "0" * 64},
        "redis": {"existingSecret": {"name": "redis"}},
    },
    "uncounted CRDs": {"crds": {"keep": False}},
}


def _kubectl(cluster: Envtest, *argv: str, documents: list[Document]) -> subprocess.CompletedProcess[str]:
    program = find("kubectl")
    assert program is not None
    command = [str(program), "--kubeconfig", str(cluster.kubeconfig), *argv, "--filename", "-"]
    return subprocess.run(command, input=yaml.safe_dump_all(documents), capture_output=True, text=True)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_api_server_takes_every_object_to_the_last_field(
    helm: Helm, cluster: Envtest, values: dict[str, Any]
) -> None:
    namespace = cluster.create_namespace()
    documents = helm.render(values, namespace=namespace)
    argv = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--output=name")
    done = _kubectl(cluster, *argv, documents=documents)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(documents)


def test_a_field_that_kubernetes_does_not_know_would_be_refused(helm: Helm, cluster: Envtest) -> None:
    namespace = cluster.create_namespace()
    documents = [found for found in helm.render(namespace=namespace) if found["kind"] == "Deployment"]
    documents[0]["spec"]["template"]["spec"]["enableServiceLink"] = False
    done = _kubectl(cluster, "apply", "--server-side", "--dry-run=server", "--validate=strict", documents=documents)
    assert done.returncode != 0
    assert "enableServiceLink" in done.stderr


def _pods(documents: list[Document]) -> dict[str, Document]:
    """A pod of each template, by its owner's name."""
    return {
        document["metadata"]["name"]: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**document["spec"]["template"]["metadata"], "name": document["metadata"]["name"]},
            "spec": document["spec"]["template"]["spec"],
        }
        for document in documents
        if "template" in document.get("spec", {})
    }


def test_every_pod_is_let_in_where_pod_security_is_restricted(helm: Helm, cluster: Envtest) -> None:
    namespace = cluster.create_namespace()
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    patch = "application/merge-patch+json"
    cluster.admin.request("PATCH", f"/api/v1/namespaces/{namespace}", label, content=patch)
    # Without a priority class, which a namespace must be let use first.
    values = {**everything(), "priorityClassName": ""}
    pods = _pods(helm.render(values, namespace=namespace))
    assert set(pods) == {"laneway-operator", "laneway-adapter", "laneway-dev-redis", "laneway-dev-kafka"}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    for pod in pods.values():
        # A volume of a claim template is the StatefulSet's to make.
        assert cluster.admin.request("POST", path, pod)["metadata"]["name"] == pod["metadata"]["name"]
        loose = json.loads(json.dumps(pod))
        del loose["spec"]["containers"][0]["securityContext"]
        with pytest.raises(KubeError, match='violates PodSecurity "restricted'):
            cluster.admin.request("POST", path, loose)


def test_every_container_has_a_read_only_root_and_no_service_variables(helm: Helm) -> None:
    for pod in _pods(helm.render(everything())).values():
        assert pod["spec"]["enableServiceLinks"] is False
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"]["memory"]


def test_no_object_of_the_chart_says_that_the_operator_manages_it(helm: Helm) -> None:
    """The operator takes what carries that label for its own, and deletes what has no owner."""
    values = {**everything(), "monitoring": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    for document in helm.render(values):
        assert document["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        template = document.get("spec", {}).get("template", {"metadata": {"labels": {}}})
        assert "app.kubernetes.io/managed-by" not in template["metadata"]["labels"]


def test_the_definitions_that_are_installed_are_those_of_the_manifests(helm: Helm) -> None:
    root = Path(__file__).resolve().parents[2]
    generated = {}
    for path in sorted((root / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        generated[definition["metadata"]["name"]] = definition["spec"]
    installed = {
        document["metadata"]["name"]: document["spec"]
        for document in helm.render()
        if document["kind"] == "CustomResourceDefinition"
    }
    assert installed == generated
    assert len(installed) == 3
