"""Health and metrics of roles that serve nothing else: pollers and workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from prometheus_client.registry import Collector

from laneway.gateway.ops import build_ops_app
from laneway.gateway.server import HttpServer
from laneway.kit.health import Health
from laneway.kit.health_metrics import HealthCollector
from laneway.kit.metrics import new_registry


async def serve_ops(
    stack: AsyncExitStack, host: str, port: int, health: Health, collectors: Sequence[Collector], stop: asyncio.Event
) -> None:
    """Serves them from now until ``stack`` ends, so also while the role still waits for its queue: it lives then, and
    is not ready. ``host`` may be ``unix:PATH``; ``port`` 0 without that: nowhere.

    Raises:
        ConfigError: it can't listen there.
    """
    health.require("stopping", lambda: "told to stop" if stop.is_set() else None)
    if not port and not host.startswith("unix:"):
        return
    registry = new_registry()
    for collector in (*collectors, HealthCollector(health)):
        registry.register(collector)
    server = HttpServer(build_ops_app(health, registry), host, port, health=health)
    await server.start()
    stack.push_async_callback(server.stop)
