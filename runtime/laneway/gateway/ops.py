"""What every process serves to those who run it: health and metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laneway.gateway.bodies import HealthAnswer
from laneway.gateway.endpoint import HttpMetrics, endpoint, json_response, unrouted
from laneway.gateway.routing import Content, Doc, Row
from laneway.kit.health import Answer, Health

_HEALTH = {200: "Yes.", 503: "No; `reasons` say why."}
_LIVE = Doc(
    "live", "Whether every loop makes progress", {200: HealthAnswer, 503: HealthAnswer}, described=_HEALTH,
    tag="operation",
)  # fmt: skip
_READY = Doc(
    "ready", "Whether to send requests here", {200: HealthAnswer, 503: HealthAnswer}, described=_HEALTH, tag="operation"
)
_METRICS = Doc("metrics", "Prometheus metrics", {200: Content("text/plain", {"type": "string"})}, tag="operation")


def ops_rows(health: Health, registry: CollectorRegistry) -> list[Row]:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    async def live(request: Request) -> Response:
        return _health(health.live())

    async def ready(request: Request) -> Response:
        return _health(health.ready())

    async def scrape(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": media_type})

    return [
        Row("GET", "/healthz", live, "", _LIVE),
        Row("GET", "/readyz", ready, "", _READY),
        Row("GET", "/metrics", scrape, "", _METRICS),
    ]


def build_ops_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """An application for processes that serve nothing else (worker, poller)."""
    metrics = HttpMetrics()
    routes = [
        Route(row.path, endpoint(row.path, row.handler, metrics), methods=[row.method])
        for row in ops_rows(health, registry)
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: unrouted(metrics)})


def _health(answer: Answer) -> Response:
    body = HealthAnswer(answer.ok, list(answer.reasons), list(answer.notes), answer.checks)
    return json_response(body, 200 if answer.ok else 503, {"Cache-Control": "no-store"})
