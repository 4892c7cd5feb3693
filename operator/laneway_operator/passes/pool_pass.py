"""The pass of a WorkerPool: its Deployment and what goes with it, at the size that scaling decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import laneway
from laneway.errors import ConfigError
from laneway.model.manifests import TaskQueue, WorkerPool
from laneway_operator import names
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import Condition, ConditionType, Reason
from laneway_operator.engine.errors import NotFound
from laneway_operator.keys import Body, ObjectKey
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.servers import ServerReader, default_redis
from laneway_operator.passes.objects_step import apply_objects
from laneway_operator.passes.pool_scaler import PoolScaler, ScalingResult
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.passes.workloads_step import deployment_of, told_last, workload
from laneway_operator.plan.redis_home import address_of, home_of, without_kafka
from laneway_operator.plan.status import Finding, conditions, held, told
from laneway_operator.resources.parts import pool_objects, worker_part
from laneway_operator.toolbox import Toolbox

__all__ = ["PoolPass", "PoolScaler", "ScalingResult"]

_AVAILABLE = ConditionType.WORKERS_AVAILABLE
#: A Secret that was rotated shows in no watch.
_AGAIN_S: Final = 10.0
#: Neither does one that is made at last.
_SOON_S: Final = 3.0


class PoolPass:
    """Runs the workers of a pool."""

    def __init__(self, tools: Toolbox, manifests: Manifests, servers: ServerReader, scaler: PoolScaler) -> None:
        self._tools = tools
        self._manifests = manifests
        self._servers = servers
        self._scaler = scaler
        self._measured: set[ObjectKey] = set()

    async def __call__(self, key: ObjectKey) -> float | None:
        body = self._tools.cache.get(key)
        if body is None:
            self._forget(key)
            return None
        if body["metadata"].get("deletionTimestamp"):
            return None  # what it owns goes with it
        if names.paused(body):
            generation = int(body["metadata"]["generation"])
            await self._write(body, held(body.get("status") or {}, generation))
            return None
        try:
            pool = self._manifests.pool(body)
        except ConfigError as error:
            await self._tell(key, body, [Finding(_AVAILABLE, False, Reason.INVALID_SPEC, str(error))])
            return None
        try:
            queue = self._queue(pool)
            credentials = ""
            if isinstance(queue, TaskQueue):
                credentials = await self._servers.of_pool(queue, pool)
                queue = await self._where_its_data_is(queue)
        except TROUBLES as error:
            # What there is stays as it is: a Secret that is away for a moment must not stop workers.
            await self._tell(key, body, [finding_of(_AVAILABLE, error)])
            return _SOON_S
        if isinstance(queue, Finding):
            await self._tell(key, body, [queue])
            return _AGAIN_S
        return await self._reconcile(key, body, queue, pool, credentials)

    async def _reconcile(
        self, key: ObjectKey, body: Body, queue: TaskQueue, pool: WorkerPool, credentials: str
    ) -> float:
        deployment = self._deployment(key)
        current = None if deployment is None else int(deployment["spec"].get("replicas", 1))
        scaled = await self._scaler.wanted(pool, body, current)
        wanted = pool_objects(
            queue,
            pool,
            body,
            scaled.replicas,
            image=self._tools.settings.runtime_image,
            version=laneway.__version__,
            default_redis=default_redis(self._tools.settings) or "",
            credentials_hash=credentials,
        )
        if scaled.replicas is None and deployment is not None:
            await self._hand_over(deployment)
        problems = await apply_objects(self._tools, body, [*wanted, *scaled.objects])
        workers = problems.get("worker")
        workers = workers or workload(self._tools.cache, body, key, "worker", scaled.replicas, deployment)
        await self._tell(key, body, [*self._queue_trouble(pool), workers], scaled)
        return _AGAIN_S

    def _queue(self, pool: WorkerPool) -> TaskQueue | Finding:
        name, namespace = pool.spec.queueRef.name, pool.metadata.namespace
        body = self._tools.cache.get(names.queue_key(namespace, name))
        if body is None:
            return Finding(
                _AVAILABLE, False, Reason.QUEUE_NOT_FOUND, f"there is no TaskQueue {name} in namespace {namespace}"
            )
        if body["metadata"].get("deletionTimestamp"):
            return Finding(_AVAILABLE, False, Reason.QUEUE_NOT_READY, f"the TaskQueue {name} is being deleted")
        try:
            return self._manifests.queue(body)
        except ConfigError as error:
            return Finding(_AVAILABLE, False, Reason.QUEUE_NOT_READY, f"the TaskQueue {name} can't be used: {error}")

    async def _where_its_data_is(self, queue: TaskQueue) -> TaskQueue | Finding:
        """The queue; or why its workers stay as they are: spec.redis names another server than the status, and the
        queue's own pass has not let it pass (yet)."""
        server = (await self._servers.of_queue(without_kafka(queue))).redis
        body = self._tools.cache.get(names.queue_key(queue.metadata.namespace, queue.metadata.name))
        home = home_of(body) if body is not None else None
        if home is None or home.address == address_of(server):
            return queue
        return Finding(
            _AVAILABLE,
            False,
            Reason.QUEUE_NOT_READY,
            f"the TaskQueue {queue.metadata.name} has its data in Redis at {home.address}, not at {address_of(server)}",
        )

    def _queue_trouble(self, pool: WorkerPool) -> list[Finding]:
        """What of the queue keeps its workers from their work: all but its own pods, which are for those who submit."""
        name = pool.spec.queueRef.name
        body = self._tools.cache.get(names.queue_key(pool.metadata.namespace, name))
        for type in (ConditionType.LIMITER_READY, ConditionType.TOPICS_READY, ConditionType.READY):
            said = told_last(body, type) if body is not None else None
            if said is None or said["status"] == "True":
                continue
            reason, message = said["reason"], f"{said['reason']}: {said['message']}".removesuffix(": ")
            if type is ConditionType.READY and reason != Reason.RECONCILE_ERROR:
                continue
            return [
                Finding(
                    ConditionType.READY,
                    False,
                    Reason.PROGRESSING if reason == Reason.PROGRESSING else Reason.QUEUE_NOT_READY,
                    f"the TaskQueue {name} is not ready: {message}",
                )
            ]
        return []

    def _deployment(self, key: ObjectKey) -> Body | None:
        return deployment_of(self._tools.cache, key, "worker")

    async def _hand_over(self, deployment: Body) -> None:
        """Leaves the number of replicas to an HPA: what only we have applied would else become 1 when we apply it no
        longer. Another field manager holds the number until the HPA takes it."""
        if deployment["metadata"].get("annotations", {}).get(names.SIZED_BY) != names.SIZED_BY_OPERATOR:
            return
        meta = deployment["metadata"]
        await self._tools.cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
                "spec": {"replicas": deployment["spec"].get("replicas", 1)},
            },
            manager=f"{names.FIELD_MANAGER}-handover",
        )

    # -- the status

    async def _tell(
        self, key: ObjectKey, body: Body, findings: Sequence[Finding], scaled: ScalingResult | None = None
    ) -> None:
        generation = int(body["metadata"]["generation"])
        deployment = self._deployment(key)
        seen: dict[str, Any] = (deployment.get("status") if deployment is not None else None) or {}
        before = body.get("status") or {}
        desired = int(deployment["spec"].get("replicas", 1)) if deployment is not None else 0
        said: list[Condition] = conditions(findings, generation)
        if scaled is not None and scaled.condition is not None:
            said.append(scaled.condition)
        status: Body = {
            "observedGeneration": generation,
            "conditions": said,
            "replicas": int(seen.get("replicas") or 0),
            "readyReplicas": int(seen.get("readyReplicas") or 0),
            "desiredReplicas": desired,
            "selector": worker_part(body, laneway.__version__).selector_text(),
            "scaling": dict(scaled.status) if scaled is not None and scaled.status is not None else None,
        }
        if scaled is None and "scaling" in before:
            status["scaling"] = before["scaling"]
        self._measure(key, desired, status["readyReplicas"])
        await self._write(body, status)

    async def _write(self, body: Body, status: Body) -> None:
        before = (body.get("status") or {}).get("conditions") or []
        try:
            written = await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        except NotFound:
            return
        if written:
            self._tools.events.emit_transitions(body, told(before), told(status["conditions"]))

    def _measure(self, key: ObjectKey, desired: int, ready: int) -> None:
        self._measured.add(key)
        self._tools.metrics.pool_desired.labels(key.namespace, key.name).set(desired)
        self._tools.metrics.pool_ready.labels(key.namespace, key.name).set(ready)

    def _forget(self, key: ObjectKey) -> None:
        self._scaler.forget(key.namespace, key.name)
        if key in self._measured:
            self._measured.discard(key)
            for gauge in (self._tools.metrics.pool_desired, self._tools.metrics.pool_ready):
                gauge.remove(key.namespace, key.name)
