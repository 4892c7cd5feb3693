"""The route of predictions: when would a task submitted now to this lane start?"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of
from laneway.gateway.auth.identity import require_unbound
from laneway.gateway.endpoint import json_response
from laneway.gateway.front import Fronts
from laneway.gateway.problems import Problem
from laneway.gateway.routing import QUEUE, Doc, Row


class EtaAnswer(msgspec.Struct, rename="camel"):
    """When a task submitted now to the lane would start: ``etaSeconds`` (null: it can't be told). ``basis`` is ``idle``
    (a slot is free for it), ``rate`` (predicted from measured rates) or ``unknown`` (paused, no slots, nothing measured
    yet, or better lanes leave it nothing). ``ratePerSecond``: how many tasks start until then each second (0: not
    known). ``ahead``: the waiting tasks that come before it."""

    lane: str
    eta_seconds: float | None
    basis: str
    rate_per_second: float
    ahead: int


#: Who asks for a prediction alone gets one that is not older (s).
_AGE_S = 0.2

_ETA = Doc(
    "laneEta", "When a task submitted now to the lane would start", {200: EtaAnswer}, ("not-found",), tag="statistics"
)


class EtaRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [Row("GET", f"{QUEUE}/lanes/{{lane}}/eta", self.eta, "read", _ETA)]

    async def eta(self, request: Request) -> Response:
        """GET .../lanes/{lane}/eta"""
        front = front_of(self._fronts, request)
        require_unbound(request)
        lane = request.path_params["lane"]
        config = await front.config()
        if config.lane(lane) is None:
            names = ", ".join(each.name for each in config.lanes if not each.gone)
            raise Problem("not-found", f"queue {front.name} has no lane {lane[:80]!r}: its lanes are {names}")
        found = (await front.ask(front.etas.fresh(_AGE_S))).get(lane)
        if found is None:  # (it was added a moment ago)
            return _answer(EtaAnswer(lane, None, "unknown", 0.0, 0))
        return _answer(EtaAnswer(lane, _rounded(found.seconds), found.basis, round(found.rate, 3), found.ahead))


def _answer(body: EtaAnswer) -> Response:
    return json_response(body, headers={"Cache-Control": "no-store"})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
