"""What all routes share: who asks is known and may, errors become problems, and every request is counted and timed."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from laneway.errors import LanewayError
from laneway.gateway.auth.guard import Guard, OpenGuard
from laneway.gateway.auth.identity import Identity, forbidden, set_identity
from laneway.gateway.auth.permissions import PUBLIC, Permission, needed
from laneway.gateway.auth.streams import while_holding
from laneway.gateway.problems import Problem, problem_of
from laneway.gateway.words import unknown_field
from laneway.kit.logs import get_logger
from laneway.kit.metrics import CALL_BUCKETS, OTHER, Timer, counter_family, histogram_family

if TYPE_CHECKING:
    from laneway.gateway.auth.access import Access

_log = get_logger(__name__)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: Where a request's scope has the traceparent of the span that was made for it.
TRACE = "laneway.trace"

#: Where a request's scope has the id that its answer, the log and the log of changes tell it by.
REQUEST_ID = "laneway.request"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")
_OURS = f"{secrets.token_hex(5)}-"
_numbers = itertools.count(1)

Handler = Callable[[Request], Awaitable[Response]]


class HttpMetrics(Collector):
    """Counts and times requests by route."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._times: dict[str, Timer] = {}

    def observe(
        self, method: str, route: str, status: int, seconds: float | None, traceparent: str | None = None
    ) -> None:
        """One request; ``route`` is a template, never a path that somebody sent."""
        key = (method if method in _METHODS else OTHER, route, str(status))
        self._requests[key] = self._requests.get(key, 0) + 1
        if seconds is not None:
            timer = self._times.setdefault(route, Timer(CALL_BUCKETS))
            timer.observe(seconds)
            if traceparent is not None:
                timer.mark(seconds, traceparent.split("-")[1])

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from HttpMetrics().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield counter_family("laneway_http_requests_total", list(self._requests.items()))
        yield histogram_family(
            "laneway_http_request_seconds", [((route,), timer) for route, timer in list(self._times.items())]
        )


def endpoint(
    route: str,
    handler: Handler,
    metrics: HttpMetrics,
    permission: str = PUBLIC,
    access: Access | None = None,
    *,
    queried: bool = True,
) -> Handler:
    """A handler for those who have ``permission`` (as in ``gateway/auth/permissions.py``); its errors are answered as
    problems, counted under ``route``. Without ``access`` nobody is asked who he is. ``queried``: it reads the query
    itself; else there must be none.

    What changes something is written to the log of changes. A stream of events ends when the credential does.

    Raises:
        ValueError: there is no such permission.
    """
    guard: Guard = access.guard if access else OpenGuard()
    wanted = needed(permission)
    public = permission == PUBLIC
    audit = access.audit if access and access.audit and access.audit.wants(wanted) else None

    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        request_id = _request_id(request)
        identity: Identity | None = None
        told: str | None = None
        try:
            identity = await guard.identify(request, public=public)
            set_identity(request, identity)
            if wanted is not None and wanted not in identity.permissions:
                guard.denied(identity, wanted)
                raise forbidden(identity, wanted)
            if not queried and request.scope["query_string"]:
                raise _no_query(request)
            response = await handler(request)
            while_holding(response, identity, guard)
        except Problem as problem:
            told, response = problem.kind.name, problem.response()
        except LanewayError as error:
            seen = problem_of(error)
            told, response = seen.kind.name, seen.response()
        except ClientDisconnect:
            # Nobody is there to read the answer; 499 only tells the metrics.
            response = Response(status_code=499)
        except Exception:
            _log.exception("request failed", route=route, method=request.method, request=request_id)
            told, response = (
                "internal",
                Problem("internal", "an unexpected error; it is in the gateway's log").response(),
            )
        response.raw_headers.append((b"x-request-id", request_id.encode()))
        if audit is not None and access is not None and identity is not None:
            assert isinstance(wanted, Permission)
            audit.record(
                request, identity, route=route, permission=wanted, status=response.status_code, request_id=request_id,
                address=access.addresses.of(request), problem=told,
            )  # fmt: skip
        seconds = time.perf_counter() - began
        metrics.observe(request.method, route, response.status_code, seconds, request.scope.get(TRACE))
        return response

    return answer


def unrouted(metrics: HttpMetrics) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answers what no route takes: 404 and 405."""

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
            problem = Problem(
                "method-not-allowed",
                f"{request.method} is not possible on {request.scope['path']}; possible: {allow}",
                headers={"Allow": allow},
            )
        else:
            problem = Problem("not-found", f"there is nothing at {request.scope['path']}; / lists what there is")
        metrics.observe(request.method, "(none)", problem.kind.status, None)
        return problem.response()

    return answer


def _request_id(request: Request) -> str:
    """The id that the client has given the request, or one of ours."""
    for name, value in request.scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            found = value.decode()
            break
    else:
        found = f"{_OURS}{next(_numbers)}"
    request.scope[REQUEST_ID] = found
    return str(found)


def _no_query(request: Request) -> Problem:
    names = list(dict.fromkeys(request.query_params))[:10]
    errors = [unknown_field(name, {}, "", "parameter") for name in names]
    return Problem("invalid-query", "; ".join(e.message for e in errors) or "there is no query here", errors=errors)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/json")
