"""One adapter process: what it is made of, and in which order that starts and stops."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web

from laneway.kit.health import Health
from laneway.kit.health_metrics import HealthCollector
from laneway.kit.logs import get_logger
from laneway.roles.process import Stop
from laneway_operator import names
from laneway_operator.adapter.access import Access
from laneway_operator.adapter.api import MetricsApi
from laneway_operator.adapter.authority import Lifetimes
from laneway_operator.adapter.certificates import Certificates
from laneway_operator.adapter.loads import PoolLoads
from laneway_operator.adapter.metrics import AdapterMetrics
from laneway_operator.adapter.registration import Registration
from laneway_operator.adapter.settings import AdapterSettings
from laneway_operator.adapter.tls import ServingTls
from laneway_operator.adapter.upkeep import EVERY_S, Upkeep
from laneway_operator.apply.events import EventRecorder
from laneway_operator.conditions import EventType, Reason
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.connect import api_client, configuration
from laneway_operator.engine.fence import machine_clock, open_fence
from laneway_operator.engine.health import HealthServer, LagWatch
from laneway_operator.keys import Body, Resource
from laneway_operator.observe.files import PrivateFiles
from laneway_operator.observe.secrets import Secrets
from laneway_operator.observe.servers import ServerReader
from laneway_operator.settings import unique_identity

_log = get_logger(__name__)

_RESOURCES: Final = {
    **names.RESOURCES,
    "ClusterRole": Resource("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles", False),
}
_FIELD_MANAGER: Final = "laneway-adapter"


class Adapter:
    """Everything of one process. All replicas serve; nobody is elected."""

    def __init__(
        self, settings: AdapterSettings, *, lifetimes: Lifetimes | None = None, every: float = EVERY_S
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.metrics = AdapterMetrics()
        self.metrics.registry.register(HealthCollector(self.health))
        self.server = HealthServer(self.health, self.metrics.registry, settings.operator.host, settings.operator.port)
        self.port = settings.adapter_port
        """Where metrics are served; known once it serves, if a free port was asked for."""
        self.serving = asyncio.Event()
        self._lifetimes = lifetimes or Lifetimes()
        self._every = every

    async def run(self, stop: Stop) -> int:
        """Serves until ``stop``. Returns the exit code.

        Raises:
            NoCluster: nothing says where the API server is.
            OSError: a port can't be had.
        """
        settings, operator = self.settings, self.settings.operator
        config = await configuration(operator.kubeconfig, operator.context)
        cluster = Cluster(
            api_client(config), resources=_RESOURCES, field_manager=_FIELD_MANAGER, fence=open_fence(),
            count=self.metrics.count_request,
        )  # fmt: skip
        files = PrivateFiles()
        secrets = Secrets(cluster, time.monotonic, label=operator.secrets_label)
        loads = PoolLoads(cluster, ServerReader(secrets, files, operator), time.monotonic)
        events = EventRecorder(cluster, unique_identity(operator.identity), health=self.health, clock=machine_clock)
        upkeep = Upkeep(
            cluster,
            Certificates(cluster, settings.namespace, settings.secret, settings.hosts, lifetimes=self._lifetimes),
            Registration(cluster, settings.namespace, settings.service, settings.service_port, settings.owner),
            tls := ServingTls(files),
            self.metrics,
            self.health,
            on_conflict=lambda why: events.emit(
                _service(settings), EventType.WARNING, Reason.METRICS_API_CONFLICT, why
            ),
            every=self._every,
        )
        api = MetricsApi(loads, Access(cluster, time.monotonic), lambda: upkeep.proxy, self.health, self.metrics.count)
        runner = web.AppRunner(api.app(), access_log=None, handle_signals=False, shutdown_timeout=5.0)
        services = [LagWatch(self.health), events, upkeep]
        try:
            await self.server.start()
            for service in services:
                await service.start()
            if await _either(upkeep.servable, stop):
                await runner.setup()
                site = web.TCPSite(runner, settings.adapter_host, self.port, ssl_context=tls.entrance)
                await site.start()
                self.port = int(runner.addresses[0][1])
                self.serving.set()
                _log.info("adapter started", port=self.port, namespaces=operator.namespaces or "all")
                await stop.wait()
        finally:
            # What is asked is still answered while the rest goes.
            await runner.cleanup()
            for service in reversed(services):
                await service.stop()
            await self.server.stop()
            await loads.close()
            await cluster.close()
            files.close()
        _log.info("adapter stopped")
        return 0


def _service(settings: AdapterSettings) -> Body:
    metadata = {"name": settings.service, "namespace": settings.namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


async def _either(first: asyncio.Event, stop: asyncio.Event) -> bool:
    """Waits for either; True for the first."""
    waits = [asyncio.create_task(event.wait()) for event in (first, stop)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return first.is_set() and not stop.is_set()
