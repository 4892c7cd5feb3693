"""The gateway as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from laneway import __version__
from laneway.adapters.queue_metrics import QueueCollector
from laneway.dashboard.pages import HOME, page, to_home, wants_page
from laneway.gateway.actions import ActionRoutes
from laneway.gateway.auth.identity import identity_of
from laneway.gateway.auth.permissions import Permission
from laneway.gateway.auth.whoami import WhoAmIRoutes
from laneway.gateway.bodies import IndexAnswer
from laneway.gateway.bulk import BulkRoutes
from laneway.gateway.dead import DeadRoutes
from laneway.gateway.dead_changes import DeadChangeRoutes
from laneway.gateway.endpoint import Handler, HttpMetrics, endpoint, json_response, unrouted
from laneway.gateway.eta import EtaRoutes
from laneway.gateway.etas import EtaCollector
from laneway.gateway.events import EventMetrics, EventRoutes
from laneway.gateway.front import QueueFront
from laneway.gateway.history import HistoryRoutes
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.lists import ListRoutes
from laneway.gateway.notes import NoteRoutes
from laneway.gateway.openapi import build_openapi
from laneway.gateway.ops import ops_rows
from laneway.gateway.queues import QueueRoutes
from laneway.gateway.routing import QUEUE, TASK, TASKS, Content, Doc, Row
from laneway.gateway.show import ShowRoutes
from laneway.gateway.tasks import TaskRoutes
from laneway.gateway.watch import QueueWatch
from laneway.gateway.workers import WorkerRoutes
from laneway.kit.health import Health
from laneway.kit.health_metrics import HealthCollector
from laneway.kit.metrics import new_registry
from laneway.kit.task_metrics import TaskMetrics
from laneway.kit.tracing import Tracing
from laneway.ports.events import EventFeed
from laneway.ports.store import TaskStore
from laneway.submit.spans import SubmitSpans

if TYPE_CHECKING:
    from laneway.gateway.auth.access import (
        Access,
    )  # (with pydantic and jwt, which only those need who ask for credentials)

_OPENAPI = Doc("openapi", "This document", {200: Content("application/json", {"type": "object"})}, tag="operation")
_INDEX = Doc(
    "index",
    "What there is",
    {200: IndexAnswer, 307: None},
    described={307: "To the dashboard, for who prefers text/html."},
    tag="operation",
)


class Gateway:
    """The queues that one gateway serves, and what watches them. The stores stay the caller's to close."""

    def __init__(
        self,
        stores: Mapping[str, TaskStore],
        *,
        limits: GatewayLimits,
        health: Health,
        registry: CollectorRegistry,
        access: Access | None = None,
        watch_interval: float = 1.0,
        tracing: Tracing | None = None,
        feeds: Mapping[str, EventFeed] | None = None,
    ) -> None:
        self.limits = limits
        self.health = health
        self.registry = registry
        self.access = access
        if access is not None:
            registry.register(access.counts)
        self.http = HttpMetrics()
        self.queues = QueueCollector()
        self.tasks = TaskMetrics()
        for collector in (self.http, self.queues, self.tasks, HealthCollector(health)):
            registry.register(collector)
        self.fronts: dict[str, QueueFront] = {}
        #: Every route of the API, once the application is built.
        self.rows: list[Row] = []
        for name, store in stores.items():
            watch = QueueWatch(name, store, self.queues, interval=watch_interval, health=health)
            self.fronts[name] = QueueFront(
                name,
                store,
                watch,
                self.tasks.queue(name),
                limits,
                SubmitSpans(tracing, name) if tracing else None,
                health,
            )
            # A note, not a condition of readiness: were every gateway taken out of service while Redis is
            # away, clients would get refused connections instead of 503 with Retry-After, for other queues
            # too.
            health.note(f"queue {name}", lambda watch=watch: watch.away)  # type: ignore[misc]
        registry.register(predicted := EtaCollector())
        predicted.queues |= {name: front.etas for name, front in self.fronts.items()}
        registry.register(streams := EventMetrics())
        self.events = EventRoutes(
            self.fronts, limits, feeds or {}, streams, access.addresses if access is not None else None
        )

    async def start(self) -> None:
        """Begins to watch the queues."""
        for front in self.fronts.values():
            await front.watch.start()
            await front.etas.start()

    async def stop(self) -> None:
        """Ends watching, and waits for submissions under way."""
        await self.events.close()
        for front in self.fronts.values():
            await front.close()
            await front.etas.stop()
            await front.watch.stop()


def build_app(
    stores: Mapping[str, TaskStore],
    *,
    limits: GatewayLimits | None = None,
    health: Health | None = None,
    registry: CollectorRegistry | None = None,
    access: Access | None = None,
    watch_interval: float = 1.0,
    tracing: Tracing | None = None,
    feeds: Mapping[str, EventFeed] | None = None,
) -> Starlette:
    """The application over the queues in ``stores``, by name. Its lifespan watches the queues;
    ``app.state.gateway`` is its :class:`Gateway`.

    ``feeds`` has the event logs of queues whose events go to Kafka; of others, the store has them.
    Without ``access`` everybody may do all; it stays the caller's to start and to stop.
    ``health`` and ``registry`` are the process's own, to share; without them the application makes its own. With
    ``tracing``, submissions begin traces.
    """
    gateway = Gateway(
        stores,
        limits=limits or GatewayLimits(),
        health=health or Health(),
        registry=registry or new_registry(),
        access=access,
        watch_interval=watch_interval,
        tracing=tracing,
        feeds=feeds,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.stop()

    app = Starlette(
        routes=_routes(gateway), exception_handlers={HTTPException: unrouted(gateway.http)}, lifespan=lifespan
    )
    # A task's address has one spelling: no redirects that would turn a POST into a GET.
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app


def _rows(gateway: Gateway) -> list[Row]:
    """The one table of routes: what each part gives."""
    return [
        *WhoAmIRoutes().routes(),
        *TaskRoutes(gateway.fronts, gateway.limits).routes(),
        *ListRoutes(gateway.fronts).routes(),
        *ActionRoutes(gateway.fronts).routes(),
        *BulkRoutes(gateway.fronts).routes(),
        *ShowRoutes(gateway.fronts).routes(),
        *NoteRoutes(gateway.fronts).routes(),
        *QueueRoutes(gateway.fronts).routes(),
        *WorkerRoutes(gateway.fronts).routes(),
        *DeadRoutes(gateway.fronts).routes(),
        *DeadChangeRoutes(gateway.fronts).routes(),
        *gateway.events.routes(),
        *HistoryRoutes(gateway.fronts).routes(),
        *EtaRoutes(gateway.fronts).routes(),
        *ops_rows(gateway.health, gateway.registry),
    ]


def _routes(gateway: Gateway) -> list[Route]:
    queues = sorted(gateway.fronts)
    index = IndexAnswer(
        "laneway",
        __version__,
        queues,
        {
            "openapi": "/openapi.json",
            "health": "/healthz",
            "ready": "/readyz",
            "metrics": "/metrics",
            "submit": TASKS,
            "batch": f"{TASKS}/batch",
            "task": TASK,
            "cancel": f"{TASK}/cancel",
            "stats": f"{QUEUE}/stats",
            "dead": f"{QUEUE}/dead",
            "lanes": f"{QUEUE}/lanes",
            "events": f"{QUEUE}/events",
            "whoami": "/api/v1/whoami",
            "dashboard": HOME,
        },
    )

    secured = gateway.access is not None and gateway.access.required
    public_index = msgspec.structs.replace(index, queues=[])

    async def openapi(request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def root(request: Request) -> Response:
        if wants_page(request):
            return RedirectResponse(HOME, 307, headers={"Vary": "Accept"})
        # The names of queues are for those who may see them.
        known = identity_of(request).can(Permission.LOOKUP)
        return json_response(index if known else public_index, headers={"Vary": "Accept"})

    rows = gateway.rows = [
        *_rows(gateway),
        Row("GET", "/openapi.json", openapi, "", _OPENAPI),
        Row("GET", "/", root, "", _INDEX),
    ]
    document = msgspec.json.encode(build_openapi(rows, [] if secured else queues, gateway.limits, secured=secured))
    resources: dict[str, dict[str, Handler]] = {}
    for row in rows:
        resources.setdefault(row.path, {})[row.method] = endpoint(
            row.path, row.handler, gateway.http, row.permission, gateway.access, queried=row.doc.query is not None
        )
    return [
        # Paths that are named whole come first: dead/groups is no dead letter. (The sort leaves others in order.)
        # Before them comes only where most requests go, since each path that is tried takes time.
        *(
            Route(path, _by_method(methods), methods=list(methods))
            for path, methods in sorted(resources.items(), key=lambda item: (item[0] != TASKS, item[0].count("{")))
        ),
        # Open to all: the pages hold nothing, and show what the API answers to the credential that they are given.
        *(
            Route(path, endpoint(path, handler, gateway.http), methods=["GET"])
            for path, handler in (("/dashboard", to_home), ("/dashboard/{path:path}", page))
        ),
    ]


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    """One handler for all methods of a path, so that a method that it does not have is told which it has."""

    async def answer(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return answer
