"""The routes of queues and their lanes."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from laneway.errors import LanewayError
from laneway.gateway.addressed import front_of
from laneway.gateway.auth.identity import identity_of, require_unbound
from laneway.gateway.bodies import BackoffBody
from laneway.gateway.endpoint import json_response
from laneway.gateway.etags import answer, body_etag
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.queue_bodies import (
    ConfigurationBody,
    KeepBody,
    LaneItem,
    LanesAnswer,
    LimitsBody,
    QueueAnswer,
    QueueBody,
    QueuesAnswer,
    RateBody,
    RetryBody,
)
from laneway.gateway.routing import API, QUEUE, Doc, Row
from laneway.model.config import Keep, LaneConfig, QueueConfig
from laneway.ports.store import LaneStats, QueueStats

_ANNOUNCED = 2
_QUEUES = Doc("listQueues", "The queues that this gateway serves", {200: QueuesAnswer}, ("internal",), tag="queues")
_QUEUE = Doc(
    "getQueue",
    "A queue's numbers, and the configuration in force",
    {200: QueueAnswer},
    tag="queues",
    described={200: "The ETag is the configuration's hash: the numbers do not change it."},
)
_LANES = Doc("listLanes", "A queue's lanes, in the order in which they are served", {200: LanesAnswer}, tag="queues",
             etag=True)  # fmt: skip


class QueueRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", f"{API}/queues", self.queues, "read", _QUEUES),
            Row("GET", QUEUE, self.queue, "read", _QUEUE),
            Row("GET", f"{QUEUE}/lanes", self.lanes, "read", _LANES),
        ]

    async def queues(self, request: Request) -> Response:
        """GET /api/v1/queues"""
        bound = identity_of(request).bound
        names = sorted(self._fronts)
        bodies = await asyncio.gather(*(_queue(self._fronts[name], bound) for name in names))
        return json_response(QueuesAnswer([body for body, _ in bodies]), headers=_FRESH)

    async def queue(self, request: Request) -> Response:
        """GET .../queues/{queue}"""
        front = front_of(self._fronts, request)
        body, config = await _queue(front, identity_of(request).bound)
        if config is None:
            return json_response(body, headers=_FRESH)
        hash = front.store.config_hash
        body.configuration = _configuration(config, hash)
        # (The numbers change all the time: the tag names the configuration, and nobody is told to keep the answer.)
        return json_response(body, headers={**_FRESH, "ETag": f'W/"{hash}"'})

    async def lanes(self, request: Request) -> Response:
        """GET .../lanes"""
        require_unbound(request)
        front = front_of(self._fronts, request)
        stats = await front.ask(front.store.stats())
        config = await front.config()
        await front.ask(front.etas.fresh())
        now = {lane.name: lane for lane in stats.lanes}
        shown = LanesAnswer([_lane(lane, now.get(lane.name), front.etas.seconds(lane.name)) for lane in config.lanes])
        return answer(request, shown, body_etag(shown))


_FRESH = {"Cache-Control": "no-store"}


async def _queue(front: QueueFront, bound: bool) -> tuple[QueueAnswer, QueueConfig | None]:
    """One queue, and its configuration when it is available."""
    body = QueueAnswer(name=front.name, namespace=front.store.namespace, available=False)
    try:
        stats = await front.ask(front.store.stats())
        config = await front.config()
    except LanewayError:
        return body, None
    body.available, body.paused = True, config.paused
    if not bound:
        _count(body, stats)
    return body, config


def _count(body: QueueBody, stats: QueueStats) -> None:
    working = [worker for worker in stats.workers if worker.state == _ANNOUNCED]
    body.tasks, body.lanes = stats.counts, len(stats.lanes)
    body.workers, body.slots = len(stats.workers), sum(worker.slots for worker in working)


def _configuration(config: QueueConfig, hash: str) -> ConfigurationBody:
    b, tenant = config.backoff, config.tenant
    return ConfigurationBody(
        hash=hash,
        version=config.version,
        source=config.source,
        default_lane=config.default_lane,
        durability=config.durability,
        replicas=config.replicas,
        limits=LimitsBody(
            config.max_depth or None,
            config.max_payload,
            _rate(config.rate, config.burst),
            _rate(tenant.rate, tenant.burst),
            tenant.max or None,
        ),
        retry=RetryBody(config.max_attempts, BackoffBody(b.base, b.factor, b.cap, b.jitter)),
        keep_ended=_keep(config.keep.ended),
        keep_dead=_keep(config.keep.dead),
        idempotency_seconds=config.idem_ms / 1000,
        lease_seconds=config.lease_ms / 1000,
        max_crashes=config.max_crashes,
    )


def _rate(rate: float, burst: float) -> RateBody | None:
    return RateBody(rate, burst) if rate else None


def _keep(keep: Keep) -> KeepBody:
    return KeepBody(keep.n or None, keep.ms / 1000 if keep.ms else None)


def _lane(lane: LaneConfig, now: LaneStats | None, eta: float | None) -> LaneItem:
    oldest = now.oldest_ms if now else -1
    return LaneItem(
        name=lane.name,
        priority=lane.prio,
        paused=lane.paused,
        removed=lane.gone,
        queued=now.queued if now else 0,
        running=now.running if now else 0,
        max_running=lane.max or None,
        min_share=lane.share or None,
        rate=lane.rate or None,
        dispatch_rate=lane.drate or None,
        fifo=lane.fifo,
        oldest_seconds=oldest / 1000 if oldest >= 0 else None,
        eta_seconds=eta,
    )
