"""The API external.metrics.k8s.io/v1beta1: discovery, and the values of one metric."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from aiohttp import web

from laneway.kit.health import Answer, Health
from laneway.kit.logs import get_logger
from laneway_operator.adapter.access import Access, Asked
from laneway_operator.adapter.front_proxy import FrontProxy
from laneway_operator.adapter.loads import PoolLoad, PoolLoads, Unreadable
from laneway_operator.adapter.registration import GROUP, VERSION
from laneway_operator.adapter.selector import parse_selector
from laneway_operator.engine.errors import ClusterError
from laneway_operator.resources.autoscaler import METRIC, POOL_SELECTOR

_log = get_logger(__name__)

_ROOT: Final = f"/apis/{GROUP}/{VERSION}"
_OPEN: Final = frozenset({"/healthz", "/livez", "/readyz"})


class CountRequest(Protocol):
    """Counts an answer by its HTTP status."""

    def __call__(self, code: int) -> None: ...


class MetricsApi:
    """Answers the API server. ``proxy`` gives who may pass requests on (None: not known yet, so nobody)."""

    def __init__(
        self,
        loads: PoolLoads,
        access: Access,
        proxy: Callable[[], FrontProxy | None],
        health: Health,
        count: CountRequest,
    ) -> None:
        self._loads = loads
        self._access = access
        self._proxy = proxy
        self._health = health
        self._count = count

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application(middlewares=[self._guarded], client_max_size=64 * 1024)
        get = app.router.add_get
        get("/healthz", self._live)
        get("/livez", self._live)
        get("/readyz", self._ready)
        get("/apis", self._groups)
        get(f"/apis/{GROUP}", self._group)
        get(_ROOT, self._resources)
        get(_ROOT + "/namespaces/{namespace}/{metric}", self._values)
        return app

    # -- who may

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            answer = await self._refused(request) or await handler(request)
        except web.HTTPException as error:
            answer = failure(error.status, error.reason.replace(" ", ""), f"{request.method} {request.path}")
        except Exception:
            _log.exception("a request failed", path=request.path)
            answer = failure(500, "InternalError", "the adapter failed; its log says more")
        self._count(answer.status)
        return answer

    async def _refused(self, request: web.Request) -> web.Response | None:
        if request.path in _OPEN:
            return None
        proxy = self._proxy()
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        if proxy is None or not proxy.accepts(certificate):
            return failure(401, "Unauthorized", "only the API server's front proxy is answered, by its certificate")
        user = proxy.user(list(request.headers.items()))
        if user is None:
            return failure(401, "Unauthorized", "the front proxy did not say who asks")
        match = request.match_info
        if "metric" in match:
            asked = Asked(match["namespace"], match["metric"], GROUP, VERSION)
        else:
            asked = Asked(path=request.path)
        try:
            refusal = await self._access.refusal(user, asked)
        except ClusterError as error:
            return failure(503, "ServiceUnavailable", f"whether {user.name} may can't be told now: {error}")
        if refusal is None:
            return None
        what = f"list {asked.resource} in namespace {asked.namespace}" if asked.resource else f"get {asked.path}"
        return failure(403, "Forbidden", f"{user.name} may not {what}: {refusal}")

    # -- pages

    async def _live(self, request: web.Request) -> web.Response:
        return _health(self._health.live())

    async def _ready(self, request: web.Request) -> web.Response:
        return _health(self._health.ready())

    async def _groups(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]})

    async def _group(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIGroup", "apiVersion": "v1", **_group()})

    async def _resources(self, request: web.Request) -> web.Response:
        resource = {
            "name": METRIC,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [resource],
            }
        )

    async def _values(self, request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        if metric != METRIC:
            return failure(404, "NotFound", f"there is no metric {metric[:80]!r}; there is {METRIC}")
        try:
            matches = parse_selector(request.query.get("labelSelector", ""))
        except ValueError as error:
            return failure(400, "BadRequest", str(error))
        try:
            loads = await self._loads.of(namespace, matches)
        except Unreadable as error:
            # Never 0: an HPA that gets no value keeps the size.
            _log.warning("a metric can't be read", namespace=namespace, error=str(error))
            return failure(503, "ServiceUnavailable", str(error))
        if not loads:
            selected = request.query.get("labelSelector", "") or "any"
            return failure(404, "NotFound", f"no WorkerPool with spec.scaling in namespace {namespace} is {selected}")
        return web.json_response(
            {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": [_value(load) for load in loads],
            }
        )


def _group() -> dict[str, Any]:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    return {"name": GROUP, "versions": [version], "preferredVersion": version}


def _value(load: PoolLoad) -> dict[str, Any]:
    return {
        "metricName": METRIC,
        "metricLabels": {POOL_SELECTOR: load.pool, "queue": load.queue},
        "timestamp": _timestamp(load.at),
        # In thousandths, and up: what is a little over a whole number needs one more.
        "value": f"{math.ceil(load.load * 1000 - 1e-6)}m",
    }


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def failure(code: int, reason: str, message: str) -> web.Response:
    """A refusal as the API server words them."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.json_response(status, status=code)


def _health(answer: Answer) -> web.Response:
    said = {"ok": answer.ok, "reasons": answer.reasons, "checks": answer.checks, "notes": answer.notes}
    return web.json_response(said, status=200 if answer.ok else 503)
