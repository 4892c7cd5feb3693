"""The routes of workers: who there is, and asking one to leave."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from laneway.adapters.queue_metrics import WORKER_STATES
from laneway.gateway.addressed import front_of
from laneway.gateway.auth.identity import require_unbound
from laneway.gateway.endpoint import json_response
from laneway.gateway.front import Fronts
from laneway.gateway.problems import Problem
from laneway.gateway.queue_bodies import DrainAnswer, WorkerItem, WorkersAnswer
from laneway.gateway.routing import CHANGES, QUEUE, Doc, Row
from laneway.gateway.times import moment
from laneway.kit.ids import INCARNATION_BYTES, id_texts
from laneway.ports.workers import Member

_NAMED = 50
_WORKERS = Doc("listWorkers", "The workers registered for a queue", {200: WorkersAnswer}, tag="queues")
_DRAIN = Doc(
    "drainWorker",
    "Ask a worker to take nothing new, and to leave when what it runs has ended",
    {202: DrainAnswer},
    ("unknown-worker", *CHANGES),
    tag="queues",
    described={202: "It is asked, now or before. Nothing is handed to it from now on."},
)


class WorkerRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", f"{QUEUE}/workers", self.workers, "read", _WORKERS),
            Row("POST", f"{QUEUE}/workers/{{id}}/drain", self.drain, "operate", _DRAIN),
        ]

    async def workers(self, request: Request) -> Response:
        """GET .../workers"""
        require_unbound(request)
        front = front_of(self._fronts, request)
        members = await front.ask(front.store.workers.members(_NAMED))
        items = [_item(member) for member in sorted(members, key=lambda m: (m.name, m.incarnation))]
        return json_response(WorkersAnswer(items), headers={"Cache-Control": "no-store"})

    async def drain(self, request: Request) -> Response:
        """POST .../workers/{id}/drain"""
        require_unbound(request)
        front = front_of(self._fronts, request)
        text = request.path_params["id"]
        inc = _incarnation(text)
        if inc is None or not await front.ask(front.store.workers.drain(inc), changes=True):
            raise Problem(
                "unknown-worker",
                f"queue {front.name} has no living worker {text[:40]!r}: a worker's id is its incarnation, 16 "
                "hexadecimal digits, and changes when it registers anew",
            )
        return json_response(DrainAnswer(text, WORKER_STATES[3]), 202)


def _incarnation(text: str) -> bytes | None:
    try:
        inc = bytes.fromhex(text)
    except ValueError:
        return None
    return inc if len(inc) == INCARNATION_BYTES and inc.hex() == text else None


def _item(member: Member) -> WorkerItem:
    return WorkerItem(
        id=member.incarnation.hex(),
        name=member.name,
        mode=member.mode,
        state=WORKER_STATES.get(member.state, str(member.state)),
        slots=member.slots,
        running=member.held,
        partition=member.partition if member.partition >= 0 else None,
        last_beat_seconds=member.beat_age_ms / 1000,
        started_at=moment(member.since_ms),
        tasks=id_texts(member.tasks),
    )
