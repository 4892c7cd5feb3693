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
from laneway.kit.health import Answer, Health


def ops_routes(health: Health, registry: CollectorRegistry, metrics: HttpMetrics) -> list[Route]:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    async def live(request: Request) -> Response:
        return _health(health.live())

    async def ready(request: Request) -> Response:
        return _health(health.ready())

    async def scrape(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": media_type})

    return [
        Route(path, endpoint(path, handler, metrics), methods=["GET"])
        for path, handler in (("/healthz", live), ("/readyz", ready), ("/metrics", scrape))
    ]


def build_ops_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """An application for processes that serve nothing else (worker, poller)."""
    metrics = HttpMetrics()
    return Starlette(
        routes=ops_routes(health, registry, metrics), exception_handlers={HTTPException: unrouted(metrics)}
    )


def _health(answer: Answer) -> Response:
    body = HealthAnswer(answer.ok, list(answer.reasons), list(answer.notes), answer.checks)
    return json_response(body, 200 if answer.ok else 503, {"Cache-Control": "no-store"})
