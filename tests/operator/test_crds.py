"""The CRDs on a real API server: it takes them whole, and serves all that kubectl and autoscalers ask for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.operator.objects import PLURALS, Object, Objects, lane, pool, queue

from crd_install import DEFINITIONS, conditions, install
from crds import FOLDERS, RESOURCES, Resource
from laneway.model.manifests import API_VERSION
from servers.kube_client import KubeError
from servers.kubernetes_build import find

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

every_kind = pytest.mark.parametrize("resource", RESOURCES, ids=[one.kind for one in RESOURCES])


class Kubectl:
    """The real kubectl, on the session's API server."""

    def __init__(self, kubeconfig: Path) -> None:
        program = find("kubectl")
        assert program is not None, "kubectl is built along with the API server"
        self._program = program
        self._kubeconfig = kubeconfig

    def __call__(self, *args: str, input: str = "", fails: bool = False) -> str:
        """What it prints; ``fails``: what it complains of."""
        argv = [str(self._program), "--kubeconfig", str(self._kubeconfig), *args]
        done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stderr or done.stdout
        return done.stderr if fails else done.stdout


@pytest.fixture
def kubectl(kubernetes: Path) -> Kubectl:
    return Kubectl(kubernetes)


def examples() -> Iterator[tuple[str, Object]]:
    """Every object under examples/, by file and name."""
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield f"{file.relative_to(EXAMPLES)}: {document['metadata']['name']}", document


@every_kind
def test_the_api_server_takes_a_crd_as_structural_and_under_its_names(objects: Objects, resource: Resource) -> None:
    found = conditions(objects.client, resource)
    assert found["Established"]["status"] == "True"
    assert found["NamesAccepted"]["status"] == "True"
    assert "NonStructuralSchema" not in found


@every_kind
def test_the_api_server_keeps_all_of_a_crd(objects: Objects, resource: Resource) -> None:
    written = yaml.safe_load((FOLDERS[0] / resource.file).read_text())
    kept = objects.client.request("GET", f"{DEFINITIONS}/{written['metadata']['name']}")
    (version,) = written["spec"]["versions"]
    (stored,) = kept["spec"]["versions"]
    assert stored == version
    for key, value in written["spec"]["names"].items():
        assert kept["spec"]["names"][key] == value


def test_crds_can_be_applied_again(objects: Objects) -> None:
    before = [objects.client.request("GET", f"{DEFINITIONS}/{one.plural}.laneway.dev") for one in RESOURCES]
    install(objects.client)
    after = [objects.client.request("GET", f"{DEFINITIONS}/{one.plural}.laneway.dev") for one in RESOURCES]
    assert [one["metadata"]["generation"] for one in after] == [one["metadata"]["generation"] for one in before]


def test_short_names_and_the_category_are_served(objects: Objects) -> None:
    served = objects.client.request("GET", f"/apis/{API_VERSION}")["resources"]
    found = {one["name"]: (one.get("shortNames"), one.get("categories")) for one in served if "/" not in one["name"]}
    assert found == {
        "taskqueues": (["tq"], ["laneway"]),
        "prioritylanes": (["pl"], ["laneway"]),
        "workerpools": (["wp"], ["laneway"]),
    }


@every_kind
def test_kubectl_explain_finds_a_description_of_every_field(objects: Objects, resource: Resource) -> None:
    schemas = objects.client.request("GET", f"/openapi/v3/apis/{API_VERSION}")["components"]["schemas"]
    served = schemas[f"dev.laneway.v1alpha1.{resource.kind}"]["properties"]
    undescribed: list[str] = []

    def look(schema: dict[str, Any], place: str) -> int:
        fields = 0
        for name, part in schema.get("properties", {}).items():
            if not part.get("description"):
                undescribed.append(f"{place}.{name}")
            fields += 1 + look(part, f"{place}.{name}") + look(part.get("items", {}), f"{place}.{name}[]")
        return fields

    counted = sum(look(served[part], part) for part in ("spec", "status"))
    assert undescribed == []
    assert counted > 15
    assert served["spec"]["description"] and served["status"]["description"]


@pytest.mark.parametrize("document", dict(examples()).values(), ids=dict(examples()).keys())
def test_every_example_can_be_applied(objects: Objects, document: Object) -> None:
    name = document["metadata"]["name"]
    if document["kind"] == "Secret":
        path = f"/api/v1/namespaces/{objects.namespace}/secrets/{name}"
    else:
        assert document["kind"] in PLURALS
        path = objects.path(document["kind"], name)
    query = "fieldManager=test&fieldValidation=Strict"
    applied = objects.client.request("PATCH", f"{path}?{query}", document, content="application/apply-patch+yaml")
    assert applied.get("spec", {}) == {**document.get("spec", {}), **_replicas(document)}


def _replicas(document: Object) -> Object:
    """The one default that is set."""
    if document["kind"] != "WorkerPool":
        return {}
    return {"replicas": document["spec"].get("replicas", 1)}


def test_the_examples_have_every_kind() -> None:
    assert {document["kind"] for _, document in examples()} > PLURALS.keys()


def test_no_defaults_are_written_into_objects_but_a_pools_number_of_replicas(objects: Objects) -> None:
    assert objects.create(queue(limits={}))["spec"] == {"limits": {}}
    assert objects.create(lane())["spec"] == {"queueRef": {"name": "q"}}
    assert objects.create(pool())["spec"] == {"queueRef": {"name": "q"}, "app": "shop.tasks:app", "replicas": 1}


def test_a_queue_needs_no_spec(objects: Objects) -> None:
    made = objects.create({"apiVersion": API_VERSION, "kind": "TaskQueue", "metadata": {"name": "bare"}})
    assert "spec" not in made


def test_unknown_fields_are_dropped_where_somebody_turns_the_checks_off(objects: Objects) -> None:
    path = objects.path("TaskQueue")
    made = objects.client.request("POST", f"{path}?fieldValidation=Ignore", queue(paussed=True, paused=True))
    assert made["spec"] == {"paused": True}


def test_fields_that_kubernetes_defines_are_kept_as_they_are(objects: Objects) -> None:
    volume = {"name": "a", "projected": {"sources": [{"secret": {"name": "s"}}], "defaultMode": 288}}
    affinity = {"podAntiAffinity": {"preferred": [{"weight": 1}]}}
    made = objects.create(pool(volumes=[volume], pod={"affinity": affinity}))
    assert made["spec"]["volumes"] == [volume]
    assert made["spec"]["pod"]["affinity"] == affinity


def test_the_scale_subresource_reads_and_sets_a_pools_replicas(objects: Objects) -> None:
    objects.create(pool(name="w"))
    path = objects.path("WorkerPool", "w")
    status = {"status": {"replicas": 1, "selector": "laneway.dev/pool=w"}}
    objects.client.request("PATCH", f"{path}/status", status, content="application/merge-patch+json")
    scale = objects.client.request("GET", f"{path}/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 1, "selector": "laneway.dev/pool=w"})
    wanted = {"spec": {"replicas": 7}}
    objects.client.request("PATCH", f"{path}/scale", wanted, content="application/merge-patch+json")
    assert objects.client.request("GET", path)["spec"]["replicas"] == 7
    with pytest.raises(KubeError, match=r"spec.replicas.*less than or equal to 1000"):
        wanted = {"spec": {"replicas": 1001}}
        objects.client.request("PATCH", f"{path}/scale", wanted, content="application/merge-patch+json")


def test_status_is_written_by_its_own_way_only_and_its_conditions_are_told_apart_by_type(objects: Objects) -> None:
    made = objects.create({**queue(name="s"), "status": {"lanes": 5}})
    assert "status" not in made
    path = f"{objects.path('TaskQueue', 's')}/status"
    twice = [{**_condition("Ready", "True"), "reason": "Ready"}, {**_condition("Ready", "False"), "reason": "No"}]
    with pytest.raises(KubeError, match="duplicate entries for key"):
        _apply_status(objects, path, "one", {"conditions": twice})
    _apply_status(objects, path, "one", {"conditions": [_condition("Ready", "True")]})
    whole = _apply_status(objects, path, "two", {"conditions": [_condition("Paused", "False")], "lanes": 3})
    assert [one["type"] for one in whole["status"]["conditions"]] == ["Ready", "Paused"]
    assert whole["status"]["lanes"] == 3


def test_kubectl_get_shows_the_status_in_columns(objects: Objects, kubectl: Kubectl) -> None:
    objects.create(queue(name="c"))
    path = f"{objects.path('TaskQueue', 'c')}/status"
    ready = {**_condition("Ready", "False"), "reason": "KafkaError", "message": "No broker answers."}
    _apply_status(
        objects, path, "one", {"conditions": [ready], "depth": 1200, "lanes": 3, "pools": 2, "source": "Kafka"}
    )
    heads, row = kubectl("get", "tq", "-n", objects.namespace).splitlines()
    assert heads.split() == ["NAME", "READY", "DEPTH", "LANES", "POOLS", "SOURCE", "AGE"]
    assert row.split()[:-1] == ["c", "False", "1200", "3", "2", "Kafka"]
    wide = kubectl("get", "laneway", "-o", "wide", "-n", objects.namespace)
    assert "KafkaError" in wide and "No broker answers." in wide


def test_kubectl_explain_tells_what_a_field_means_and_its_default(objects: Objects, kubectl: Kubectl) -> None:
    said = " ".join(kubectl("explain", "wp.spec.scaling.controller").split())
    assert "ENUM: Operator HorizontalPodAutoscaler None" in said
    assert "Who sets the number." in said
    assert "Default: Operator." in said


def test_kubectl_refuses_a_field_that_is_misspelt_and_has_the_servers_words(objects: Objects, kubectl: Kubectl) -> None:
    said = kubectl("create", "-f", "-", "-n", objects.namespace, input=json.dumps(queue(paussed=True)), fails=True)
    assert 'unknown field "spec.paussed"' in said
    bad = pool(scaling={"min": 3, "max": 2, "target": {"tasksPerReplica": 1}})
    said = kubectl("create", "-f", "-", "-n", objects.namespace, input=json.dumps(bad), fails=True)
    assert 'WorkerPool "a" is invalid: spec.scaling.min' in said
    assert "min must be at most max (2), not 3" in said


def test_pools_can_be_listed_by_their_queue(objects: Objects) -> None:
    objects.create(pool(name="mine"))
    objects.create(pool(name="other", queueRef={"name": "other"}))
    found = objects.client.request("GET", f"{objects.path('WorkerPool')}?fieldSelector=spec.queueRef.name%3Dq")
    assert [one["metadata"]["name"] for one in found["items"]] == ["mine"]


def _condition(kind: str, status: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": "Tested",
        "message": "",
        "lastTransitionTime": "2026-01-31T12:00:00Z",
        "observedGeneration": 1,
    }


def _apply_status(objects: Objects, path: str, manager: str, status: Object) -> Object:
    document = {"apiVersion": API_VERSION, "kind": "TaskQueue", "status": status}
    return objects.client.request(
        "PATCH", f"{path}?fieldManager={manager}", document, content="application/apply-patch+yaml"
    )
