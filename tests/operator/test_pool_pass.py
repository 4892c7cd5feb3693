"""A WorkerPool that is applied becomes a Deployment of workers, which restarts for what it runs alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.running import World, until

from servers.redis import RedisServer

Object = dict[str, Any]


@pytest.fixture
def queue(world: World, redis7: RedisServer) -> str:
    """A queue for all pools here."""
    redis7.ensure()
    if world.find("TaskQueue", "pools") is None:
        world.create("TaskQueue", "pools", {"redis": {"url": redis7.url}})
    return "pools"


def create(world: World, name: str, queue: str = "pools", **spec: Any) -> Object:
    wanted = {"queueRef": {"name": queue}, "app": "shop.tasks:app", "image": "shop:1", **spec}
    return world.create("WorkerPool", name, wanted)


def template(world: World, name: str) -> Object:
    found: Object = world.get("Deployment", f"laneway-{name}-worker")["spec"]["template"]
    return found


def test_an_applied_pool_runs_the_users_image_and_says_how_many(world: World, queue: str) -> None:
    create(world, "wp", replicas=3, env=[{"name": "A", "value": "1"}])
    deployment = world.applied("Deployment", "laneway-wp-worker")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], deployment["spec"]["replicas"]) == ("shop:1", 3)
    assert {"name": "LANEWAY_APP", "value": "shop.tasks:app"} in container["env"]
    world.told("WorkerPool", "wp", "WorkersAvailable", "False")
    world.make_available("laneway-wp-worker")
    world.told("WorkerPool", "wp", "Ready", "True")
    status = world.get("WorkerPool", "wp")["status"]
    assert (status["replicas"], status["readyReplicas"], status["desiredReplicas"]) == (3, 3, 3)
    selected = dict(part.split("=") for part in status["selector"].split(","))
    assert selected == deployment["spec"]["selector"]["matchLabels"]
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        world.applied(kind, "laneway-wp-worker")


def test_another_size_restarts_nothing_and_kubectl_scale_sets_it(world: World, queue: str) -> None:
    create(world, "wps", replicas=1)
    world.applied("Deployment", "laneway-wps-worker")
    before = template(world, "wps")
    world.patch("WorkerPool", "wps", {"spec": {"replicas": 4}}, "scale")  # as kubectl scale does
    until("4 replicas", lambda: world.get("Deployment", "laneway-wps-worker")["spec"]["replicas"] == 4)
    assert template(world, "wps") == before


def test_another_image_restarts_the_workers_once(world: World, queue: str) -> None:
    create(world, "wpi")
    made = world.applied("Deployment", "laneway-wpi-worker")
    world.patch("WorkerPool", "wpi", {"spec": {"image": "shop:2"}})
    until("the new image", lambda: template(world, "wpi")["spec"]["containers"][0]["image"] == "shop:2")
    after = world.get("Deployment", "laneway-wpi-worker")
    assert after["metadata"]["generation"] == made["metadata"]["generation"] + 1


def test_limits_of_the_queue_restart_no_worker(world: World, queue: str) -> None:
    create(world, "wpl")
    before = world.applied("Deployment", "laneway-wpl-worker")["metadata"]["generation"]
    generation = world.get("TaskQueue", queue)["metadata"]["generation"]
    world.patch("TaskQueue", queue, {"spec": {"limits": {"maxDepth": 1000 + generation}}})
    until("the queue's pass is done", lambda: (
        world.get("TaskQueue", queue)["status"]["observedGeneration"] == generation + 1
    ))  # fmt: skip
    # The pool was woken by that as well; a change of its own shows that it had a pass since.
    world.patch("WorkerPool", "wpl", {"spec": {"replicas": 2}})
    until("2 replicas", lambda: world.get("Deployment", "laneway-wpl-worker")["spec"]["replicas"] == 2)
    assert world.get("Deployment", "laneway-wpl-worker")["metadata"]["generation"] == before + 1


def test_an_edited_or_deleted_deployment_is_as_before(world: World, queue: str) -> None:
    create(world, "wpd")
    before = world.applied("Deployment", "laneway-wpd-worker")
    world.patch("Deployment", "laneway-wpd-worker", {"spec": {"replicas": 7}})
    until("the old size", lambda: world.get("Deployment", "laneway-wpd-worker")["spec"] == before["spec"])
    world.delete("Deployment", "laneway-wpd-worker")
    again = world.applied("Deployment", "laneway-wpd-worker")
    assert again["metadata"]["uid"] != before["metadata"]["uid"]
    assert again["spec"] == before["spec"]


def test_a_pool_of_no_queue_waits_for_one(world: World, redis7: RedisServer) -> None:
    create(world, "orphan", "orphans")
    told = world.told("WorkerPool", "orphan", "Ready", "False", "QueueNotFound")
    assert "there is no TaskQueue orphans" in told["message"]
    assert world.find("Deployment", "laneway-orphan-worker") is None
    world.create("TaskQueue", "orphans", {"redis": {"url": redis7.url}})
    world.applied("Deployment", "laneway-orphan-worker")


def test_a_missing_secret_is_named_and_waited_for(world: World, queue: str) -> None:
    create(world, "wpx", env=[{"name": "TOKEN", "secretRef": {"name": "wpx-token", "key": "token"}}])
    told = world.told("WorkerPool", "wpx", "Ready", "False", "SecretNotFound")
    assert f"Secret wpx-token in namespace {world.namespace}" in told["message"]
    assert world.find("Deployment", "laneway-wpx-worker") is None
    world.secret("wpx-token", other="1")
    until("the key is named", lambda: (
        "key token of Secret wpx-token" in world.condition("WorkerPool", "wpx", "Ready")["message"]
    ))  # fmt: skip
    world.secret("wpx-token", token="1")
    world.applied("Deployment", "laneway-wpx-worker")


def test_a_pod_setting_that_kubernetes_refuses_is_told(world: World, queue: str) -> None:
    create(world, "wpbad", volumes=[{"name": "v", "hostPath": {"path": "../etc"}}])
    told = world.told("WorkerPool", "wpbad", "Ready", "False", "InvalidSpec")
    assert "hostPath" in told["message"]
    world.patch("WorkerPool", "wpbad", {"spec": {"volumes": []}})
    world.applied("Deployment", "laneway-wpbad-worker")


def test_the_reconcile_annotation_leaves_the_workers_alone(world: World, queue: str) -> None:
    create(world, "wph")
    world.applied("Deployment", "laneway-wph-worker")
    world.patch("WorkerPool", "wph", {"metadata": {"annotations": {"laneway.dev/reconcile": "Paused"}}})
    world.told("WorkerPool", "wph", "Paused", "True")
    world.patch("Deployment", "laneway-wph-worker", {"spec": {"replicas": 5}})
    create(world, "wph-other")
    world.applied("Deployment", "laneway-wph-other-worker")
    assert world.get("Deployment", "laneway-wph-worker")["spec"]["replicas"] == 5
    world.patch("WorkerPool", "wph", {"metadata": {"annotations": {"laneway.dev/reconcile": None}}})
    until("the size asked for", lambda: world.get("Deployment", "laneway-wph-worker")["spec"]["replicas"] == 1)


def test_a_change_of_image_is_ready_when_the_new_pods_are(world: World, queue: str) -> None:
    create(world, "wpr", replicas=2)
    world.make_available("laneway-wpr-worker")
    world.told("WorkerPool", "wpr", "Ready", "True")
    world.patch("WorkerPool", "wpr", {"spec": {"image": "localhost/nope:3"}})
    # As kubectl wait looks: a condition about an older generation does not count.
    until("the pool is not ready for its new image", lambda: (
        (one := world.condition("WorkerPool", "wpr", "Ready"))["observedGeneration"] == 2 and one["status"] == "False"
    ))  # fmt: skip
    world.told("WorkerPool", "wpr", "Reconciling", "True", "Progressing")
    newest = world.get("Deployment", "laneway-wpr-worker")["metadata"]["generation"]
    numbers = {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2}
    world.patch("Deployment", "laneway-wpr-worker", {"status": {**numbers, "observedGeneration": newest}}, "status")
    until("the rollout is told", lambda: (
        "1 of 2 pods are updated, 2 available" in world.condition("WorkerPool", "wpr", "Ready")["message"]
    ))  # fmt: skip

    pod = world.create_pod("laneway-wpr-worker", "laneway-wpr-worker-x1")
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    world.pod_says(pod, waiting=waiting)
    told = world.told("WorkerPool", "wpr", "Ready", "False", "PodsFailing")
    assert f"{pod}: ImagePullBackOff localhost/nope:3" in told["message"]
    assert world.event("wpr", "PodsFailing")[0] == "Warning"

    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    world.patch("Deployment", "laneway-wpr-worker", {"status": {"conditions": [stuck]}}, "status")
    assert pod in world.told("WorkerPool", "wpr", "Stalled", "True", "RolloutStuck")["message"]
    world.patch("Deployment", "laneway-wpr-worker", {"status": {"conditions": []}}, "status")
    world.make_available("laneway-wpr-worker")
    world.told("WorkerPool", "wpr", "Ready", "True")
    world.told("WorkerPool", "wpr", "Stalled", "False")


def test_a_pool_that_grows_stays_ready_and_one_that_wakes_warns_of_nothing(world: World, queue: str) -> None:
    create(world, "wpg", replicas=2)
    world.make_available("laneway-wpg-worker")
    world.told("WorkerPool", "wpg", "Ready", "True")
    since = world.condition("WorkerPool", "wpg", "Ready")["lastTransitionTime"]
    world.next_second()
    world.patch("WorkerPool", "wpg", {"spec": {"replicas": 4}})
    until("4 replicas", lambda: world.get("Deployment", "laneway-wpg-worker")["spec"]["replicas"] == 4)
    complete = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    lacking = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}
    newest = world.get("Deployment", "laneway-wpg-worker")["metadata"]["generation"]
    numbers = {"replicas": 4, "updatedReplicas": 4, "readyReplicas": 2, "availableReplicas": 2}
    status = {**numbers, "observedGeneration": newest, "conditions": [complete, lacking]}
    world.patch("Deployment", "laneway-wpg-worker", {"status": status}, "status")
    world.told("WorkerPool", "wpg", "Reconciling", "True", "PodsStarting")
    ready = world.condition("WorkerPool", "wpg", "Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", since)
    world.make_available("laneway-wpg-worker")
    world.told("WorkerPool", "wpg", "Reconciling", "False")

    world.patch("WorkerPool", "wpg", {"spec": {"replicas": 0}})
    world.told("WorkerPool", "wpg", "WorkersAvailable", "True", "ScaledToZero")
    world.patch("WorkerPool", "wpg", {"spec": {"replicas": 1}})
    # The Deployment's status is still that of four pods: none of them counts.
    world.told("WorkerPool", "wpg", "WorkersAvailable", "False", "Progressing")
    assert not [one for one in world.events("wpg") if one[0] == "Warning"]


def test_a_pool_is_not_ready_while_its_queue_can_not_work(world: World, redis7: RedisServer) -> None:
    world.create("TaskQueue", "shut", {"redis": {"secretRef": {"name": "shut-redis", "key": "url"}}})
    world.secret("shut-redis", url=redis7.url)
    create(world, "wpq", "shut")
    world.make_available("laneway-wpq-worker")
    world.told("WorkerPool", "wpq", "Ready", "True")
    world.patch("TaskQueue", "shut", {"spec": {"kafka": None, "durability": "Replica", "ackReplicas": 3}})
    world.told("TaskQueue", "shut", "LimiterReady", "False", "ServerRefused")
    told = world.told("WorkerPool", "wpq", "Ready", "False", "QueueNotReady")
    assert "the TaskQueue shut is not ready: ServerRefused: durability: Replica" in told["message"]
    world.told("WorkerPool", "wpq", "WorkersAvailable", "True")
    world.patch("TaskQueue", "shut", {"spec": {"durability": "Fast", "ackReplicas": None}})
    world.told("WorkerPool", "wpq", "Ready", "True")
