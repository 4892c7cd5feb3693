"""The objects that the operator owns, as it builds them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.whole import POOL, QUEUE

from laneway.model.manifests import TaskQueue, WorkerPool
from laneway_operator.resources.connection import connection
from laneway_operator.resources.parts import pool_objects, queue_objects

Object = dict[str, Any]


def body(kind: str, spec: Object, name: str = "q") -> Object:
    return {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "team", "uid": "uid-1"},
        "spec": spec,
    }


def queue_of(**spec: Any) -> TaskQueue:
    return TaskQueue.model_validate({"metadata": {"name": "q", "namespace": "team"}, "spec": spec})


def pool_of(**spec: Any) -> WorkerPool:
    wanted = {"queueRef": {"name": "q"}, "app": "shop.tasks:app", **spec}
    return WorkerPool.model_validate({"metadata": {"name": "p", "namespace": "team"}, "spec": wanted})


def made(**spec: Any) -> dict[tuple[str, str], Object]:
    found = queue_objects(
        queue_of(**spec), body("TaskQueue", spec), image="laneway:1", version="1.2", default_redis="redis://r:6379",
        credentials_hash="abc",
    )  # fmt: skip
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def made_pool(queue: TaskQueue | None = None, replicas: int | None = 2, **spec: Any) -> Object:
    pool = pool_of(**spec)
    found = pool_objects(
        queue or queue_of(), pool, body("WorkerPool", {"queueRef": {"name": "q"}}, "p"), replicas, image="laneway:1",
        version="1.2", default_redis="redis://r:6379", credentials_hash="abc",
    )  # fmt: skip
    return next(one for one in found if one["kind"] == "Deployment")


def container(deployment: Object) -> Object:
    found: Object = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def env(deployment: Object) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(deployment)["env"]}


def test_a_queue_owns_a_service_and_two_parts_with_their_budget_and_policy() -> None:
    assert set(made()) == {
        ("Service", "laneway-q"),
        *((kind, name) for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy")
          for name in ("laneway-q-gateway", "laneway-q-poller")),
    }  # fmt: skip


def test_everything_that_is_owned_names_its_owner_and_who_made_it() -> None:
    for one in made().values():
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("uid-1", True, True)
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "laneway-operator"
        assert one["metadata"]["labels"]["laneway.dev/queue"] == "q"


@pytest.mark.parametrize("part", ["gateway", "poller"])
def test_services_budgets_and_policies_choose_the_pods_of_their_part(part: str) -> None:
    found = made()
    name = f"laneway-q-{part}"
    labels = found["Deployment", name]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Deployment", name]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"],
    ]
    if part == "gateway":
        selectors.append(found["Service", "laneway-q"]["spec"]["selector"])
    assert all(selector.items() <= labels.items() for selector in selectors)
    other = found["Deployment", f"laneway-q-{'poller' if part == 'gateway' else 'gateway'}"]
    assert not selectors[0].items() <= other["spec"]["template"]["metadata"]["labels"].items()


def test_a_new_version_of_laneway_alone_restarts_no_pod() -> None:
    one, other = (
        queue_objects(queue_of(), body("TaskQueue", {}), image="i", version=version, default_redis="redis://r",
                      credentials_hash="x")
        for version in ("1", "2")
    )  # fmt: skip
    assert one != other
    templates = [[each["spec"].get("template") for each in found] for found in (one, other)]
    assert templates[0] == templates[1]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"maxDepth": 5}},
        {"paused": True},
        {"retry": {"maxAttempts": 9}},
        {"tenants": {"defaults": {"maxRunning": 3}}},
        {"gateway": {"replicas": 7}},
    ],
)
def test_live_configuration_and_sizes_are_in_no_pod_template(change: Object) -> None:
    before, after = made(), made(**change)
    assert [one["spec"].get("template") for one in before.values()] == [
        one["spec"].get("template") for one in after.values()
    ]


def test_other_credentials_restart_the_pods() -> None:
    one, other = (
        queue_objects(queue_of(), body("TaskQueue", {}), image="i", version="1", default_redis="redis://r",
                      credentials_hash=hash)
        for hash in ("x", "y")
    )  # fmt: skip
    assert [each["spec"].get("template") for each in one] != [each["spec"].get("template") for each in other]


def test_pods_may_do_little() -> None:
    for deployment in (*made().values(), made_pool()):
        if deployment["kind"] != "Deployment":
            continue
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        secured = container(deployment)["securityContext"]
        assert secured == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        }  # fmt: skip


def test_why_a_pod_can_not_start_reaches_its_status() -> None:
    for deployment in (*made().values(), made_pool()):
        if deployment["kind"] == "Deployment":
            assert container(deployment)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_secrets_reach_pods_by_reference_only() -> None:
    queue = TaskQueue.model_validate({**QUEUE, "metadata": {"name": "q", "namespace": "team"}})
    found = connection(queue, "redis://default")
    by_name = {one["name"]: one for one in found.env}
    assert by_name["LANEWAY_REDIS_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "secret.x", "key": "Key_1"}}
    assert by_name["LANEWAY_KAFKA_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "secret.x", "key": "Key_1"}}
    assert by_name["LANEWAY_KAFKA_SASL_MECHANISM"]["value"] == "SCRAM-SHA-512"
    assert by_name["LANEWAY_REDIS_CA_FILE"]["value"] == "/etc/laneway/tls/redis/ca.crt"
    assert by_name["LANEWAY_KAFKA_KEY_FILE"]["value"] == "/etc/laneway/tls/kafka/tls.key"
    assert by_name["LANEWAY_CLUSTER"]["value"] == "true"
    assert [mount["mountPath"] for mount in found.mounts] == ["/etc/laneway/tls/redis", "/etc/laneway/tls/kafka"]
    files = [item for source in found.volumes[0]["projected"]["sources"] for item in source["secret"]["items"]]
    assert [item["path"] for item in files] == ["ca.crt", "tls.crt", "tls.key"]


def test_gateways_are_told_of_kafka_as_pollers_are_since_they_read_the_events_there() -> None:
    found = made(kafka={"bootstrapServers": ["k:9092"]})
    assert env(found["Deployment", "laneway-q-gateway"])["LANEWAY_KAFKA"] == "k:9092"
    assert env(found["Deployment", "laneway-q-poller"])["LANEWAY_KAFKA"] == "k:9092"
    assert "LANEWAY_KAFKA" not in env(made()["Deployment", "laneway-q-gateway"])


def test_a_worker_runs_the_users_app_with_its_numbers() -> None:
    found = made_pool(image="shop:7", concurrency=5, threads=3, processes=2, drainTimeout="90s",
                      recycle={"maxTasks": 10, "maxMemory": "100Mi"})  # fmt: skip
    assert container(found)["image"] == "shop:7"
    assert container(found)["command"] == [
        "laneway", "worker", "--slots", "5", "--threads", "3", "--processes", "2", "--drain", "90s",
        "--recycle-tasks", "10", "--recycle-mb", "100",
    ]  # fmt: skip
    assert env(found)["LANEWAY_APP"] == "shop.tasks:app"
    assert env(found)["LANEWAY_WORKER_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 90 + 15


def test_a_variable_of_laneways_own_that_the_pool_sets_is_there_once_as_the_pool_says() -> None:
    found = made_pool(env=[{"name": "LANEWAY_LOG_LEVEL", "value": "debug"}, {"name": "LANEWAY_APP", "value": "a:b"}])
    named = [one["name"] for one in container(found)["env"]]
    assert len(named) == len(set(named))
    assert env(found)["LANEWAY_APP"] == "a:b" and env(found)["LANEWAY_LOG_LEVEL"] == "debug"


def test_a_gateway_gets_the_variables_of_its_queue_after_laneways_own() -> None:
    otel = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}
    found = made(gateway={"env": [otel]})
    assert container(found["Deployment", "laneway-q-gateway"])["env"][-1] == otel
    assert otel not in container(found["Deployment", "laneway-q-poller"])["env"]


def test_the_users_variables_come_after_laneways_own() -> None:
    found = made_pool(env=[{"name": "A", "value": "1"}, {"name": "B", "secretRef": {"name": "s", "key": "k"}}])
    assert [one["name"] for one in container(found)["env"]][-2:] == ["A", "B"]
    assert env(found)["B"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_another_size_of_a_pool_restarts_no_pod() -> None:
    one, other = made_pool(replicas=1), made_pool(replicas=5)
    assert one["spec"]["template"] == other["spec"]["template"]
    assert (one["spec"]["replicas"], other["spec"]["replicas"]) == (1, 5)


@pytest.mark.parametrize(
    "change", [{"image": "shop:8"}, {"app": "shop.other:app"}, {"env": [{"name": "A", "value": "2"}]}, {"processes": 2}]
)
def test_another_thing_to_run_restarts_the_pods(change: Object) -> None:
    assert made_pool()["spec"]["template"] != made_pool(**change)["spec"]["template"]


def test_the_size_is_left_out_where_others_set_it() -> None:
    found = made_pool(replicas=None)
    assert "replicas" not in found["spec"]
    assert found["metadata"]["annotations"]["laneway.dev/sized-by"] == "Others"


def test_all_fields_of_a_pod_are_handed_on_and_none_hides_the_operators_labels() -> None:
    pool = dict(POOL["spec"])
    found = made_pool(**{name: value for name, value in pool.items() if name not in ("queueRef", "app")})
    spec = found["spec"]["template"]["spec"]
    for field in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName",
                  "serviceAccountName", "imagePullSecrets", "runtimeClassName"):  # fmt: skip
        assert spec[field], field
    assert found["spec"]["template"]["metadata"]["labels"]["team"] == "a"
    assert container(found)["resources"]["limits"]["example.com/gpu"] == 1
    assert container(found)["envFrom"] == [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]
    assert spec["automountServiceAccountToken"] is True
    assert [volume["name"] for volume in spec["volumes"]][-1] == "data"
