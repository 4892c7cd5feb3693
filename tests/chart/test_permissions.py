"""What the chart grants is what laneway_operator.permissions says, each with its reason: nothing more, nothing less."""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart.charts import CHART, NAMESPACE, Document, Helm

from laneway_operator.permissions import ADAPTER_ROLE, LEASE, PERMISSIONS, Part, Permission, Where
from servers.envtest import Envtest
from servers.kube_client import KubeClient, KubeError

Right = tuple[str, str, str, str]
"""API group, resource, verb, and the only object (empty: all)."""

_DEADLINE_S = 30.0
_ACCOUNTS = {Part.OPERATOR: "laneway-operator", Part.ADAPTER: "laneway-adapter"}


def _rights(permissions: Iterable[Permission]) -> set[Right]:
    return {
        (permission.group, permission.resource, verb, permission.name)
        for permission in permissions
        for verb in permission.verbs
    }


def _rights_of(rules: Iterable[dict[str, Any]]) -> Iterator[Right]:
    for rule in rules:
        names = rule.get("resourceNames") or [""]
        yield from itertools.product(rule.get("apiGroups", []), rule.get("resources", []), rule["verbs"], names)


def _needed(part: Part, *where: Where, namespace: str = NAMESPACE) -> set[Right]:
    """What the table says, for a release `laneway` in a namespace: objects are named after both there."""
    renamed = {ADAPTER_ROLE: f"{namespace}.laneway-adapter"}
    return {
        (group, resource, verb, renamed.get(name, name))
        for group, resource, verb, name in _rights(
            permission for permission in PERMISSIONS if permission.part is part and permission.where in where
        )
    }


def _granted(documents: list[Document], account: str, namespace: str | None) -> set[Right]:
    """What bindings of these documents grant an account: in a namespace, or with None by ClusterRoleBindings."""
    roles = {
        (document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"]): document["rules"]
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
    }
    binding_kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    found: set[Right] = set()
    for document in documents:
        if document["kind"] != binding_kind or document["metadata"].get("namespace") != namespace:
            continue
        if any(subject["name"] == account for subject in document["subjects"]):
            reference = document["roleRef"]
            found |= set(_rights_of(roles[reference["kind"], namespace, reference["name"]]))
    return found


def test_each_permission_has_a_reason_and_none_repeats_another() -> None:
    for permission in PERMISSIONS:
        assert len(permission.why) > 20, f"{permission} lacks a reason"
        assert "*" not in (permission.group, permission.resource, *permission.verbs), f"{permission} is not bounded"
    every = [(permission.part, right) for permission in PERMISSIONS for right in _rights([permission])]
    assert len(every) == len(set(every))


def test_secrets_are_read_by_name_only_and_what_is_in_one_is_never_changed() -> None:
    secrets = [permission for permission in PERMISSIONS if permission.resource == "secrets"]
    assert not {verb for permission in secrets for verb in permission.verbs} & {"list", "watch", "delete", "patch"}
    # Of those that manifests name; a missing one is made, and only the adapter's own is written again.
    assert {permission.verbs for permission in secrets if permission.where is Where.WATCHED} == {("get",), ("create",)}
    assert all(permission.name for permission in secrets if "update" in permission.verbs)


def test_the_operator_of_all_namespaces_gets_what_it_needs_and_no_more(helm: Helm) -> None:
    documents = helm.render({})
    account = _ACCOUNTS[Part.OPERATOR]
    assert _granted(documents, account, None) == _needed(Part.OPERATOR, Where.WATCHED, Where.CLUSTER)
    assert _granted(documents, account, NAMESPACE) == _needed(Part.OPERATOR, Where.OWN)


def test_the_operator_of_named_namespaces_gets_rights_there_and_none_over_the_cluster(helm: Helm) -> None:
    documents = helm.render({"watchNamespaces": ["team-a", "team-b"]})
    account = _ACCOUNTS[Part.OPERATOR]
    assert _granted(documents, account, None) == set()
    for namespace in ("team-a", "team-b"):
        assert _granted(documents, account, namespace) == _needed(Part.OPERATOR, Where.WATCHED)
    assert _granted(documents, account, NAMESPACE) == _needed(Part.OPERATOR, Where.OWN)
    assert {document["kind"] for document in documents} & {"ClusterRoleBinding"} == set()


def test_for_named_namespaces_nothing_of_the_whole_cluster_is_needed(helm: Helm) -> None:
    values = {"watchNamespaces": ["team-a"], "rbac": {"aggregate": False}, "crds": {"enabled": False}}
    assert [document["kind"] for document in helm.render(values) if "namespace" not in document["metadata"]] == []


def test_the_adapter_gets_what_it_needs_and_no_more(helm: Helm) -> None:
    account = _ACCOUNTS[Part.ADAPTER]
    documents = helm.render({"adapter": {"enabled": True}, "rbac": {"aggregate": False}})
    assert _granted(documents, account, None) == _needed(Part.ADAPTER, Where.WATCHED, Where.CLUSTER)
    assert _granted(documents, account, NAMESPACE) == _needed(Part.ADAPTER, Where.OWN)
    documents = helm.render({"adapter": {"enabled": True}, "watchNamespaces": ["team-a"]})
    assert _granted(documents, account, None) == _needed(Part.ADAPTER, Where.CLUSTER)
    assert _granted(documents, account, "team-a") == _needed(Part.ADAPTER, Where.WATCHED)


def test_the_roles_of_people_never_reach_the_status_and_nothing_of_others(helm: Helm) -> None:
    roles = {
        document["metadata"]["name"].removeprefix("laneway-system.laneway-"): set(_rights_of(document["rules"]))
        for document in helm.render({})
        if document["kind"] == "ClusterRole" and "operator" not in document["metadata"]["name"]
    }
    assert set(roles) == {"view", "edit", "admin"}
    for name, rights in roles.items():
        assert {group for group, _, _, _ in rights} == {"laneway.dev"}
        changing = {resource for _, resource, verb, _ in rights if verb not in ("get", "list", "watch")}
        kinds = {"taskqueues", "prioritylanes", "workerpools"}
        assert changing == (set() if name == "view" else {*kinds, "workerpools/scale"})


def test_without_rbac_no_role_is_made(helm: Helm) -> None:
    documents = helm.render({"rbac": {"create": False, "aggregate": False}, "adapter": {"enabled": True}})
    assert [document["kind"] for document in documents if "Role" in document["kind"]] == []


# ------------------------------------------------------------------------------- as the API server itself says it


def _said(client: KubeClient, namespace: str) -> set[Right]:
    """All that the API server says this user may do to objects of a namespace, and to those of none."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
    assert not answer["status"]["incomplete"] or "evaluationError" not in answer["status"]
    return set(_rights_of(answer["status"]["resourceRules"]))


def _comes_to(client: KubeClient, namespace: str, wanted: set[Right]) -> None:
    """Wait until the API server says just this: it reads new roles from a watch."""
    deadline = time.monotonic() + _DEADLINE_S
    while _said(client, namespace) != wanted and time.monotonic() < deadline:
        pass
    said = _said(client, namespace)
    assert said == wanted, f"not granted: {sorted(wanted - said)}; beyond need: {sorted(said - wanted)}"


def _install(helm: Helm, cluster: Envtest, namespace: str, **values: Any) -> None:
    helm.must("install", "laneway", str(CHART), "--namespace", namespace, values=values)


def _client(cluster: Envtest, namespace: str, account: str) -> KubeClient:
    return KubeClient(cluster.service_account_kubeconfig(namespace, account))


@pytest.mark.parametrize("part", list(Part))
def test_an_installed_account_may_do_just_what_the_table_says(helm_here: Helm, cluster: Envtest, part: Part) -> None:
    own, other = cluster.create_namespace(), cluster.create_namespace()
    nobody = _said(_client(cluster, own, "nobody"), own)
    _install(helm_here, cluster, own, adapter={"enabled": True})
    client = _client(cluster, own, _ACCOUNTS[part])
    everywhere = _needed(part, Where.WATCHED, Where.CLUSTER, namespace=own)
    _comes_to(client, other, nobody | everywhere)
    _comes_to(client, own, nobody | everywhere | _needed(part, Where.OWN, namespace=own))


@pytest.mark.parametrize("part", list(Part))
def test_in_namespaced_mode_it_may_do_nothing_elsewhere(helm_here: Helm, cluster: Envtest, part: Part) -> None:
    own, watched, other = (cluster.create_namespace() for _ in range(3))
    nobody = _said(_client(cluster, own, "nobody"), own)
    _install(helm_here, cluster, own, adapter={"enabled": True}, watchNamespaces=[watched])
    client = _client(cluster, own, _ACCOUNTS[part])
    cluster_wide = _needed(part, Where.CLUSTER, namespace=own)
    _comes_to(client, watched, nobody | cluster_wide | _needed(part, Where.WATCHED, namespace=own))
    _comes_to(client, own, nobody | cluster_wide | _needed(part, Where.OWN, namespace=own))
    _comes_to(client, other, nobody | cluster_wide)


def test_the_lease_of_another_cannot_be_taken(helm_here: Helm, cluster: Envtest) -> None:
    own = cluster.create_namespace()
    _install(helm_here, cluster, own)
    client = _client(cluster, own, _ACCOUNTS[Part.OPERATOR])
    wanted = _said(_client(cluster, own, "nobody"), own) | _needed(
        Part.OPERATOR, Where.WATCHED, Where.OWN, namespace=own
    )
    _comes_to(client, own, wanted)
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{own}/leases"
    for name in (LEASE, "another"):
        client.request("POST", leases, {"metadata": {"name": name}, "spec": {"holderIdentity": "a"}})
    lease = client.request("GET", f"{leases}/{LEASE}")
    lease["spec"]["holderIdentity"] = "b"
    assert client.request("PUT", f"{leases}/{LEASE}", lease)["spec"]["holderIdentity"] == "b"
    for method in ("GET", "PUT", "DELETE"):
        with pytest.raises(KubeError, match="cannot"):
            client.request(method, f"{leases}/another", lease if method == "PUT" else None)


def test_the_adapter_can_register_its_own_api_and_no_other(helm_here: Helm, cluster: Envtest) -> None:
    own = cluster.create_namespace()
    _install(helm_here, cluster, own, adapter={"enabled": True})
    client = _client(cluster, own, _ACCOUNTS[Part.ADAPTER])
    wanted = _said(_client(cluster, own, "nobody"), own)
    _comes_to(client, own, wanted | _needed(Part.ADAPTER, *Where, namespace=own))

    def apply(group: str) -> dict[str, Any]:
        spec = {"group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
        spec |= {"service": {"name": "laneway-adapter", "namespace": own}, "insecureSkipTLSVerify": True}
        name = f"v1beta1.{group}"
        return client.apply(
            f"/apis/apiregistration.k8s.io/v1/apiservices/{name}",
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": name},
                "spec": spec,
            },
        )

    try:
        assert apply("external.metrics.k8s.io")["spec"]["group"] == "external.metrics.k8s.io"
        with pytest.raises(KubeError, match="cannot"):
            apply("custom.metrics.k8s.io")
    finally:
        path = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
        cluster.admin.request("DELETE", path)


def test_editors_of_a_namespace_can_make_and_scale_queues_there(helm_here: Helm, cluster: Envtest) -> None:
    """No controller fills aggregated roles here, so the parts are bound by themselves."""
    own, team = cluster.create_namespace(), cluster.create_namespace()
    _install(helm_here, cluster, own)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{team}/rolebindings"
    for user, role in (("viewer", "view"), ("editor", "edit")):
        binding = {
            "metadata": {"name": user},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": f"{own}.laneway-{role}",
            },
            "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": team}],
        }
        cluster.admin.request("POST", rbac, binding)
    viewer, editor = _client(cluster, team, "viewer"), _client(cluster, team, "editor")
    queues = f"/apis/laneway.dev/v1alpha1/namespaces/{team}/taskqueues"
    _until_allowed(viewer, queues)
    _until_allowed(editor, queues)
    queue = {"apiVersion": "laneway.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": "q"}}
    with pytest.raises(KubeError, match="cannot create"):
        viewer.request("POST", queues, queue)
    editor.request("POST", queues, queue)
    assert viewer.request("GET", f"{queues}/q")["metadata"]["name"] == "q"
    with pytest.raises(KubeError, match="cannot patch"):
        editor.request("PATCH", f"{queues}/q/status", {"status": {}}, content="application/merge-patch+json")


def _until_allowed(client: KubeClient, path: str) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while client.raw("GET", path)[0] != 200:
        assert time.monotonic() < deadline, client.raw("GET", path)


def test_the_table_of_the_docs_names_every_permission() -> None:
    page = (Path(CHART).parents[1] / "docs" / "reference" / "permissions.md").read_text()
    for permission in PERMISSIONS:
        assert permission.why in page
