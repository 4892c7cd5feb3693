"""With the real controllers of Deployments and ReplicaSets: Ready follows a rollout, and not the number of pods."""

from __future__ import annotations

from typing import Any

from tests.operator.running import World, until

from servers.redis import RedisServer

Object = dict[str, Any]


def pods(world: World, image: str = "") -> list[Object]:
    items: list[Object] = world.client.request("GET", f"{world.path('Pod')}?labelSelector=laneway.dev/pool%3Dwp")[
        "items"
    ]
    return [
        pod for pod in items
        if not pod["metadata"].get("deletionTimestamp") and image in pod["spec"]["containers"][0]["image"]
    ]  # fmt: skip


def run(world: World, image: str, count: int) -> None:
    """Says of so many pods, once they are there, what their kubelet would when they run."""
    found = until(f"{count} pods of {image}", lambda: (
        here if len(here := pods(world, image)) >= count else None
    ))  # fmt: skip
    for pod in found:
        ready = [{"type": type, "status": "True"} for type in ("Ready", "ContainersReady", "PodScheduled")]
        world.patch("Pod", pod["metadata"]["name"], {"status": {"phase": "Running", "conditions": ready}}, "status")


def since(world: World) -> Object:
    found = world.condition("WorkerPool", "wp", "Ready")
    return {name: found[name] for name in ("status", "lastTransitionTime")}


def test_a_pool_grows_rolls_out_sleeps_and_wakes(controlled: World, redis7: RedisServer) -> None:
    world = controlled
    redis7.ensure()
    world.create("TaskQueue", "q", {"redis": {"url": redis7.url}})
    wanted = {"queueRef": {"name": "q"}, "app": "shop.tasks:app", "image": "shop:1", "replicas": 2}
    world.create("WorkerPool", "wp", wanted)
    run(world, "shop:1", 2)
    world.told("WorkerPool", "wp", "Ready", "True")

    before = since(world)
    world.next_second()
    world.patch("WorkerPool", "wp", {"spec": {"replicas": 4}})
    world.told("WorkerPool", "wp", "Reconciling", "True", "PodsStarting")
    run(world, "shop:1", 4)
    world.told("WorkerPool", "wp", "Reconciling", "False")
    assert since(world) == before | {"status": "True"}

    world.patch("WorkerPool", "wp", {"spec": {"image": "localhost/nope:3"}})
    world.told("WorkerPool", "wp", "Ready", "False", "Progressing")
    until("a new pod", lambda: pods(world, "nope:3"))
    new = pods(world, "nope:3")[0]["metadata"]["name"]
    world.pod_says(new, waiting={"reason": "ErrImagePull", "message": "not found"})
    told = world.told("WorkerPool", "wp", "Ready", "False", "PodsFailing")
    assert f"{new}: ErrImagePull localhost/nope:3: not found" in told["message"]
    assert world.condition("WorkerPool", "wp", "Ready")["status"] == "False"

    world.patch("WorkerPool", "wp", {"spec": {"image": "shop:2"}})
    world.told("WorkerPool", "wp", "Ready", "False", "Progressing")

    def all_new() -> bool:
        run(world, "shop:2", 1)
        return bool(world.condition("WorkerPool", "wp", "Ready")["status"] == "True")

    until("the new pods are ready", all_new)
    assert (len(pods(world)), len(pods(world, "shop:2"))) == (4, 4)

    warned = [one for one in world.events("wp") if one[0] == "Warning"]
    world.patch("WorkerPool", "wp", {"spec": {"replicas": 0}})
    world.told("WorkerPool", "wp", "WorkersAvailable", "True", "ScaledToZero")
    until("no pods", lambda: not pods(world))
    world.patch("WorkerPool", "wp", {"spec": {"replicas": 1}})
    world.told("WorkerPool", "wp", "Ready", "False", "Progressing")
    run(world, "shop:2", 1)
    world.told("WorkerPool", "wp", "Ready", "True")
    assert [one for one in world.events("wp") if one[0] == "Warning"] == warned
