"""The route of statistics over time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of
from laneway.gateway.auth.identity import require_unbound
from laneway.gateway.bodies import FieldError
from laneway.gateway.endpoint import json_response
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.query import bad_query, read_query
from laneway.gateway.routing import QUEUE, Doc, Row
from laneway.policy.history import LanePoint, Point, points
from laneway.ports.events import SeenStore
from laneway.ports.history import COARSE, FINE, HistoryStore, Ring

#: Seconds of each step, and the ring that it is made from.
STEPS: dict[str, tuple[int, Ring]] = {"10s": (10, FINE), "1m": (60, FINE), "5m": (300, COARSE), "1h": (3600, COARSE)}
_MOST_POINTS = 2000
#: Without a step: the finest with at most so many points.
_GOOD_POINTS = 361
_DEFAULT_S = 900

_Time = Annotated[datetime, Meta(tz=True, description="an RFC 3339 time with its zone, like 2030-01-31T08:00:00Z")]
_Step = Annotated[Literal["10s", "1m", "5m", "1h"], Meta(description="one of 10s, 1m, 5m and 1h")]


class HistoryQuery(msgspec.Struct):
    """Which time is wanted, and how finely."""

    since: _Time | None = msgspec.field(default=None, name="from")
    until: _Time | None = msgspec.field(default=None, name="to")
    step: _Step | None = None


class PointBody(msgspec.Struct, rename="camel"):
    """A queue in the step from ``at`` on. Counts are of the step: tasks submitted, attempts that succeeded, failed
    (retried or dead), and so on. Sizes are means of the step (null: nobody looked); ``running`` tasks are those that
    occupy a slot. ``wait`` and ``run`` are seconds, estimated from histograms (null: no task)."""

    at: datetime
    submitted: int
    succeeded: int
    failed: int
    retried: int
    dead: int
    cancelled: int
    expired: int
    queued: float | None
    running: float | None
    scheduled: float | None
    workers: float | None
    slots: float | None
    wait_p50: float | None
    wait_p99: float | None
    run_p50: float | None
    run_p99: float | None


class LanePointBody(msgspec.Struct, rename="camel"):
    """A lane in the step from ``at`` on. ``started``: tasks that got a slot (null: not known)."""

    at: datetime
    queued: float | None
    running: float | None
    submitted: int
    started: int | None
    wait_p50: float | None
    wait_p99: float | None


class HistoryAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """Points at multiples of ``step``; a step of which nothing is known has none. ``lanes`` has those of each lane."""

    since: datetime
    until: datetime
    step: str
    points: list[PointBody]
    lanes: dict[str, list[LanePointBody]]


_HISTORY = Doc(
    "statsHistory", "A queue's numbers over time", {200: HistoryAnswer}, query=HistoryQuery, tag="statistics"
)


class HistoryRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [Row("GET", f"{QUEUE}/stats/history", self.history, "read", _HISTORY)]

    async def history(self, request: Request) -> Response:
        """GET .../stats/history"""
        front = front_of(self._fronts, request)
        require_unbound(request)
        query = read_query(request, HistoryQuery)
        since, until, step = _span(query, int(time.time()))
        width, ring = STEPS[step]
        # One bucket more before, from which the first step's starts are counted.
        buckets = await front.ask(history_of(front).read(ring, since - ring.width, until))
        found = [point for point in points(buckets, width) if point.at >= since]
        lanes: dict[str, list[LanePointBody]] = {}
        for point in found:
            for name, lane in point.lanes.items():
                lanes.setdefault(name, []).append(_lane_body(point.at, lane))
        body = HistoryAnswer(_at(since), _at(until), step, [_body(point) for point in found], lanes)
        return json_response(body, headers={"Cache-Control": "no-store"})


def history_of(front: QueueFront) -> HistoryStore:
    """The history of a queue's store."""
    return cast(SeenStore, front.store).history


def _span(query: HistoryQuery, now: int) -> tuple[int, int, str]:
    """From when, until when (multiples of the step, in s) and the step.

    Raises:
        Problem: invalid-query.
    """
    until = _seconds("to", query.until, now)
    since = _seconds("from", query.since, until - _DEFAULT_S)
    if since >= until:
        raise bad_query([FieldError("from", f"from must be before to ({_at(until).isoformat()})")])
    step = query.step or _good_step(since, until, now)
    width = STEPS[step][0]
    if (until - since) / width > _MOST_POINTS:
        fitting = [name for name, (seconds, _) in STEPS.items() if (until - since) / seconds <= _MOST_POINTS]
        right = f"a step of {fitting[0]}, or a" if fitting else "a"
        raise bad_query(
            [FieldError("step", f"{step} makes more than {_MOST_POINTS:,} points: take {right} shorter time")]
        )
    return since - since % width, until + -until % width, step


def _good_step(since: int, until: int, now: int) -> str:
    """The finest step that is kept for so long and does not make too many points."""
    for name, (width, ring) in STEPS.items():
        if (until - since) / width <= _GOOD_POINTS and now - since <= ring.seconds:
            return name
    return "1h"


def _seconds(name: str, value: datetime | None, default: int) -> int:
    if value is None:
        return default
    try:
        found = int(value.timestamp())
    except (OverflowError, ValueError):
        found = -1
    if not 0 <= found < 253_370_764_800:
        raise bad_query([FieldError(name, f"{name} must be a time from 1970 to 9998")])
    return found


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _body(point: Point) -> PointBody:
    n = point.counts.get
    return PointBody(
        _at(point.at), n("submitted", 0), n("succeeded", 0), n("retried", 0) + n("dead", 0), n("retried", 0),
        n("dead", 0), n("cancelled", 0), n("expired", 0), point.queued, point.running, point.scheduled, point.workers,
        point.slots, point.wait_p50, point.wait_p99, point.run_p50, point.run_p99,
    )  # fmt: skip


def _lane_body(at: int, lane: LanePoint) -> LanePointBody:
    return LanePointBody(_at(at), lane.queued, lane.running, lane.submitted, lane.started, lane.wait_p50, lane.wait_p99)
