"""The routes that submit tasks, one or a batch, and cancel one; and a queue's statistics now."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.gateway.addressed import front_of, task_id_of, unknown_task
from laneway.gateway.auth.audit import audit_note
from laneway.gateway.auth.identity import Identity, identity_of, require_unbound, submitting_tenant, visible
from laneway.gateway.bodies import (
    Accepted,
    BatchAnswer,
    BatchItem,
    CancelAnswer,
    FieldError,
    StatsAnswer,
    TaskBody,
)
from laneway.gateway.endpoint import TRACE, json_response
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.intake import read_batch, read_task
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.problems import Problem, invalid, later, problem_of
from laneway.gateway.reading import read_body
from laneway.gateway.routing import CHANGES, QUEUE, TASK, TASKS, WITH_TASK, Doc, Header, Row
from laneway.gateway.views import stats_answer
from laneway.kit.ids import id_text, id_texts
from laneway.kit.tracing import is_recorded
from laneway.submit import NewTask, Receipt

_TRACE = Header("traceparent", "W3C trace context")
_SUBMIT = Doc(
    "submitTask",
    "Submit a task",
    {201: Accepted, 200: Accepted},
    (*WITH_TASK, "conflict", "payload-too-large", "unknown-lane", "rate-limited", "queue-full"),
    body=TaskBody,
    headers=(
        Header(
            "Idempotency-Key",
            "the same as the field idempotencyKey; with or without double quotes",
            {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[!#-~]([ -~]*[!#-~])?$"},
        ),
        _TRACE,
    ),
    described={201: "Taken.", 200: "A duplicate: the first task of this key or id."},
)
_BATCH = Doc(
    "submitBatch",
    "Submit several tasks, each taken or refused by itself",
    {200: BatchAnswer},
    (*WITH_TASK, "batch-too-large"),
    body=list[TaskBody],
    headers=(_TRACE,),
)
_CANCEL = Doc(
    "cancelTask",
    "Cancel a task",
    {200: CancelAnswer, 202: CancelAnswer},
    ("unknown-task", "already-ended", *CHANGES),
    described={200: "Cancelled, now or before.", 202: "It runs; its worker is asked to stop it."},
)
_STATS = Doc("queueStats", "A queue's numbers now", {200: StatsAnswer}, tag="statistics")

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class TaskRoutes:
    """The handlers, over the queues that the gateway serves."""

    def __init__(self, fronts: Fronts, limits: GatewayLimits) -> None:
        self._fronts = fronts
        self._limits = limits

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("POST", TASKS, self.submit, "submit", _SUBMIT),
            Row("POST", f"{TASKS}/batch", self.batch, "submit", _BATCH),
            Row("POST", f"{TASK}/cancel", self.cancel, "operate", _CANCEL),
            Row("GET", f"{QUEUE}/stats", self.stats, "read", _STATS),
        ]

    async def submit(self, request: Request) -> Response:
        """POST .../tasks"""
        front = front_of(self._fronts, request)
        try:
            key = _key(request)
            task = read_task(await read_body(request, self._limits.max_body), key, _trace(request))
            task.tenant = submitting_tenant(identity_of(request), task.tenant)
            audit_note(request, type=task.type, lane=task.lane, tenant=task.tenant)
        except Problem as problem:
            front.refused(problem)
            raise
        result = await front.submit(task)
        if front.spans is not None and is_recorded(task.trace):
            request.scope[TRACE] = task.trace
        if not isinstance(result, Receipt):
            raise _submit_problem(result, task)
        text = result.text
        audit_note(request, id=text, duplicate=result.duplicate)
        headers = {"Location": f"/api/v1/queues/{front.name}/tasks/{text}"}
        if result.duplicate:
            states = await _states(front, [result.id])
            return json_response(Accepted(text, states.get(result.id), True), 200, headers)
        return json_response(Accepted(text, _first_state(task), False), 201, headers)

    async def batch(self, request: Request) -> Response:
        """POST .../tasks/batch"""
        front = front_of(self._fronts, request)
        try:
            if "idempotency-key" in request.headers:
                message = "a batch takes no Idempotency-Key header: give each task its own idempotencyKey"
                raise invalid([FieldError("Idempotency-Key", message)])
            raw = await read_body(request, self._limits.max_batch_body)
            read = read_batch(raw, self._limits.max_batch, _trace(request))
            read = [_for_tenant(identity_of(request), entry) for entry in read]
        except Problem as problem:
            front.refused(problem)
            raise
        tasks = [task for task in read if isinstance(task, NewTask)]
        results = await front.submit_many(tasks) if tasks else []
        states = await _states(front, [r.id for r in results if isinstance(r, Receipt) and r.duplicate])
        ids = [r.id for r in results if isinstance(r, Receipt)]
        texts = dict(zip(ids, id_texts(ids), strict=True))
        items: list[BatchItem] = []
        answers = iter(zip(tasks, results, strict=True))
        for entry in read:
            if isinstance(entry, Problem):
                front.refused(entry)
                items.append(BatchItem(entry.kind.status, problem=entry.body))
            else:
                items.append(_item(*next(answers), texts, states))
        accepted = sum(item.status == 201 for item in items)
        duplicates = sum(item.status == 200 for item in items)
        audit_note(request, accepted=accepted, duplicates=duplicates, refused=len(items) - accepted - duplicates)
        _raise_if_away(results, items)
        return json_response(BatchAnswer(accepted, duplicates, len(items) - accepted - duplicates, items))

    async def cancel(self, request: Request) -> Response:
        """POST .../tasks/{id}/cancel"""
        front = front_of(self._fronts, request)
        text, id = request.path_params["id"], task_id_of(request)
        config = await front.config()
        (before,) = await front.ask(front.store.get([id]))
        # A task's tenant never changes, so what is seen here still holds when it is cancelled.
        if before is not None and not visible(identity_of(request), before.envelope.tenant):
            raise unknown_task(front, text)
        (outcome,) = await front.ask(front.store.cancel([id]), changes=True)
        if outcome == "unknown":
            raise unknown_task(front, text)
        if outcome == "ended":
            states = await _states(front, [id])
            raise Problem("already-ended", f"task {text} has ended already: {states.get(id) or 'its state is gone'}")
        if outcome == "cancelled" and before is not None and not before.state.final:
            lane = config.lane_number(before.envelope.lane)
            front.tasks.series(lane.name if lane else "", before.envelope.body.type).cancelled += 1
        return json_response(CancelAnswer(text, outcome), 200 if outcome == "cancelled" else 202)

    async def stats(self, request: Request) -> Response:
        """GET .../stats"""
        front = front_of(self._fronts, request)
        require_unbound(request)
        return json_response(stats_answer(front.name, await front.ask(front.store.stats()), front.etas.seconds))


def _for_tenant(identity: Identity, entry: NewTask | Problem) -> NewTask | Problem:
    """A task of a batch with the tenant that it gets, or why it gets none."""
    if isinstance(entry, NewTask):
        try:
            entry.tenant = submitting_tenant(identity, entry.tenant)
        except Problem as problem:
            return problem
    return entry


def _item(
    task: NewTask, result: Receipt | LanewayError, texts: dict[bytes, str], states: dict[bytes, str]
) -> BatchItem:
    if not isinstance(result, Receipt):
        problem = _submit_problem(result, task)
        return BatchItem(problem.kind.status, problem=problem.body)
    if result.duplicate:
        return BatchItem(200, texts[result.id], states.get(result.id), True)
    return BatchItem(201, texts[result.id], _first_state(task), False)


def _raise_if_away(results: list[Receipt | LanewayError], items: list[BatchItem]) -> None:
    """When no task got through for want of Redis, the batch as a whole says so, for clients that look at its
    status alone. Each task's own answer stands in ``results``."""
    if not results:
        return
    if all(isinstance(r, Unavailable) for r in results):
        raise later("unavailable", str(results[0]), 1.0, results=items)
    if all(isinstance(r, OutcomeUnknown | Unavailable) for r in results):
        detail = "no answer in time: send the same tasks again with their ids (`taskId` in `results`) or keys"
        raise Problem("outcome-unknown", detail, results=items)


def _submit_problem(error: LanewayError, task: NewTask) -> Problem:
    if isinstance(error, OutcomeUnknown):
        how = "the same Idempotency-Key" if task.key is not None else "this task's id as `id`"
        id = error.task_id or (id_text(task.id) if task.id is not None else None)
        detail = f"{error}; whether the task was taken is unknown: sending it again with {how} is safe"
        return Problem("outcome-unknown", detail, task_id=id)
    return problem_of(error)


def _first_state(task: NewTask) -> str:
    """The state of a task just taken (it may be parked, or have run, a moment later)."""
    waits = task.delay > 0 or (task.run_at is not None and task.run_at > datetime.now(UTC))
    return "scheduled" if waits else "queued"


async def _states(front: QueueFront, ids: list[bytes]) -> dict[bytes, str]:
    """The states of tasks that are still known. What can't be read now is left out: the submission stands."""
    if not ids:
        return {}
    try:
        views = await front.ask(front.store.get(ids))
    except LanewayError:
        return {}
    return {view.id: view.state.label for view in views if view is not None}


def _key(request: Request) -> str | None:
    """The Idempotency-Key header, with or without the quotes of a structured field."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0]
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(keys) > 1 or not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        message = "the Idempotency-Key header must be given once, with 1 to 200 printable ASCII characters"
        raise invalid([FieldError("Idempotency-Key", message)])
    return key


def _trace(request: Request) -> str | None:
    """The W3C traceparent header; one that is not well formed is ignored, as its standard says."""
    trace = request.headers.get("traceparent", "")
    return trace if _TRACEPARENT.fullmatch(trace) else None
