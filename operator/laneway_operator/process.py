"""One operator process: what it is made of, and in which order that starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from kubernetes.aio.client import ApiClient

from laneway.kit.health import Health
from laneway.kit.health_metrics import HealthCollector
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.roles.process import Stop
from laneway_operator import names
from laneway_operator.apply.events import EventRecorder
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.connect import api_client, configuration
from laneway_operator.engine.fence import Fence, machine_clock, open_fence
from laneway_operator.engine.health import HealthServer, LagWatch
from laneway_operator.engine.leader import Elector
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.engine.queue import WorkQueue
from laneway_operator.engine.served import unserved
from laneway_operator.engine.sync import CacheSync
from laneway_operator.handlers.trim import TRIMMERS
from laneway_operator.handlers.wake import Waker
from laneway_operator.handlers.watch import Watches, own_signals, quiet_kopf
from laneway_operator.keys import ObjectKey
from laneway_operator.settings import OperatorSettings, unique_identity
from laneway_operator.toolbox import Toolbox, Work

_log = get_logger(__name__)

#: With keys waiting, no pass that ends for so long means that the queue is stuck (s); longer than any one pass.
_STUCK_S = 120.0
_LEASE_SILENCE_S = 20.0


@asynccontextmanager
async def one_off_cluster(settings: OperatorSettings) -> AsyncIterator[Cluster]:
    """A client for a few questions, outside any election. Raises NoCluster."""
    config = await configuration(settings.kubeconfig, settings.context)
    cluster = Cluster(
        api_client(config), resources=names.RESOURCES, field_manager=names.FIELD_MANAGER, fence=open_fence()
    )
    try:
        yield cluster
    finally:
        await cluster.close()


BuildWork = Callable[[Toolbox], Work]


class Operator:
    """Everything of one process. ``build`` makes the passes; tests give their own."""

    def __init__(self, settings: OperatorSettings, build: BuildWork) -> None:
        self.settings = settings
        self.identity = unique_identity(settings.identity)
        self.health = Health()
        self.metrics = OperatorMetrics()
        self.metrics.registry.register(HealthCollector(self.health))
        self.fence = Fence()
        self.cache = ObjectCache(
            names.WATCHED_KINDS, indexers={"queue": names.queue_of, "pool": names.pool_of}, trimmers=TRIMMERS
        )
        self.server = HealthServer(self.health, self.metrics.registry, settings.host, settings.port)
        self._build = build

    async def run(self, stop: Stop) -> int:
        """Works until ``stop``. Returns the exit code.

        Raises:
            NoCluster: nothing says where the API server is.
            OSError: the port of health and metrics can't be had.
        """
        quiet_kopf()
        config = await configuration(self.settings.kubeconfig, self.settings.context)
        cluster = self._cluster(api_client(config), self.fence)
        # The Lease has connections of its own, so that no renewal waits for a pass, and is its own fence.
        lease_cluster = self._cluster(api_client(config), open_fence())
        self.events = EventRecorder(
            cluster, self.identity, health=self.health, count=self._count_event, clock=machine_clock
        )
        toolbox = Toolbox(
            cluster=cluster, cache=self.cache, settings=self.settings, fence=self.fence, events=self.events,
            metrics=self.metrics, wake=self._wake, health=self.health,
        )  # fmt: skip
        work = self._build(toolbox)
        self.queue = WorkQueue(
            dict(work.passes), concurrency=self.settings.max_passes, pass_timeout=self.settings.pass_timeout,
            observe=self.metrics.count_pass,
        )  # fmt: skip
        self.cache.listen(Waker(self.cache, self._wake))
        self.work = work
        selectors = dict.fromkeys((*names.OWNED_KINDS, names.POD), names.OWNED_SELECTOR)
        sync = CacheSync(
            cluster, self.cache, namespaces=self.settings.namespaces, selectors=selectors,
            every=self.settings.resync, health=self.health,
        )  # fmt: skip
        resources = [names.RESOURCES[kind] for kind in names.WATCHED_KINDS]
        watches = Watches(
            config, self.cache, sync, resources, unserved=lambda: unserved(cluster, resources),
            namespaces=self.settings.namespaces, selectors=selectors, health=self.health,
            count=self.metrics.count_request, reclaim_signals=own_signals(stop.ask, stop.interrupt),
        )  # fmt: skip
        self.elector = Elector(
            lease_cluster, self.fence, self._lead,
            identity=self.identity, name=self.settings.lease_name, namespace=self.settings.lease_namespace,
            duration=self.settings.lease_duration, renew=self.settings.lease_renew,
            margin=self.settings.lease_margin, health=self.health,
        )  # fmt: skip
        self._watch_metrics()
        self._require()
        services: list[Service] = [LagWatch(self.health), self.events, sync, watches, self.elector]
        code = 0
        try:
            await self.server.start()
            _log.info(
                "operator started", identity=self.identity, port=self.server.port,
                namespaces=self.settings.namespaces or "all",
            )  # fmt: skip
            for service in services:
                await service.start()
            code = await self._wait(stop)
            # Passes end first, while their writes are still let through; then the Lease is given back, so that no
            # write of ours can follow it; only then go the watches and connections that both needed.
            await self.queue.finish(self.settings.stop_grace)
            for service in reversed(services):
                await service.stop()
        finally:
            await self.server.stop()
            await work.close()
            await cluster.close()
            await lease_cluster.close()
        _log.info("operator stopped", identity=self.identity)
        return code

    async def _wait(self, stop: Stop) -> int:
        stop.waits_for = lambda: f"{self.queue.running} passes"
        while not stop.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await stop.wait()
            except TimeoutError:
                if not self.fence.leading or not self.queue.depth:
                    self.queue_mark.touch()  # nothing is wanted of it
                if self.elector.failure is not None:
                    _log.error("the work itself broke; this process ends, so that another leads")
                    return 1
        return 0

    async def _lead(self, epoch: int) -> None:
        """While this process leads: every object has a pass, and then whenever it is woken."""
        await self.cache.wait_synced()
        await self.work.renew()
        self.queue.clear()
        for kind in names.OUR_KINDS:
            for key in self.cache.keys(kind):
                self._wake(key)
        services = list(self.work.services)
        try:
            for service in services:
                await service.start()
            await self.queue.run()
        finally:
            for service in reversed(services):
                await service.stop()

    def _wake(self, key: ObjectKey) -> None:
        # A follower keeps no keys: when it comes to lead, it looks at all objects anyway.
        if self.fence.leading:
            self.queue.wake(key)

    def _cluster(self, api: ApiClient, fence: Fence) -> Cluster:
        return Cluster(
            api, resources=names.RESOURCES, field_manager=names.FIELD_MANAGER, fence=fence,
            count=self.metrics.count_request,
        )  # fmt: skip

    def _count_event(self, result: str) -> None:
        self.metrics.events.labels(result).inc()

    def _watch_metrics(self) -> None:
        self.metrics.watch_queue(lambda: self.queue.depth, lambda: self.queue.oldest)
        self.metrics.leader.set_function(lambda: float(self.fence.leading))
        self.metrics.leader_epoch.set_function(lambda: self.fence.epoch if self.fence.leading else 0)
        self.metrics.writes_refused.set_function(lambda: self.fence.refused)
        for kind in names.WATCHED_KINDS:
            self.metrics.objects.labels(kind).set_function(partial(self.cache.count, kind))

    def _require(self) -> None:
        self.health.require("cache", self._cache_lacks)
        self.health.require("lease", self._lease_lacks)
        self.queue_mark = self.health.watch("work queue", _STUCK_S)
        self.health.note("leader", lambda: None if self.fence.leading else f"follows {self.elector.holder or 'nobody'}")
        self.queue.on_progress = self.queue_mark.touch

    def _cache_lacks(self) -> str | None:
        unsynced = self.cache.unsynced
        return f"not all objects are known yet of: {', '.join(unsynced)}" if unsynced else None

    def _lease_lacks(self) -> str | None:
        silence = self.elector.silence
        return f"no answer about the lease for {silence:.0f} s" if silence > _LEASE_SILENCE_S else None
