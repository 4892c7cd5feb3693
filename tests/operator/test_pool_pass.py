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
