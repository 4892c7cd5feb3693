"""The operator's process sizes pools by their queue, as an API server sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.operator.running import World, until

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import new_incarnation, new_task_id
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from servers.redis import RedisServer

Object = dict[str, Any]

SCALING: Object = {"min": 0, "max": 10, "target": {"tasksPerReplica": 10}, "stabilization": "1s"}
ENVELOPE = encode_envelope(Envelope(1, 4, 3, "", Body("t", b"\x80")))


class Queue:
    """A TaskQueue in the world, and its tasks in Redis."""

    def __init__(self, world: World, url: str, name: str) -> None:
        self.world, self.url, self.name = world, url, name
        world.create("TaskQueue", name, {"redis": {"url": url}})
        world.told("TaskQueue", name, "LimiterReady", "True")

    def pool(self, name: str, *, replicas: int = 0, **scaling: Any) -> Object:
        spec = {"queueRef": {"name": self.name}, "app": "a:app", "image": "shop:1", "concurrency": 4}
        made = self.world.create("WorkerPool", name, {**spec, "replicas": replicas, "scaling": {**SCALING, **scaling}})
        self.world.applied("Deployment", f"laneway-{name}-worker")
        return made

    def size(self, pool: str, replicas: int) -> Object:
        """The pool, once its Deployment asks for so many."""

        def look() -> bool:
            found = self.world.find("Deployment", f"laneway-{pool}-worker")
            return found is not None and found["spec"]["replicas"] == replicas

        until(f"{replicas} replicas of {pool}", look)
        return self.world.get("WorkerPool", pool)

    def do(self, work: Callable[[RedisStore], Awaitable[Any]]) -> Any:
        async def with_store() -> Any:
            store = RedisStore(self.url, self.name, namespace=self.world.namespace)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(with_store())

    def submit(self, n: int) -> None:
        async def submit(store: RedisStore) -> None:
            results = await store.submit([(new_task_id(), ENVELOPE) for _ in range(n)])
            assert {result.code for result in results} == {"accepted"}

        self.do(submit)

    def hold(self, worker: str, n: int) -> tuple[bytes, list[Settlement]]:
        """A worker that holds so many tasks."""

        async def hold(store: RedisStore) -> tuple[bytes, list[Settlement]]:
            inc = new_incarnation()
            await store.register(inc, worker, "direct", 100, 0, 0)
            await store.heartbeat(inc, 2, 100, 0, [])
            turn = await store.turn(inc, 1, n, [])
            assert len(turn.tasks) == n
            return inc, [Settlement(Kind.COMPLETE, task.id, task.fence) for task in turn.tasks]

        found: tuple[bytes, list[Settlement]] = self.do(hold)
        return found

    def settle(self, inc: bytes, settled: list[Settlement]) -> None:
        assert self.do(lambda store: store.settle(inc, settled)) == {}


@pytest.fixture
def queue(world: World, redis7: RedisServer, request: pytest.FixtureRequest) -> Queue:
    redis7.ensure()
    return Queue(world, redis7.url, f"s{abs(hash(request.node.name)) % 10**9}")


def hpas(world: World) -> str:
    return f"/apis/autoscaling/v2/namespaces/{world.namespace}/horizontalpodautoscalers"


@pytest.fixture(scope="module", autouse=True)
def contested(_world_session: World, redis7: RedisServer) -> tuple[Queue, Object]:
    """A queue whose pool ``sf`` another's HPA scales, and that HPA.

    The operator lists others' HPAs twice a minute: it is made first and looked at last, so that nobody waits for that.
    """
    redis7.ensure()
    target = {"apiVersion": "laneway.dev/v1alpha1", "kind": "WorkerPool", "name": "sf"}
    theirs = {"metadata": {"name": "keda-hpa"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    made = _world_session.client.request("POST", hpas(_world_session), theirs)
    queue = Queue(_world_session, redis7.url, "contested")
    queue.pool("sf", replicas=2)
    return queue, made


def test_a_pool_goes_from_zero_to_what_it_needs_and_back(world: World, queue: Queue) -> None:
    queue.pool("sz")
    queue.size("sz", 0)
    world.told("WorkerPool", "sz", "ScalingActive", "True", "ScaledToZero")
    queue.submit(35)
    queue.size("sz", 4)
    world.told("WorkerPool", "sz", "ScalingActive", "True", "Scaled")
    scaling = world.get("WorkerPool", "sz")["status"]["scaling"]
    assert (scaling["desired"], scaling["raw"], scaling["limitedBy"]) == (4, 4, "Target")
    assert scaling["formula"] == "ceil((queued 35 + running 0) / 10 per replica) = 4"
    assert scaling["inputs"] == {"queued": 35, "running": 0, "slotsPerReplica": 4, "replicas": 0}
    inc, held = queue.hold("w", 35)
    queue.settle(inc, held)
    queue.size("sz", 0)
    world.told("WorkerPool", "sz", "ScalingActive", "True", "ScaledToZero")


def test_a_new_pool_begins_at_its_least_whatever_replicas_says(world: World, queue: Queue) -> None:
    queue.pool("snew", replicas=5, stabilization="10m")
    queue.size("snew", 0)
    # The Deployment is made before the status is written.
    world.told("WorkerPool", "snew", "ScalingActive", "True", "ScaledToZero")
    assert world.get("WorkerPool", "snew")["status"]["scaling"]["desired"] == 0


def test_depths_that_make_no_difference_are_not_written(world: World, queue: Queue) -> None:
    queue.pool("sq")
    queue.submit(1)
    queue.size("sq", 1)
    world.told("WorkerPool", "sq", "ScalingActive", "True", "Scaled")
    before = world.get("WorkerPool", "sq")["metadata"]["resourceVersion"]
    queue.submit(8)

    def read() -> bool:
        return world.operator.metric("laneway_operator_pool_load", pool="sq") == 0.9

    until("the operator has read the new depth", read)
    assert world.get("WorkerPool", "sq")["metadata"]["resourceVersion"] == before


def test_busy_pods_are_marked_before_the_pool_shrinks(world: World, queue: Queue) -> None:
    queue.pool("sd", replicas=3)
    labels = world.get("Deployment", "laneway-sd-worker")["spec"]["template"]["metadata"]["labels"]
    pods = f"/api/v1/namespaces/{world.namespace}/pods"
    for name in ("sd-idle", "sd-busy", "sd-busier"):
        spec = {"containers": [{"name": "c", "image": "shop:1"}]}
        world.client.request("POST", pods, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    queue.submit(25)
    queue.size("sd", 3)
    queue.hold("sd-busier-0", 3)
    queue.hold("sd-busy", 1)
    inc, held = queue.hold("elsewhere", 21)
    queue.settle(inc, held)
    queue.size("sd", 1)

    def costs() -> dict[str, str | None]:
        cost = "controller.kubernetes.io/pod-deletion-cost"
        items = world.client.request("GET", f"{pods}?labelSelector=laneway.dev/pool%3Dsd")["items"]
        return {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(cost) for pod in items}

    assert costs() == {"sd-idle": None, "sd-busy": "1", "sd-busier": "3"}


def test_a_shadow_shows_its_decision_and_kubectl_scale_has_its_way(world: World, queue: Queue) -> None:
    queue.pool("sh", replicas=2, shadow=True)
    queue.submit(65)

    def decided() -> bool:
        scaling = world.get("WorkerPool", "sh").get("status", {}).get("scaling") or {}
        return scaling.get("desired") == 7 and scaling["shadow"] is True

    until("the shadow's decision", decided)
    queue.size("sh", 2)
    world.told("WorkerPool", "sh", "ScalingActive", "True", "Shadow")
    world.patch("WorkerPool", "sh", {"spec": {"replicas": 5}}, "scale")
    queue.size("sh", 5)


def test_an_hpa_comes_and_goes_with_its_mode(world: World, queue: Queue) -> None:
    queue.pool("sa", replicas=2, min=1, controller="HorizontalPodAutoscaler")
    path = f"/apis/autoscaling/v2/namespaces/{world.namespace}/horizontalpodautoscalers"

    def names() -> list[str]:
        return [hpa["metadata"]["name"] for hpa in world.client.request("GET", path)["items"]]

    until("the HPA", lambda: "laneway-sa-worker" in names())
    world.told("WorkerPool", "sa", "ScalingActive", "True", "ManagedByHPA")
    world.patch("WorkerPool", "sa", {"spec": {"replicas": 6}}, "scale")
    queue.size("sa", 6)
    world.patch("WorkerPool", "sa", {"spec": {"scaling": {"controller": "None"}}})
    world.told("WorkerPool", "sa", "ScalingActive", "True", "ManagedExternally")
    until("no HPA", lambda: "laneway-sa-worker" not in names())
    queue.size("sa", 6)


def test_another_hpa_on_the_pool_has_its_way_and_is_told(world: World, contested: tuple[Queue, Object]) -> None:
    queue, theirs = contested
    told = world.told("WorkerPool", "sf", "ScalingActive", "False", "AutoscalerConflict", timeout=60)
    assert "keda-hpa" in told["message"]
    queue.size("sf", 2)
    after = world.client.request("GET", f"{hpas(world)}/keda-hpa")
    assert after["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
