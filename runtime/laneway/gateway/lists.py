"""The routes that look at many tasks: lists by filter and order, and the states of those named."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of
from laneway.gateway.auth.identity import Identity, identity_of
from laneway.gateway.bodies import FieldError, TaskId
from laneway.gateway.cursors import opened, scanned_of, sealed
from laneway.gateway.endpoint import json_response
from laneway.gateway.filtering import FilterQuery, read_filter, read_position, read_sort
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.items import TaskItem, task_items
from laneway.gateway.query import bad_form, read_form, read_query
from laneway.gateway.routing import TASKS, WITH_BODY, Doc, Row
from laneway.kit.ids import id_bytes
from laneway.policy.listing import cursor_text

MOST_ITEMS = 200
MOST_IDS = 1000
_FRESH = {"Cache-Control": "no-store"}


class ListQuery(FilterQuery, kw_only=True):
    """What a list of tasks takes."""

    sort: (
        Annotated[
            str,
            Meta(
                pattern="^(next|due|-?ended|-?created)$",
                description="one of next (waiting tasks, as they would run), due (scheduled ones), ended, -ended "
                "(ended ones; -ended is newest first), created, -created (running and dispatched ones)",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS, description=f"a whole number from 1 to {MOST_ITEMS}")] = 50
    cursor: Annotated[str, Meta(max_length=1000, description="`next` of the page before")] | None = None


class TaskList(msgspec.Struct):
    """A page of a list. ``next`` is the cursor of the next page, null at the end: a page may hold fewer items than
    asked for, or none, and not be the last. ``scanned`` is how many tasks were looked at for this page; ``total`` how
    many the whole list has, null where that is not known without looking at each."""

    items: list[TaskItem]
    next: str | None
    scanned: int
    total: int | None


class StatesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which tasks."""

    ids: Annotated[
        list[TaskId], Meta(min_length=1, max_length=MOST_IDS, description=f"a list of 1 to {MOST_IDS:,} task ids")
    ]


class StatesAnswer(msgspec.Struct):
    """The state of each task by its id; null for one that is not there."""

    states: dict[str, str | None]


_LIST = Doc("listTasks", "Tasks by filter, a page at a time", {200: TaskList}, ("invalid-cursor",), query=ListQuery)
_STATES = Doc("taskStates", "The states of tasks", {200: StatesAnswer}, WITH_BODY, body=StatesBody)


class ListRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", TASKS, self.tasks, "read", _LIST),
            Row("POST", f"{TASKS}/states", self.states, "lookup", _STATES),
        ]

    async def tasks(self, request: Request) -> Response:
        """GET .../tasks"""
        front = front_of(self._fronts, request)
        query = read_query(request, ListQuery)
        config = await front.config()
        identity = identity_of(request)
        wanted = read_filter(query, config, identity)
        sort = read_sort(query.sort or "", wanted)
        after = read_position(await opened(front, identity, query.cursor), wanted, sort)
        page = await front.ask(front.store.browse.page(wanted, sort, query.limit, after))
        total = await front.ask(front.store.browse.count(wanted))
        items = await task_items(front, config, page.rows)
        following = cursor_text(page.after, wanted, sort) if page.after is not None else None
        following = await sealed(front, identity, following)
        scanned = scanned_of(identity, page.scanned, len(items))
        return json_response(TaskList(items, following, scanned, total), headers=_FRESH)

    async def states(self, request: Request) -> Response:
        """POST .../tasks/states"""
        front = front_of(self._fronts, request)
        body = await read_form(request, StatesBody)
        ids = read_ids(body.ids)
        found = await front.ask(front.store.browse.states(ids))
        seen = await _seen(front, identity_of(request), ids)
        return json_response(
            StatesAnswer(
                {
                    text: state.label if state is not None and id in seen else None
                    for text, id, state in zip(body.ids, ids, found, strict=True)
                }
            ),
            headers=_FRESH,
        )


async def _seen(front: QueueFront, identity: Identity, ids: list[bytes]) -> set[bytes]:
    """Those of the tasks that this one may see."""
    if not identity.bound:
        return set(ids)
    rows = await front.ask(front.store.browse.rows(ids))
    return {row.id for row in rows if row is not None and identity.sees(row.envelope.tenant)}


def read_ids(texts: list[str], field: str = "ids") -> list[bytes]:
    """Ids from their texts.

    Raises:
        Problem: invalid-request: one is no id.
    """
    ids: list[bytes] = []
    for n, text in enumerate(texts):
        try:
            ids.append(id_bytes(text))
        except ValueError as error:
            raise bad_form([FieldError(f"{field}[{n}]", str(error))]) from None
    return ids
