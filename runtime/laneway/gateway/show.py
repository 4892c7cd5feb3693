"""The routes that show one task: all of it, and how it ended, waiting for that if wanted."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of, task_id_of, unknown_task
from laneway.gateway.auth.identity import identity_of, visible
from laneway.gateway.bodies import AttemptErrorBody, LogsBody, TaskAnswer
from laneway.gateway.endpoint import json_response
from laneway.gateway.ends import EndsWatch
from laneway.gateway.etags import answer, task_etag
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.query import read_query
from laneway.gateway.routing import TASK, Doc, Row
from laneway.gateway.server import ENDING
from laneway.gateway.views import error_body, plain, progress_body, task_answer
from laneway.kit.ids import id_text
from laneway.model.states import HELD
from laneway.ports.store import TaskView

_LONGEST_WAIT = 60


class ResultQuery(msgspec.Struct):
    """How long to wait for the end."""

    wait: Annotated[
        float,
        Meta(ge=0, le=_LONGEST_WAIT, description=f"a number of seconds from 0 to {_LONGEST_WAIT} to wait for its end"),
    ] = 0.0


class ResultAnswer(msgspec.Struct):
    """How a task ended. ``result`` is what its handler returned; ``error`` its last error unless it succeeded. Both are
    null for who may not see what tasks carry, except the error's kind and message."""

    id: str
    state: str
    result: Any
    error: AttemptErrorBody | None


class PendingAnswer(msgspec.Struct):
    """The task has not ended."""

    id: str
    state: str


_GET = Doc("getTask", "All that is known of a task", {200: TaskAnswer}, ("unknown-task",), etag=True)
_RESULT = Doc(
    "taskResult",
    "How a task ended, waiting for that if wanted",
    {200: ResultAnswer, 202: PendingAnswer},
    ("unknown-task",),
    query=ResultQuery,
    described={200: "It has ended.", 202: "It has not ended in the time given: ask again."},
)


class ShowRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts
        self._ends = {name: EndsWatch(front.store) for name, front in fronts.items()}

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", TASK, self.get, "lookup", _GET),
            Row("GET", f"{TASK}/result", self.result, "lookup", _RESULT),
        ]

    async def get(self, request: Request) -> Response:
        """GET .../tasks/{id}"""
        front = front_of(self._fronts, request)
        view = await seen_task(request, front, task_id_of(request))
        shown, more = await shown_task(request, front, view)
        return answer(request, shown, task_etag(view, more))

    async def result(self, request: Request) -> Response:
        """GET .../tasks/{id}/result"""
        front = front_of(self._fronts, request)
        query = read_query(request, ResultQuery)
        id = task_id_of(request)
        view: TaskView | None = await seen_task(request, front, id)
        if view is not None and not view.state.final and query.wait:

            async def look() -> TaskView | None:
                (found,) = await front.ask(front.store.get([id]))
                return found

            view = await self._ends[front.name].wait(
                id, query.wait, look, request.is_disconnected, request.scope.get(ENDING)
            )
        if view is None:
            raise unknown_task(front, id_text(id))
        if not view.state.final:
            return json_response(PendingAnswer(id_text(id), view.state.label), 202, {"Retry-After": "1"})
        payloads = identity_of(request).payloads
        error = view.errors[-1] if view.errors and view.state.label != "succeeded" else None
        return json_response(
            ResultAnswer(
                id_text(id),
                view.state.label,
                plain(view.result) if view.result is not None and payloads else None,
                error_body(error, redacted=not payloads) if error else None,
            )
        )


async def seen_task(request: Request, front: QueueFront, id: bytes) -> TaskView:
    """The task, if whoever asks may see it.

    Raises:
        Problem: unknown-task: there is none, or it is another tenant's.
    """
    (view,) = await front.ask(front.store.get([id]))
    if view is None or not visible(identity_of(request), view.envelope.tenant):
        raise unknown_task(front, id_text(id))
    return view


async def shown_task(request: Request, front: QueueFront, view: TaskView) -> tuple[TaskAnswer, bytes]:
    """All that is known of a task, as far as whoever asks may see it; and what of it its state does not tell, for its
    ETag."""
    config = await front.config()
    redacted = not identity_of(request).payloads
    (told,) = await front.ask(front.store.notes.told([view.id]))
    progress, logs = progress_body(told.progress if told else None), None
    if told is not None and told.lines:
        logs = LogsBody(told.lines, f"{TASK.format(queue=front.name, id=id_text(view.id))}/logs")
    shown = task_answer(
        front.name,
        config,
        view,
        worker=await _worker(front, view),
        progress=progress,
        logs=logs,
        redacted=redacted,
    )
    return shown, msgspec.json.encode((shown.worker, progress, logs, redacted))


async def _worker(front: QueueFront, view: TaskView) -> str | None:
    """The name of the worker that holds the task, or of the last whose attempt failed; None when nobody has had it."""
    record = view.record
    if record is not None and (view.state in HELD or (view.state.final and record.started_ms)):
        for member in await front.ask(front.store.workers.members(0)):
            if member.incarnation == record.holder:
                return member.name
    return next((error.worker for error in reversed(view.errors) if error.worker), None)
