"""The routes of what handlers and workers tell: a task's log lines, and the types of tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of, task_id_of, unknown_task
from laneway.gateway.auth.identity import identity_of
from laneway.gateway.endpoint import json_response
from laneway.gateway.front import Fronts
from laneway.gateway.query import read_query
from laneway.gateway.routing import QUEUE, TASK, Doc, Row
from laneway.gateway.times import moment
from laneway.model.notes import LogPage, TaskType

_MOST = 2**53


class LogsQuery(msgspec.Struct):
    """Which lines of a task's log."""

    after: Annotated[
        int,
        Meta(ge=0, le=_MOST, description="a line's number, 0 or more: only lines after it are given"),
    ] = 0


class LogLineBody(msgspec.Struct):
    """One line of a task's log. ``n`` counts the task's lines from 1, over all its attempts; ``message`` is null where
    lines are ``redacted``."""

    n: int
    at: datetime | None
    attempt: int
    level: str
    message: str | None


class LogsAnswer(msgspec.Struct):
    """Lines of a task's log, oldest first. ``next`` is what to give as ``after`` for those that come later;
    ``truncated``: lines between ``after`` and the first of these are not kept any more; ``redacted``: whoever asks may
    not see what tasks carry."""

    lines: list[LogLineBody]
    next: int
    truncated: bool
    redacted: bool


class TaskTypeBody(msgspec.Struct, rename="camel"):
    """A type of tasks, as the workers' application defines it. ``lane`` is null for the queue's default; ``schema`` is
    the JSON Schema of the payload; ``kind`` is where the handler runs: async, thread or process."""

    type: str
    lane: str | None
    schema: dict[str, Any]
    description: str
    defaults: dict[str, Any]
    app: str
    kind: str


class TypesAnswer(msgspec.Struct):
    """The types that a queue's workers have, or had within the last day, by name."""

    items: list[TaskTypeBody]


_LOGS = Doc("getTaskLogs", "What a task's handler logged", {200: LogsAnswer}, ("unknown-task",), query=LogsQuery)
_TYPES = Doc("listTypes", "The types of tasks that the queue's workers run", {200: TypesAnswer}, tag="queues")


class NoteRoutes:
    """The handlers, over the queues that the gateway serves."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", f"{TASK}/logs", self.logs, "lookup", _LOGS),
            Row("GET", f"{QUEUE}/types", self.types, "lookup", _TYPES),
        ]

    async def logs(self, request: Request) -> Response:
        """GET .../tasks/{id}/logs"""
        front = front_of(self._fronts, request)
        id = task_id_of(request)
        query = read_query(request, LogsQuery)
        identity = identity_of(request)
        (view,) = await front.ask(front.store.get([id]))
        if view is None or not identity.sees(view.envelope.tenant):
            raise unknown_task(front, request.path_params["id"])
        page = await front.ask(front.store.notes.logs(id, query.after))
        return json_response(logs_answer(page, redacted=not identity.payloads))

    async def types(self, request: Request) -> Response:
        """GET .../types"""
        front = front_of(self._fronts, request)
        types = await front.ask(front.store.notes.types())
        return json_response(TypesAnswer([type_body(each) for each in types]))


def logs_answer(page: LogPage, *, redacted: bool) -> LogsAnswer:
    """A page of a log; ``redacted``: without what the lines say."""
    lines = [
        LogLineBody(line.n, moment(line.at), line.attempt, line.level, None if redacted else line.message)
        for line in page.lines
    ]
    return LogsAnswer(lines, page.next, page.truncated, redacted)


def type_body(each: TaskType) -> TaskTypeBody:
    """A type as it is shown."""
    return TaskTypeBody(each.type, each.lane, each.schema, each.description, each.defaults, each.app, each.kind)
