"""Pools follow a queue in a real Redis: sizes, words, wake-ups and whose pods go first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.kit.ids import new_incarnation, new_task_id
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.manifests import WorkerPool
from laneway.model.servers import RedisServer
from laneway.model.settlement import Kind, Settlement
from laneway_operator import names
from laneway_operator.conditions import Reason
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.keys import ObjectKey
from laneway_operator.observe.manifests import read
from laneway_operator.passes.pool_scaler import PoolScaler, ScalingResult
from laneway_operator.scaling.scaler import Scaler
from servers.redis import RedisServer as Server

pytestmark = pytest.mark.asyncio

POOL = names.pool_key("ns", "p")


class Clock:
    """Real time, and what is added to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class FakeCluster:
    """What the scaler asks of the API server: lists autoscalers, and annotates pods."""

    def __init__(self) -> None:
        self.autoscalers: list[dict[str, Any]] = []
        self.costs: dict[str, str] = {}

    async def list(self, kind: str, namespace: str = "", *, labels: str = "") -> list[dict[str, Any]]:
        assert (kind, namespace) == ("HorizontalPodAutoscaler", "ns")
        return self.autoscalers

    async def patch(self, key: ObjectKey, change: dict[str, Any]) -> dict[str, Any]:
        self.costs[key.name] = change["metadata"]["annotations"][names.DELETION_COST]
        return {}


class Places:
    """Where queues are."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def redis(self, queue: ObjectKey) -> RedisServer:
        if not self.url:
            raise ConfigError("there is no Secret of that name")
        return RedisServer(self.url)

    def generation(self, queue: ObjectKey) -> object:
        return self.url


class Ground:
    """A scaler on a queue, and the passes that it asks for."""

    def __init__(self, url: str, **spec: Any) -> None:
        self.clock = Clock()
        self.cluster, self.places = FakeCluster(), Places(url)
        self.cache = ObjectCache(names.WATCHED_KINDS, indexers={"queue": names.queue_of, "pool": names.pool_of})
        self.woken: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self.metrics = OperatorMetrics()
        self.scaler = Scaler(
            self.cluster,  # type: ignore[arg-type]
            self.cache,
            self.metrics,
            self.places,
            self.woken.put_nowait,
            version="1",
            clock=self.clock,
            interval=0.05,
        )
        self.store = RedisStore(url, "q", namespace="ns") if url else None
        self.replicas: int | None = 0
        self.version = 0
        self.spec = spec

    async def start(self) -> None:
        if self.store is not None:
            await self.store.configure(QueueConfig(), {}, expected=None)
        await self.scaler.watch.start()

    async def close(self) -> None:
        await self.scaler.watch.stop()
        await self.scaler.close()
        if self.store is not None:
            await self.store.close()

    def pool(self, name: str = "p", **scaling: Any) -> WorkerPool:
        """The pool as the cache has it; ``scaling`` None means none."""
        self.version += 1
        old = self.cache.get(names.pool_key("ns", name)) or {}
        spec: dict[str, Any] = {"queueRef": {"name": "q"}, "app": "a:app", "concurrency": 4, **self.spec}
        spec["scaling"] = {"max": 10, "target": {"tasksPerReplica": 10}, "stabilization": "5s", **scaling}
        meta = {"name": name, "namespace": "ns", "uid": name, "generation": 1, "resourceVersion": str(self.version)}
        body = {"apiVersion": "laneway.dev/v1alpha1", "kind": "WorkerPool", "metadata": meta, "spec": spec}
        self.cache.put({**body, "status": old.get("status", {})})
        return read(WorkerPool, body)

    async def ask(self, pool: WorkerPool) -> ScalingResult:
        """What a pass does: asks, carries out and writes the status."""
        key = names.pool_key("ns", pool.metadata.name)
        body = self.cache.get(key)
        assert body is not None
        scaler: PoolScaler = self.scaler
        result = await scaler.wanted(pool, body, self.replicas)
        if result.replicas is not None:
            self.replicas = result.replicas
        self.version += 1
        meta = {**body["metadata"], "resourceVersion": str(self.version)}
        self.cache.put({**body, "metadata": meta, "status": {"scaling": result.status}})
        return result

    async def until(self, pool: WorkerPool, replicas: int) -> ScalingResult:
        """Passes whenever the scaler wakes one, until the size is so; the clock jumps ahead where it has to."""
        result = await self.ask(pool)
        async with asyncio.timeout(10):
            while result.replicas != replicas:
                assert await self.woken.get() == POOL
                result = await self.ask(pool)
        return result

    async def submit(self, n: int, lane: int = 1) -> list[bytes]:
        assert self.store is not None
        ids = [new_task_id() for _ in range(n)]
        envelope = encode_envelope(Envelope(lane, 4, 3, "", Body("t", b"\x80")))
        results = await self.store.submit([(id, envelope) for id in ids])
        assert all(result.code == "accepted" for result in results)
        return ids

    async def worker(self, name: str, claim: int) -> tuple[bytes, list[Settlement]]:
        """A worker that holds so many tasks."""
        assert self.store is not None
        inc = new_incarnation()
        await self.store.register(inc, name, "direct", 100, 0, 0)
        await self.store.heartbeat(inc, 2, 100, 0, [])
        turn = await self.store.turn(inc, 1, claim, [])
        assert len(turn.tasks) == claim
        return inc, [Settlement(Kind.COMPLETE, task.id, task.fence) for task in turn.tasks]

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"laneway_operator_{name}", {"namespace": "ns", "pool": "p"})


@pytest.fixture
async def ground(redis7_url: str) -> AsyncIterator[Ground]:
    ground = Ground(redis7_url)
    await ground.start()
    yield ground
    await ground.close()


def reason(result: ScalingResult) -> tuple[str, str]:
    assert result.condition is not None
    return result.condition["status"], result.condition["reason"]


async def test_the_first_task_wakes_a_pool_from_zero(ground: Ground) -> None:
    pool = ground.pool()
    idle = await ground.ask(pool)
    assert (idle.replicas, reason(idle)) == (0, ("True", "ScaledToZero"))
    await ground.submit(1)
    result = await ground.until(pool, 1)
    assert result.status is not None
    assert result.status["formula"] == "ceil((queued 1 + running 0) / 10 per replica) = 1"
    assert reason(result) == ("True", "Scaled")
    assert ground.gauge("pool_desired_replicas") == 1


async def test_a_deep_queue_gets_all_that_it_may_have(ground: Ground) -> None:
    pool = ground.pool()
    await ground.ask(pool)
    await ground.submit(420)
    result = await ground.until(pool, 10)
    assert result.status is not None and result.status["limitedBy"] == "Max"
    assert result.status["raw"] == 42 and result.status["inputs"]["queued"] == 420


async def test_an_empty_queue_brings_a_pool_to_zero_after_the_window(ground: Ground) -> None:
    ground.replicas = 3
    pool = ground.pool()
    result = await ground.ask(pool)
    assert (result.replicas, result.status and result.status["limitedBy"]) == (3, "Stabilization")
    ground.clock.ahead += 5
    assert (await ground.until(pool, 0)).replicas == 0


async def test_an_idle_pool_asks_for_no_passes_and_tells_nothing_new(ground: Ground) -> None:
    pool = ground.pool()
    first = await ground.ask(pool)
    rounds: asyncio.Queue[str] = asyncio.Queue()
    ground.scaler.watch._count = rounds.put_nowait
    async with asyncio.timeout(10):
        assert [await rounds.get() for _ in range(10)] == ["ok"] * 10
    assert ground.woken.empty()
    assert (await ground.ask(pool)).status == first.status


async def test_a_redis_that_is_away_keeps_the_size_and_is_told(new_redis: Callable[..., Server]) -> None:
    server = new_redis()
    ground = Ground(server.url)
    await ground.start()
    try:
        pool = ground.pool()
        await ground.ask(pool)
        await ground.submit(35)
        await ground.until(pool, 4)
        server.kill()
        ground.clock.ahead += 11
        async with asyncio.timeout(10):
            assert await ground.woken.get() == POOL
            result = await ground.ask(pool)
        assert (result.replicas, reason(result)) == (4, ("False", "MetricUnreadable"))
        assert result.status is not None and "Redis is away" in result.status["formula"]
    finally:
        await ground.close()


async def test_a_gap_in_the_readings_changes_nothing_while_it_is_short(new_redis: Callable[..., Server]) -> None:
    server = new_redis()
    ground = Ground(server.url)
    await ground.start()
    try:
        pool = ground.pool()
        await ground.ask(pool)
        await ground.submit(35)
        before = await ground.until(pool, 4)
        server.kill()
        ground.clock.ahead += 5
        result = await ground.ask(pool)
        assert (result.replicas, result.status) == (4, before.status)
    finally:
        await ground.close()


async def test_a_server_that_hangs_holds_up_no_other(new_redis: Callable[..., Server], redis7_url: str) -> None:
    hanging = new_redis()
    ground = Ground(redis7_url)
    await ground.start()
    try:
        watch, elsewhere = ground.scaler.watch, names.queue_key("ns", "elsewhere")
        here = names.queue_key("ns", "q")

        async def redis(queue: ObjectKey) -> RedisServer:
            return RedisServer(hanging.url if queue == elsewhere else redis7_url)

        ground.places.redis = redis  # type: ignore[method-assign]
        watch.watch(elsewhere)
        assert await watch.first(elsewhere, 10)
        hanging.pause()
        watch.watch(here)
        assert await watch.first(here, 10)
        before = watch.reading(here).at
        read: asyncio.Queue[list[ObjectKey]] = asyncio.Queue()
        watch._on_read = read.put_nowait
        async with asyncio.timeout(10):
            for _ in range(3):
                assert await read.get() == [here]
        assert watch.reading(here).at > before
    finally:
        hanging.resume()
        await ground.close()


async def test_a_queue_whose_secret_is_missing_keeps_its_size_and_says_so() -> None:
    ground = Ground("")
    await ground.start()
    try:
        ground.replicas = 2
        result = await ground.ask(ground.pool())
        assert (result.replicas, reason(result)) == (2, ("False", "MetricUnreadable"))
        assert result.condition is not None and "no Secret of that name" in result.condition["message"]
    finally:
        await ground.close()


async def test_a_new_pool_starts_at_its_least_whatever_replicas_says(ground: Ground) -> None:
    ground.replicas, ground.spec = None, {"replicas": 30}
    assert (await ground.ask(ground.pool(min=2))).replicas == 2


async def test_a_paused_lane_wakes_nobody(ground: Ground) -> None:
    assert ground.store is not None
    await ground.store.configure(QueueConfig(lanes=(LaneConfig(n=1, name="default", paused=True),)), {}, expected=None)
    await ground.submit(50)
    result = await ground.ask(ground.pool())
    assert (result.replicas, reason(result)) == (0, ("True", "QueuePaused"))


async def test_a_shadow_is_decided_and_changes_nothing(ground: Ground) -> None:
    ground.spec, ground.replicas = {"replicas": 2}, 2
    pool = ground.pool(shadow=True)
    await ground.submit(95)
    result = await ground.ask(pool)
    assert result.replicas == 2
    assert result.status is not None and result.status["desired"] == 10 and result.status["shadow"] is True
    assert reason(result) == ("True", "Shadow")
    assert (ground.gauge("pool_shadow_desired_replicas"), ground.gauge("pool_desired_replicas")) == (10, 2)


async def test_a_pool_without_scaling_or_with_controller_none_follows_its_replicas(ground: Ground) -> None:
    ground.spec, ground.replicas = {"replicas": 7}, 3
    result = await ground.ask(ground.pool(controller="None"))
    assert (result.replicas, reason(result)) == (7, ("True", "ManagedExternally"))


async def test_two_pools_share_their_queue(ground: Ground) -> None:
    one, _ = ground.pool("p"), ground.pool("other", max=30)
    await ground.submit(400)
    result = await ground.ask(one)
    assert result.replicas == 10
    assert result.status is not None
    assert result.status["formula"] == "ceil((queued 400 + running 0) x 0.25 of the queue / 10 per replica) = 10"


async def test_busy_pods_are_marked_before_a_pool_shrinks(ground: Ground) -> None:
    for name in ("w-a", "w-b", "w-c"):
        meta = {"name": name, "namespace": "ns", "labels": {names.POOL_LABEL: "p"}}
        ground.cache.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
    await ground.submit(5)
    await ground.worker("w-b-0", 3)
    await ground.worker("w-b-1", 1)
    await ground.worker("w-c", 1)
    ground.replicas = 3
    pool = ground.pool()
    await ground.ask(pool)
    assert ground.cluster.costs == {}
    ground.clock.ahead += 5
    await ground.until(pool, 2)
    assert ground.cluster.costs == {"w-b": "4", "w-c": "1"}


async def test_an_hpa_is_asked_for_and_the_operator_only_empties_the_pool(ground: Ground) -> None:
    ground.spec, ground.replicas = {"replicas": 3}, 3
    pool = ground.pool(controller="HorizontalPodAutoscaler", stabilization="4500ms")
    result = await ground.ask(pool)
    (hpa,) = result.objects
    assert result.replicas == 3 and result.status is None and reason(result) == ("True", "ManagedByHPA")
    assert hpa["spec"]["scaleTargetRef"] == {"apiVersion": "laneway.dev/v1alpha1", "kind": "WorkerPool", "name": "p"}
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (1, 10)
    assert hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 5
    ground.clock.ahead += 5
    assert reason(await ground.until(pool, 0)) == ("True", "ScaledToZero")
    await ground.submit(1)
    assert reason(await ground.until(pool, 3)) == ("True", "ManagedByHPA")


async def test_an_hpa_that_cannot_read_its_metric_is_told_by_the_pool(ground: Ground) -> None:
    ground.spec, ground.replicas = {"replicas": 3}, 3
    pool = ground.pool(controller="HorizontalPodAutoscaler", min=1)
    (hpa,) = (await ground.ask(pool)).objects
    broken = {"type": "ScalingActive", "status": "False", "message": "no metrics returned"}
    ground.cache.put({**hpa, "status": {"conditions": [broken]}})
    result = await ground.ask(pool)
    assert (result.replicas, reason(result)) == (3, ("False", "MetricUnreadable"))
    assert result.condition is not None and "no metrics returned" in result.condition["message"]


async def test_replicas_0_switches_the_hpa_off_and_says_so(ground: Ground) -> None:
    ground.spec = {"replicas": 0}
    result = await ground.ask(ground.pool(controller="HorizontalPodAutoscaler"))
    assert (result.replicas, reason(result)) == (0, ("False", "ManagedByHPA"))


@pytest.mark.parametrize(
    ("kind", "target", "replicas"), [("WorkerPool", "p", 3), ("Deployment", "laneway-p-worker", None)]
)
@pytest.mark.parametrize("controller", ["Operator", "HorizontalPodAutoscaler"])
async def test_another_autoscaler_has_its_way_and_is_told(
    ground: Ground, kind: str, target: str, replicas: int | None, controller: str
) -> None:
    ground.spec = {"replicas": 3}
    spec = {"scaleTargetRef": {"kind": kind, "name": target}}
    ground.cluster.autoscalers = [{"metadata": {"name": "keda", "namespace": "ns"}, "spec": spec}]
    result = await ground.ask(ground.pool(controller=controller))
    assert (result.replicas, result.objects) == (replicas, ())
    assert reason(result) == ("False", str(Reason.AUTOSCALER_CONFLICT))
    assert result.condition is not None and "keda" in result.condition["message"]


async def test_a_pool_that_is_gone_is_not_watched_any_more(ground: Ground) -> None:
    await ground.ask(ground.pool())
    ground.scaler.forget("ns", "p")
    assert ground.scaler.watch.reading(names.queue_key("ns", "q")).trouble == "it is not watched"
