"""The operator's engine against a real API server: what it reads, writes, leaves alone, and says of itself."""

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.operators import ROOT, install_crds, ledger, ledger_names, ledger_operator, make_queue, until

from laneway_operator import names
from laneway_operator.apply.events import EventRecorder
from laneway_operator.apply.finalizers import add_finalizer, has_finalizer, remove_finalizer
from laneway_operator.apply.objects import ForeignObject, apply_if_different
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import ConditionType, EventType, Reason, condition
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.connect import api_client, configuration
from laneway_operator.engine.errors import Conflict, Forbidden, Invalid, NotFound, NotLeading, Unreachable
from laneway_operator.engine.fence import Fence, machine_clock, open_fence
from laneway_operator.engine.sync import CacheSync
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.permissions import needed
from servers.envtest import Envtest


async def client(kubeconfig: Path, fence: Fence | None = None, timeout: float = 10.0) -> Cluster:
    """A client by this kubeconfig."""
    return Cluster(
        api_client(await configuration(str(kubeconfig))),
        resources=names.RESOURCES,
        field_manager=names.FIELD_MANAGER,
        fence=fence or open_fence(),
        timeout=timeout,
    )


@pytest.fixture
async def cluster(envtest: Envtest) -> AsyncIterator[Cluster]:
    made = await client(envtest.kubeconfig)
    yield made
    await made.close()


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache(names.WATCHED_KINDS, indexers={"queue": names.queue_of, "pool": names.pool_of})


def config_map(namespace: str, name: str = "a", **data: str) -> Body:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def deployment(namespace: str, owner: Body, **container: Any) -> Body:
    """What a pass might want: quantities, empty maps and lists with keys."""
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.QUEUE_LABEL: "orders"}
    reference = {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    run = {
        "name": "gateway",
        "image": "example.org/laneway:1",
        "args": ["gateway", "--port", "8080"],
        "env": [{"name": "A", "value": ""}, {"name": "B", "value": "2"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "laneway-orders-gateway", "namespace": namespace, "labels": labels, "ownerReferences": [reference],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {}},
                "spec": {"containers": [run], "volumes": [{"name": "tmp", "emptyDir": {}}], "nodeSelector": {}},
            },
        },
    }  # fmt: skip


def version(body: Body | None) -> str:
    """The resourceVersion."""
    assert body is not None
    return str(body["metadata"]["resourceVersion"])


# -- requests


async def test_each_refusal_has_an_error_of_its_own(cluster: Cluster, envtest: Envtest, namespace: str) -> None:
    key = ObjectKey("ConfigMap", namespace, "a")
    with pytest.raises(NotFound):
        await cluster.get(key)
    assert await cluster.find(key) is None
    made = await cluster.create(config_map(namespace, x="1"))
    with pytest.raises(Conflict, match="already exists"):
        await cluster.create(config_map(namespace))
    await cluster.patch(key, {"data": {"x": "2"}})
    with pytest.raises(Conflict):
        await cluster.replace({**made, "data": {"x": "3"}})
    with pytest.raises(Invalid, match="Invalid value"):
        await cluster.create(config_map(namespace, name="Not_A_Name"))
    nobody = await client(envtest.service_account_kubeconfig(namespace, "nobody"))
    with pytest.raises(Forbidden, match="cannot list"):
        await nobody.list("ConfigMap", namespace)
    await nobody.close()
    assert await cluster.delete(key, uid=made["metadata"]["uid"])
    assert not await cluster.delete(key)


async def test_an_api_server_that_does_not_answer_is_given_up_within_the_time_out(
    envtest: Envtest, namespace: str
) -> None:
    counted: list[int] = []
    cluster = await client(envtest.kubeconfig, timeout=0.5)
    cluster._count = lambda verb, resource, code: counted.append(code)
    envtest.pause()
    try:
        async with asyncio.timeout(20):
            with pytest.raises(Unreachable, match=r"after at most 0.5 s"):
                await cluster.apply(config_map(namespace))
    finally:
        envtest.ensure()
    assert counted == [0]
    await cluster.close()


async def test_a_shut_fence_lets_reads_through_and_no_write(envtest: Envtest, namespace: str) -> None:
    cluster = await client(envtest.kubeconfig, Fence())
    key = ObjectKey("ConfigMap", namespace, "a")
    assert await cluster.list("ConfigMap", namespace) == []
    body = config_map(namespace)
    for write in (
        cluster.create(body), cluster.apply(body), cluster.replace(body), cluster.patch(key, {}), cluster.delete(key),
        cluster.create_event(body), cluster.patch_status(body),
    ):  # fmt: skip
        with pytest.raises(NotLeading):
            await write
    assert await cluster.find(key) is None
    await cluster.close()


async def test_a_list_comes_in_pages_that_show_one_moment(cluster: Cluster, namespace: str) -> None:
    for at in range(7):
        await cluster.create(config_map(namespace, name=f"c{at}"))
    pages = [page async for page in cluster.pages("ConfigMap", namespace, size=3)]
    assert [len(items) for items, _ in pages] == [3, 3, 1]
    assert len({at for _, at in pages}) == 1
    assert pages[0][0][0]["kind"] == "ConfigMap"


# -- applies


async def test_the_api_servers_own_spelling_of_an_object_is_no_difference(
    cluster: Cluster, cache: ObjectCache, envtest: Envtest, namespace: str
) -> None:
    install_crds(envtest)
    owner = make_queue(envtest, namespace, "orders")
    wanted = deployment(namespace, owner)
    assert await apply_if_different(cluster, cache, wanted)
    first = await cluster.get(key_of(wanted))
    cache.put(first)
    assert first["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "500m"
    assert not await apply_if_different(cluster, cache, copy.deepcopy(wanted))
    fresh = ObjectCache(names.WATCHED_KINDS)  # as after a restart: nothing is remembered but what the object says
    fresh.put(first)
    assert not await apply_if_different(cluster, fresh, wanted)
    assert version(await cluster.get(key_of(wanted))) == version(first)


async def test_a_field_that_is_wished_no_more_is_removed_and_what_others_added_stays(
    cluster: Cluster, cache: ObjectCache, envtest: Envtest, namespace: str
) -> None:
    install_crds(envtest)
    owner = make_queue(envtest, namespace, "orders")
    await apply_if_different(cluster, cache, deployment(namespace, owner))
    key = ObjectKey("Deployment", namespace, "laneway-orders-gateway")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{key.name}"
    envtest.admin.request(
        "PATCH", path, {"metadata": {"annotations": {"others": "1"}}}, content="application/merge-patch+json"
    )
    cache.put(await cluster.get(key))
    assert await apply_if_different(cluster, cache, deployment(namespace, owner, env=[{"name": "B", "value": "2"}]))
    live = await cluster.get(key)
    assert live["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]
    assert live["metadata"]["annotations"]["others"] == "1"


async def test_an_object_of_somebody_else_under_our_name_is_never_overwritten(
    cluster: Cluster, cache: ObjectCache, envtest: Envtest, namespace: str
) -> None:
    install_crds(envtest)
    owner = make_queue(envtest, namespace, "orders")
    wanted = deployment(namespace, owner)
    theirs = deployment(namespace, owner, image="theirs:1")
    del theirs["metadata"]["ownerReferences"]
    made = envtest.admin.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", theirs)
    with pytest.raises(ForeignObject, match="belongs to nobody"):
        await apply_if_different(cluster, cache, wanted)
    assert version(await cluster.get(key_of(wanted))) == version(made)


async def test_a_status_is_written_once_and_the_finalizer_goes_on_and_off(
    cluster: Cluster, cache: ObjectCache, envtest: Envtest, namespace: str
) -> None:
    install_crds(envtest)
    body = make_queue(envtest, namespace, "orders")
    key = key_of(body)
    cache.put(body)
    body = await add_finalizer(cluster, cache, body)
    assert has_finalizer(await cluster.get(key))
    status = {"conditions": [condition(ConditionType.READY, False, Reason.PROGRESSING, "at it", generation=1)]}
    assert await write_status_if_different(cluster, cache, body, status)
    assert not await write_status_if_different(cluster, cache, body, status)
    envtest.admin.request("DELETE", f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/taskqueues/orders")
    held = await cluster.get(key)
    cache.put(held)
    assert held["metadata"]["deletionTimestamp"]
    assert await add_finalizer(cluster, cache, held) is held
    assert await remove_finalizer(cluster, cache, held)
    assert await cluster.find(key) is None


async def test_events_are_shown_with_their_object(cluster: Cluster, envtest: Envtest, namespace: str) -> None:
    install_crds(envtest)
    body = make_queue(envtest, namespace, "orders")
    recorder = EventRecorder(cluster, "me", clock=machine_clock)
    await recorder.start()
    recorder.emit(body, EventType.WARNING, "ResourceConflict", "the name is taken")
    async with asyncio.timeout(20):
        while not (found := await cluster.list("Event", namespace)):  # noqa: ASYNC110  (nothing tells of it)
            await asyncio.sleep(0.05)
    await recorder.stop()
    (event,) = found
    assert (event["type"], event["reason"], event["involvedObject"]["uid"]) == (
        "Warning", "ResourceConflict", body["metadata"]["uid"],
    )  # fmt: skip


async def test_a_deletion_that_no_watch_has_told_of_is_noticed(
    cluster: Cluster, cache: ObjectCache, envtest: Envtest, namespace: str
) -> None:
    install_crds(envtest)
    for name in ("orders", "mail"):
        cache.put(make_queue(envtest, namespace, name))
    envtest.admin.request("DELETE", f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/taskqueues/mail")
    sync = CacheSync(cluster, cache, namespaces=(namespace,))
    await sync.sync(names.QUEUE, namespace)
    assert [key.name for key in cache.keys(names.QUEUE)] == ["orders"]
    cache.put(make_queue(envtest, namespace, "newer"))
    assert {key.name for key in cache.keys(names.QUEUE)} == {"orders", "newer"}


# -- the process


def test_after_a_restart_of_the_api_server_the_watches_go_on(envtest: Envtest, namespace: str, tmp_path: Path) -> None:
    install_crds(envtest)
    make_queue(envtest, namespace, "orders")
    process = ledger_operator(tmp_path, envtest, namespace, "a", every=3600.0)
    try:
        until("the object had its pass", lambda: len(ledger(envtest, namespace)) == 1, process=process)
        envtest.kill()
        envtest.ensure()
        make_queue(envtest, namespace, "mail")
        until(
            "the new one has its pass",
            lambda: any(name.startswith("mail-") for name in ledger_names(envtest, namespace)),
            process=process,
            seconds=60.0,
        )
        assert process.alive
    finally:
        process.kill()


def test_the_watches_write_nothing_to_the_objects_and_the_process_says_how_it_is(
    envtest: Envtest, namespace: str, tmp_path: Path
) -> None:
    install_crds(envtest)
    before = make_queue(envtest, namespace, "orders")
    process = ledger_operator(tmp_path, envtest, namespace, "a", every=3600.0)
    try:
        until("the object had its pass", lambda: len(ledger(envtest, namespace)) == 1, process=process)
        until("it is ready", lambda: process.ready, process=process)
        path = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/taskqueues/orders"
        assert envtest.admin.request("GET", path)["metadata"]["resourceVersion"] == version(before)
        make_queue(envtest, namespace, "mail")
        until("the new one has its pass", lambda: len(ledger(envtest, namespace)) == 2, process=process)
        ready = process.ask("/readyz")
        assert ready is not None
        assert {"event loop", "work queue", "elector", "watch TaskQueue", "cache", "lease"} <= set(ready.json["checks"])
        assert process.metric('laneway_operator_reconciles_total{kind="TaskQueue",result="done"}') == 2
        assert process.metric('laneway_operator_objects{kind="TaskQueue"}') == 2
        assert process.metric("laneway_operator_leader_epoch") == 1
        assert process.metric('laneway_operator_api_requests_total{code="200",resource="taskqueues",verb="watch"}') >= 1
        assert not [line for line in process.events() if line["level"] in ("error", "warning")], process.log_tail()
        process.stop(timeout=20)
        assert process.said("operator stopped")
    finally:
        process.kill()


def run_check(kubeconfig: Path, namespace: str, *args: str) -> tuple[int, Any]:
    """`laneway-operator check --json`: its exit code and output."""
    command = [sys.executable, "-m", "laneway_operator", "check", "--kubeconfig", str(kubeconfig), "--json", *args]
    command += ["--namespaces", namespace, "--lease-namespace", namespace]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def grant(envtest: Envtest, namespace: str, account: str, without: str = "") -> None:
    """Grants a ServiceAccount what the operator needs, but for one resource."""
    rules = [
        {
            "apiGroups": [permission.group], "resources": [permission.resource], "verbs": list(permission.verbs),
            **({"resourceNames": [permission.name]} if permission.name else {}),
        }
        for permission in needed()
        if permission.resource != without
    ]  # fmt: skip
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    envtest.admin.request("POST", f"{rbac}/roles", {"metadata": {"name": account}, "rules": rules})
    binding = {
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    envtest.admin.request("POST", f"{rbac}/rolebindings", binding)


def test_the_check_is_ok_with_just_the_rights_that_are_listed(envtest: Envtest, namespace: str) -> None:
    install_crds(envtest)
    kubeconfig = envtest.service_account_kubeconfig(namespace, "operator")
    grant(envtest, namespace, "operator")
    until("the rights hold", lambda: run_check(kubeconfig, namespace)[0] == 0)
    _, said = run_check(kubeconfig, namespace)
    assert said["ok"]
    assert {check["result"] for check in said["checks"]} == {"ok"}


def test_the_check_names_each_right_that_is_missing_and_what_it_is_for(envtest: Envtest, namespace: str) -> None:
    install_crds(envtest)
    kubeconfig = envtest.service_account_kubeconfig(namespace, "poor")
    grant(envtest, namespace, "poor", without="deployments")
    until("the rights hold", lambda: len(failed(run_check(kubeconfig, namespace)[1])) == 1)
    code, said = run_check(kubeconfig, namespace)
    (only,) = failed(said)
    assert code == 1
    assert "deployments.apps" in only["what"]
    assert "get, list, watch, create, patch, delete is not allowed; it runs gateways" in only["detail"]


def failed(said: Any) -> list[dict[str, str]]:
    """The checks that failed."""
    return [check for check in said["checks"] if check["result"] != "ok"]


def assert_waits_for_crds(bare: Envtest, folder: Path) -> None:
    """An operator that is there before the CRDs says so, and works once they come."""
    process = ledger_operator(folder, bare, "default", "early", every=3600.0)
    try:
        until("it says what it waits for", lambda: process.said("can't watch yet; it is tried again"), process=process)
        live, ready = process.ask("/healthz"), process.ask("/readyz")
        assert live is not None and live.status == 200
        assert ready is not None and ready.status == 503
        assert any("TaskQueue" in reason for reason in ready.json["reasons"])
        install_crds(bare)
        make_queue(bare, "default", "orders")
        until("the queue has its pass", lambda: len(ledger(bare, "default")) == 1, process=process)
        assert process.ready
    finally:
        process.kill()


def test_before_the_crds_are_there_the_check_says_so_and_the_operator_waits_for_them(tmp_path: Path) -> None:
    from servers.need import require

    require("kubernetes")
    with Envtest(dir=tmp_path / "bare") as bare:
        code, said = run_check(bare.kubeconfig, "default")
        assert_waits_for_crds(bare, tmp_path)
        bare.stop()
        gone, message = run_check(bare.kubeconfig, "default")
    assert code == 1
    assert [check["what"] for check in failed(said)] == [f"CRD {kind}" for kind in names.OUR_KINDS]
    assert "install the CRDs" in failed(said)[0]["detail"]
    assert gone == 5
    assert "Unreachable" in failed(message)[0]["detail"]
