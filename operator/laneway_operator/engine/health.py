"""The operator's own healthz, readyz and metrics, over HTTP."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from laneway.kit.health import Answer, Health
from laneway.kit.service import Service

_LAG_TICK_S = 1.0
_LAG_ALLOWED_S = 10.0


class LagWatch(Service):
    """Shows that the event loop turns: silent when something blocks it. ``lag`` is by how much its last tick was
    late (s)."""

    def __init__(self, health: Health) -> None:
        super().__init__("event loop", health=health, allowed_silence=_LAG_ALLOWED_S)
        self.lag = 0.0

    async def run(self) -> None:
        """Ticks."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_TICK_S
            if not await self.pause(_LAG_TICK_S):
                return
            self.lag = max(0.0, loop.time() - due)
            self.touch()


class HealthServer:
    """Serves /healthz, /readyz and /metrics. ``port`` 0 takes a free one."""

    def __init__(self, health: Health, registry: CollectorRegistry, host: str, port: int) -> None:
        self._health = health
        self._registry = registry
        self._host = host
        self.port = port
        app = web.Application()
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listens. Raises OSError if the port can't be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listens no more."""
        await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return _response(self._health.live())

    async def _ready(self, request: web.Request) -> web.Response:
        return _response(self._health.ready())

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _response(answer: Answer) -> web.Response:
    said = {"ok": answer.ok, "reasons": answer.reasons, "checks": answer.checks, "notes": answer.notes}
    return web.json_response(said, status=200 if answer.ok else 503)
