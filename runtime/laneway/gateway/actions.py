"""The routes that change one task: run it now, and give it another lane, priority or time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of, task_id_of, unknown_task
from laneway.gateway.auth.audit import audit_note
from laneway.gateway.bodies import FieldError
from laneway.gateway.endpoint import json_response
from laneway.gateway.etags import require_match, task_etag
from laneway.gateway.front import Fronts
from laneway.gateway.items import TaskItem, task_item
from laneway.gateway.problems import Problem
from laneway.gateway.query import bad_form, read_form
from laneway.gateway.routing import CHANGES, TASK, WITH_BODY, Doc, Header, Row
from laneway.gateway.show import seen_task
from laneway.kit.ids import id_text
from laneway.model.config import MAX_PRIORITY, LaneConfig, QueueConfig
from laneway.ports.actions import Revision
from laneway.ports.browse import TaskRow
from laneway.submit.checks import MAX_DELAY, too_far

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 5

Priority = Annotated[
    int, Meta(ge=0, le=MAX_PRIORITY, description=f"a whole number from 0 to {MAX_PRIORITY} ({MAX_PRIORITY} first)")
]
LaneName = Annotated[str, Meta(min_length=1, description="the name of one of the queue's lanes")]


class RevisionBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is to change of a task that waits. What is left out (or null) stays as it is."""

    priority: Priority | None = None
    lane: LaneName | None = None
    delay: (
        Annotated[float, Meta(ge=0, le=MAX_DELAY, description=f"a number of seconds from 0 to {MAX_DELAY:.0f}")] | None
    ) = None
    run_at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="an RFC 3339 time with its zone, up to ten years from now, like 2030-01-31T08:00:00Z",
            ),
        ]
        | None
    ) = None


class RetryAnswer(msgspec.Struct):
    """The task is queued (or parked, while its tenant is at its limit)."""

    id: str
    state: str


_RETRY = Doc(
    "retryTask",
    "Run a task now: one that waits for its time, or one that is dead, cancelled or expired once more",
    {200: RetryAnswer},
    ("unknown-task", "not-retryable", *CHANGES),
)
_REVISE = Doc(
    "reviseTask",
    "Change lane, priority or time of a task that waits",
    {200: TaskItem},
    ("unknown-task", "not-waiting", "precondition-failed", "unknown-lane", *WITH_BODY, *CHANGES),
    body=RevisionBody,
    headers=(Header("If-Match", "an ETag of the task: 412, and nothing is changed, when it is not so any more"),),
    described={200: "The task as it is now, its ETag in the header."},
)


class ActionRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("POST", f"{TASK}/retry", self.retry, "operate", _RETRY),
            Row("PATCH", TASK, self.revise, "operate", _REVISE),
        ]

    async def retry(self, request: Request) -> Response:
        """POST .../tasks/{id}/retry"""
        front = front_of(self._fronts, request)
        id = task_id_of(request)
        view = await seen_task(request, front, id)
        audit_note(request, id=id_text(id))
        (code,) = await front.ask(front.store.actions.retry([id]), changes=True)
        if code == "unknown":
            raise unknown_task(front, id_text(id))
        if code != "queued":
            raise Problem("not-retryable", f"task {id_text(id)} {why_not(code)}")
        return json_response(RetryAnswer(id_text(view.id), code))

    async def revise(self, request: Request) -> Response:
        """PATCH .../tasks/{id}"""
        front = front_of(self._fronts, request)
        id = task_id_of(request)
        body = await read_form(request, RevisionBody)
        config = await front.config()
        change = _revision(body, config)
        view = await seen_task(request, front, id)
        audit_note(request, id=id_text(id), lane=body.lane, priority=body.priority)
        for _ in range(_TRIES):
            require_match(request, view)
            guarded = "if-match" in request.headers
            (code,) = await front.ask(front.store.actions.revise([id], change, view if guarded else None), changes=True)
            if code == "unknown":
                raise unknown_task(front, id_text(id))
            view = await seen_task(request, front, id)
            if code != "changed":  # (else it was changed since it was looked at: is it still as If-Match says?)
                break
        if code == "changed":
            raise Problem("precondition-failed", f"task {id_text(id)} is changed faster than it can be looked at")
        if code == "lane removed":
            raise _no_lane(body.lane or "", config)
        if code not in ("revised", "same"):
            raise Problem("not-waiting", f"task {id_text(id)} {why_not(code)}")
        row = TaskRow(view.id, view.state, view.envelope, view.record, view.due_ms, view.errors, None)
        return json_response(task_item(config, row, id_text(id)), headers={"ETag": task_etag(view)})


def _revision(body: RevisionBody, config: QueueConfig) -> Revision:
    if body == RevisionBody():
        raise bad_form([FieldError("", "say what is to change: any of priority, lane, and delay or runAt")])
    if body.delay is not None and body.run_at is not None:
        raise bad_form([FieldError("runAt", "give delay or runAt, not both")])
    if body.run_at is not None and too_far(body.run_at, time.time()):
        message = f"runAt must be at most ten years from now, not {body.run_at.isoformat()}"
        raise bad_form([FieldError("runAt", message)])
    lane = lane_to(body.lane, config)
    return Revision(
        lane.n if lane else None,
        body.priority,
        None if body.run_at is None else max(0.0, (body.run_at - _EPOCH).total_seconds() * 1000),
        None if body.delay is None else body.delay * 1000,
    )


def lane_to(name: str | None, config: QueueConfig) -> LaneConfig | None:
    """The lane that tasks are to go to.

    Raises:
        Problem: unknown-lane: there is none of this name, or it is being removed.
    """
    if name is None:
        return None
    lane = config.lane(name)
    if lane is None or lane.gone:
        raise _no_lane(name, config)
    return lane


def _no_lane(name: str, config: QueueConfig) -> Problem:
    names = ", ".join(lane.name for lane in config.lanes if not lane.gone)
    text = f"there is no lane {name!r} to go to; the lanes of this queue are: {names}"
    return Problem("unknown-lane", text, errors=[FieldError("lane", text)])


def why_not(code: str) -> str:
    """What the store says of a task that it did not change, in words."""
    if code == "unknown":
        return "is not there"
    if code == "lane removed":
        return "is of a lane that was removed"
    return "is queued already" if code == "waiting" else f"is {code}"
