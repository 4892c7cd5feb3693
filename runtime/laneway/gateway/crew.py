"""Health and metrics of several processes, served by the one that supervises them.

Each process serves its own on a Unix socket; a scrape or a probe asks all of them. Their samples get a label
``process``; the supervisor's own have ``process="supervisor"``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laneway.gateway.bodies import HealthAnswer
from laneway.gateway.endpoint import HttpMetrics, endpoint, json_response, unrouted
from laneway.kit.metrics import counter_family, gauge_family, new_registry

#: How long a process may take to answer (s); a scrape has 10 s in all, a probe often 1.
_PATIENCE_S = 0.8
#: How long a process that was just started may say nothing (s): it loads the application.
_STARTING_S = 60.0
_LARGEST = 64 * 1_048_576
SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class CrewMember:
    """One process: ``socket`` is where it answers, ``age`` how long it has run (s; None: it does not run now)."""

    name: str
    socket: Path
    age: float | None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


def build_crew_app(crew: Callable[[], Sequence[CrewMember]], stopping: Callable[[], bool]) -> Starlette:
    """``/healthz``, ``/readyz`` and ``/metrics`` of the processes that ``crew()`` names now.

    Not live: a process is silent, or says so itself. Ready: at least one is, and nobody was told to stop.
    """
    metrics, registry = HttpMetrics(), new_registry()

    async def live(request: Request) -> Response:
        members = crew()
        answers = await _ask(members, "/healthz")
        checks = {member.name: _state(member, answer) for member, answer in zip(members, answers, strict=True)}
        wrong = [
            f"{member.name}: {checks[member.name]}"
            for member, answer in zip(members, answers, strict=True)
            if _is_dead(member, answer)
        ]
        return _health(wrong, checks)

    async def ready(request: Request) -> Response:
        members = crew()
        answers = await _ask(members, "/readyz")
        checks = {member.name: _state(member, answer) for member, answer in zip(members, answers, strict=True)}
        wrong = [] if any(answer and answer.status == 200 for answer in answers) else ["no process is ready"]
        if stopping():
            wrong.append("told to stop")
        return _health(wrong, checks)

    async def scrape(request: Request) -> Response:
        members = crew()
        answers = await _ask(members, "/metrics", OPENMETRICS)
        texts = {
            member.name: answer.body.decode("utf-8", "replace")
            for member, answer in zip(members, answers, strict=True)
            if answer and answer.status == 200
        }
        merged = CollectorRegistry()
        merged.register(_Merged(texts, [*registry.collect(), *CrewCollector(members, texts).collect()]))
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(merged), headers={"Content-Type": media_type})

    return Starlette(
        routes=[
            Route(path, endpoint(path, handler, metrics), methods=["GET"])
            for path, handler in (("/healthz", live), ("/readyz", ready), ("/metrics", scrape))
        ],
        exception_handlers={HTTPException: unrouted(metrics)},
    )


class CrewCollector(Collector):
    """What the supervisor knows of its processes; ``answered`` has those that answer."""

    def __init__(self, members: Sequence[CrewMember], answered: Container[str]) -> None:
        self._members, self._answered = members, answered

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from CrewCollector([], ()).collect()

    def collect(self) -> Iterator[Metric]:
        """A sample per process."""
        up = [((member.name,), float(member.name in self._answered)) for member in self._members]
        yield gauge_family("laneway_process_up", up)
        yield counter_family(
            "laneway_process_restarts_total", [((member.name,), member.restarts) for member in self._members]
        )


class _Merged(Collector):
    """The samples of all processes, each with its label ``process``."""

    def __init__(self, texts: dict[str, str], own: Iterable[Metric]) -> None:
        self._texts, self._own = texts, list(own)

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for process, text in self._texts.items():
            for family in openmetrics_families(text):  # type: ignore[no-untyped-call]
                _add(families, family, process)
        for family in self._own:
            _add(families, family, SUPERVISOR)
        yield from families.values()


def _add(families: dict[str, Metric], family: Metric, process: str) -> None:
    merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    for sample in family.samples:
        # (what has the label already is about a process, and says which)
        merged.samples.append(sample._replace(labels={"process": process, **sample.labels}))


def _is_dead(member: CrewMember, answer: _Answer | None) -> bool:
    if member.age is None:
        return False  # the supervisor is about to start it again
    if answer is None:
        return member.age > _STARTING_S
    return answer.status != 200


def _state(member: CrewMember, answer: _Answer | None) -> str:
    if member.age is None:
        return "does not run; it is started again"
    if answer is None:
        return f"does not answer, {member.age:.0f} s after its start"
    if answer.status == 200:
        return "ok"
    try:
        return "; ".join(map(str, json.loads(answer.body)["reasons"]))
    except (ValueError, KeyError, TypeError):
        return f"answers with {answer.status}"


def _health(reasons: list[str], checks: dict[str, str]) -> Response:
    body = HealthAnswer(not reasons, reasons, [], checks)
    return json_response(body, 503 if reasons else 200, {"Cache-Control": "no-store"})


async def _ask(members: Sequence[CrewMember], path: str, accept: str = "*/*") -> list[_Answer | None]:
    return list(await asyncio.gather(*(_get(member.socket, path, accept) for member in members)))


async def _get(socket: Path, path: str, accept: str) -> _Answer | None:
    """What a process answers; None when it does not in time. (One short request a second is not worth a client.)"""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LARGEST)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: crew\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                answered = await reader.readuntil(b"\r\n\r\n")
                body = await reader.read(-1)
            finally:
                writer.close()
        return _Answer(int(answered.split(b" ", 2)[1]), body)
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
