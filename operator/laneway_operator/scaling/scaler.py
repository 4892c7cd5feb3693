"""The sizes of all pools: decided whenever their queue was read, carried out by their passes.

Each reading of a queue decides anew for its pools. When that makes a difference the pool's pass is woken; the pass
asks :meth:`Scaler.wanted`, applies the size and writes the status. Fast numbers go to metrics only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

from laneway.adapters.redis import RedisStore
from laneway.kit.logs import get_logger
from laneway.model.manifests import WorkerPool
from laneway.policy.scaling import Decision, ScalingInputs, ScalingMemory, ScalingRule, Work, decide
from laneway.ports.store import WorkerStats
from laneway_operator import names
from laneway_operator.conditions import Condition, Reason
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.passes.pool_scaler import ScalingResult
from laneway_operator.resources.autoscaler import autoscaler
from laneway_operator.resources.parts import worker_part
from laneway_operator.scaling.deletion_cost import write_costs
from laneway_operator.scaling.depth_watch import DepthWatch
from laneway_operator.scaling.explain import active, is_news, scaling_condition, scaling_status
from laneway_operator.scaling.foreign import ForeignAutoscaler, ForeignAutoscalers
from laneway_operator.scaling.rules import rule_of, share_of, work_of
from laneway_operator.scaling.servers import QueueServers

_log = get_logger(__name__)

#: A depth that was read longer ago (s) says nothing any more. Shorter gaps change nothing at all.
STALE_S: Final = 10.0
#: A process that did not decide for so long (s) begins anew, from the size that there is.
_PAUSE_S: Final = 15.0
#: A pool whose pass has not asked for so long (s) is gone, or another process leads.
_FORGOTTEN_S: Final = 120.0
#: So long (s) a pass waits for a queue's very first reading.
_FIRST_READING_S: Final = 2.5


@dataclass(slots=True)
class _Pool:
    """What is known of one scaled pool between its passes."""

    manifest: WorkerPool
    queue: ObjectKey
    rule: ScalingRule
    shadow: bool
    current: int
    asked_at: float
    memory: ScalingMemory | None = None
    decision: Decision | None = None
    work: Work | None = None
    decided_at: float = field(default=float("-inf"))
    given: int | None = None
    """The size that the pass was told last, where the decision is what it is told."""


class Scaler:
    """Implements :class:`~laneway_operator.passes.pool_scaler.PoolScaler`.

    ``wake`` asks for a pool's pass; ``clock`` gives seconds that never go back, ``today`` the time for people. Its
    :attr:`watch` is a service that runs while this process works on passes.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ObjectCache,
        metrics: OperatorMetrics,
        servers: QueueServers,
        wake: Callable[[ObjectKey], None],
        *,
        version: str,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
        **watching: Any,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._metrics = metrics
        self._servers = servers
        self._wake = wake
        self._version = version
        self._now = clock
        self._today = today
        self._foreign = ForeignAutoscalers(cluster, clock)
        self._pools: dict[ObjectKey, _Pool] = {}
        self._of_queue: dict[ObjectKey, set[ObjectKey]] = {}
        self.watch = DepthWatch(servers, self.read, clock=clock, count=self._count, **watching)

    # -- what the pass asks

    async def wanted(self, pool: WorkerPool, body: Body, current: int | None) -> ScalingResult:
        """The size for a pool; see PoolScaler.

        Raises:
            NotLeading, ClusterError: as requests to the API server do.
        """
        key, generation = key_of(body, names.POOL), int(body["metadata"].get("generation", 0))
        scaling = pool.spec.scaling
        if scaling is None:
            self._drop(key)
            result = ScalingResult(pool.spec.replicas)
        elif scaling.shadow:
            result = await self._shadow(pool, body, key, generation, current)
        elif scaling.controller == "None":
            self._drop(key)
            message = f"spec.replicas is {pool.spec.replicas}: kubectl scale, KEDA or an HPA of your own sets it"
            result = ScalingResult(
                pool.spec.replicas, condition=active(True, Reason.MANAGED_EXTERNALLY, message, generation)
            )
        elif foreign := await self._foreign.of_pool(key.namespace, key.name):
            self._drop(key)
            result = _stepped_back(pool, foreign, generation)
        elif scaling.controller == "HorizontalPodAutoscaler":
            result = await self._by_hpa(pool, body, key, generation, current)
        else:
            result = await self._by_operator(pool, body, key, generation, current)
        if result.replicas is not None:
            self._metrics.pool_desired.labels(key.namespace, key.name).set(result.replicas)
            if current is not None and result.replicas < current:
                await self._idle_first(key, names.queue_key(key.namespace, pool.spec.queueRef.name))
        return result

    def forget(self, namespace: str, name: str) -> None:
        """The pool is gone."""
        self._drop(names.pool_key(namespace, name))

    async def close(self) -> None:
        """Ends reads under way; the watch is stopped by who started it."""
        await self._foreign.close()

    # -- one controller each

    async def _by_operator(
        self, pool: WorkerPool, body: Body, key: ObjectKey, generation: int, current: int | None
    ) -> ScalingResult:
        scaling = pool.spec.scaling
        assert scaling is not None
        # A new pool begins at its least: a pod for nothing would stay for the whole of the stabilization.
        state = await self._known(pool, key, scaling.min if current is None else current)
        decision = self._decide(key, state)
        state.given = decision.desired
        told = self._told(body, state, decision)
        return ScalingResult(decision.desired, status=told, condition=scaling_condition(told, generation))

    async def _shadow(
        self, pool: WorkerPool, body: Body, key: ObjectKey, generation: int, current: int | None
    ) -> ScalingResult:
        state = await self._known(pool, key, current)
        decision = self._decide(key, state)
        state.given = decision.desired
        told = self._told(body, state, decision)
        return ScalingResult(pool.spec.replicas, status=told, condition=scaling_condition(told, generation))

    async def _by_hpa(
        self, pool: WorkerPool, body: Body, key: ObjectKey, generation: int, current: int | None
    ) -> ScalingResult:
        scaling = pool.spec.scaling
        assert scaling is not None
        ours = autoscaler(pool, worker_part(body, self._version))
        replicas = min(pool.spec.replicas, scaling.max)
        if scaling.min == 0 and replicas > 0:
            # An HPA can't go to zero and back by itself: while nothing is to be done the Deployment is empty, and the
            # HPA goes on at its 1.
            state = await self._known(pool, key, current)
            empty = self._decide(key, state).desired == 0
            state.given = 0 if empty else 1
            replicas = 0 if empty else replicas
        else:
            self._drop(key)
        return ScalingResult(replicas, condition=self._hpa_condition(pool, ours, replicas, generation), objects=(ours,))

    def _hpa_condition(self, pool: WorkerPool, ours: Body, replicas: int, generation: int) -> Condition:
        if pool.spec.replicas == 0:
            message = "spec.replicas is 0, which switches an HPA off: set it to 1 or more for it to go on"
            return active(False, Reason.MANAGED_BY_HPA, message, generation)
        live = self._cache.get(key_of(ours))
        for told in (live or {}).get("status", {}).get("conditions") or ():
            if told.get("type") == "ScalingActive" and told.get("status") == "False" and replicas:
                message = f"the HPA {ours['metadata']['name']} keeps the size: {told.get('message', '')}"
                return active(False, Reason.METRIC_UNREADABLE, message, generation)
        if replicas == 0:
            return active(True, Reason.SCALED_TO_ZERO, "nothing to do, so the HPA's pods have gone", generation)
        message = f"the HPA {ours['metadata']['name']} sets spec.replicas, by the metric laneway_pool_load"
        return active(True, Reason.MANAGED_BY_HPA, message, generation)

    # -- deciding

    async def _known(self, pool: WorkerPool, key: ObjectKey, current: int | None) -> _Pool:
        """The pool's state, with what its manifest and its Deployment say now. Waits for its queue's first reading."""
        queue = names.queue_key(key.namespace, pool.spec.queueRef.name)
        rule, now = rule_of(pool), self._now()
        size = rule.bounded(pool.spec.replicas) if current is None else current
        scaling = pool.spec.scaling
        assert scaling is not None
        state = self._pools.get(key)
        if state is None or state.queue != queue:
            self._drop(key)
            state = self._pools[key] = _Pool(pool, queue, rule, scaling.shadow, size, now)
            self._of_queue.setdefault(queue, set()).add(key)
        if state.shadow != scaling.shadow:  # what was only dreamt of is no reason to keep a size
            state.memory, state.decision = None, None
        if state.rule != rule:
            state.decision = None  # made by another rule, so even a short gap in the readings is no reason to keep it
        state.manifest, state.rule, state.shadow, state.current, state.asked_at = pool, rule, scaling.shadow, size, now
        self.watch.watch(queue)
        if state.decision is None:
            await self.watch.first(queue, _FIRST_READING_S)
        return state

    def _decide(self, key: ObjectKey, state: _Pool) -> Decision:
        now = self._now()
        reading = self.watch.reading(state.queue)
        age = now - reading.at
        if state.decision is not None and age > 2 and age <= STALE_S:
            return state.decision  # a short gap in the readings changes nothing
        if state.memory is not None and now - state.decided_at > _PAUSE_S:
            state.memory = None
        work = work_of(reading.depth) if reading.depth is not None and age <= STALE_S else None
        inputs = ScalingInputs(now, state.current, work, self._share(state), reading.trouble)
        state.decision, state.memory = decide(inputs, state.rule, state.memory)
        state.work, state.decided_at = work, now
        if state.decision.load is not None:
            self._metrics.pool_load.labels(key.namespace, key.name).set(state.decision.load)
        if state.shadow:
            self._metrics.pool_shadow.labels(key.namespace, key.name).set(state.decision.desired)
        return state.decision

    def _share(self, state: _Pool) -> Fraction:
        return share_of(state.manifest, self._cache.find("queue", state.queue.namespace, state.queue.name, names.POOL))

    def read(self, queues: list[ObjectKey]) -> None:
        """These queues have just been read: decides for their pools, and wakes where that makes a difference."""
        now = self._now()
        for queue in queues:
            for key in list(self._of_queue.get(queue, ())):
                state = self._pools[key]
                if now - state.asked_at > _FORGOTTEN_S:
                    self._drop(key)
                    continue
                if state.given is None:
                    continue  # its pass is at it
                decision = self._decide(key, state)
                if self._differs(key, state, decision):
                    self._wake(key)

    def _differs(self, key: ObjectKey, state: _Pool, decision: Decision) -> bool:
        body = self._cache.get(key)
        if body is None or names.paused(body):
            return False
        scaling = state.manifest.spec.scaling
        if scaling is not None and scaling.controller == "HorizontalPodAutoscaler" and not scaling.shadow:
            return (decision.desired > 0) != bool(state.given)
        if decision.desired != state.given:
            return True
        return is_news(_told(body), decision, state.shadow, self._today())

    def _told(self, body: Body, state: _Pool, decision: Decision) -> dict[str, Any]:
        """``status.scaling``: what it says already, unless there is news."""
        told, today = _told(body), self._today()
        if told is not None and not is_news(told, decision, state.shadow, today):
            return told
        return scaling_status(
            decision, state.work, slots=state.rule.slots, replicas=state.current, shadow=state.shadow, now=today
        )

    def _drop(self, key: ObjectKey) -> None:
        state = self._pools.pop(key, None)
        if state is None:
            return
        for gauge in (self._metrics.pool_load, self._metrics.pool_shadow):
            gauge.remove(key.namespace, key.name)
        pools = self._of_queue.get(state.queue, set())
        pools.discard(key)
        if not pools:
            self._of_queue.pop(state.queue, None)
            self.watch.unwatch(state.queue)

    # -- scale-down

    async def _idle_first(self, pool: ObjectKey, queue: ObjectKey) -> None:
        """Marks the pool's pods by what they hold, before there are fewer of them."""
        pods = self._cache.find("pool", pool.namespace, pool.name, names.POD)
        if len(pods) < 2:
            return
        try:
            workers = await self._workers(queue)
        except Exception as error:
            # The pods drain whichever are chosen; a Redis that is away now is no reason to keep all of them.
            _log.warning("idle workers can't be told from busy ones", pool=str(pool), error=str(error))
            return
        marked = await write_costs(self._cluster, pods, workers)
        if marked:
            _log.info("pods marked by what they hold", pool=str(pool), pods=marked)

    async def _workers(self, queue: ObjectKey) -> list[WorkerStats]:
        store = RedisStore(await self._servers.redis(queue), queue.name, namespace=queue.namespace, patience=1.0)
        try:
            return (await store.stats()).workers
        finally:
            await store.close()

    def _count(self, result: str) -> None:
        self._metrics.redis_requests.labels("depth", result).inc()


def _told(body: Body) -> dict[str, Any] | None:
    told = (body.get("status") or {}).get("scaling")
    return told if isinstance(told, dict) else None


def _stepped_back(pool: WorkerPool, foreign: ForeignAutoscaler, generation: int) -> ScalingResult:
    """Of two that scale one thing both would be wrong: the one that Laneway did not make has its way."""
    what = f"its Deployment {names.worker_name(pool.metadata.name)}" if foreign.on_deployment else "the pool"
    message = (
        f"the HorizontalPodAutoscaler {foreign.name} scales {what}: delete it, or set scaling.controller to None"
        " and let it scale the WorkerPool"
    )
    replicas = None if foreign.on_deployment else pool.spec.replicas
    return ScalingResult(replicas, condition=active(False, Reason.AUTOSCALER_CONFLICT, message, generation))
