"""The routes that look at dead letters: the list, the groups by error, and one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of, task_id_of
from laneway.gateway.auth.identity import identity_of
from laneway.gateway.cursors import opened, scanned_of, sealed
from laneway.gateway.dead_bodies import (
    DeadAnswer,
    DeadItem,
    DeadList,
    DeadQuery,
    GroupBody,
    GroupsAnswer,
    GroupsQuery,
)
from laneway.gateway.endpoint import json_response
from laneway.gateway.etags import answer, task_etag
from laneway.gateway.filtering import read_filter, read_position
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.items import task_item
from laneway.gateway.problems import Problem
from laneway.gateway.query import read_query
from laneway.gateway.routing import QUEUE, Doc, Row
from laneway.gateway.show import seen_task, shown_task
from laneway.gateway.times import moment
from laneway.kit.ids import id_text, id_texts
from laneway.model.record import AttemptError
from laneway.model.states import State
from laneway.policy.filters import with_states
from laneway.policy.fingerprint import Fingerprint, fingerprint
from laneway.policy.listing import cursor_text
from laneway.ports.browse import Filter, Position, Sort, TaskRow

DEAD = f"{QUEUE}/dead"
#: Seconds of looking that one answer with groups is worth, in pages that let others come between.
_GROUPING = 1.0
_PAGE = 100
_DEAD = frozenset({State.DEAD})
_FRESH = {"Cache-Control": "no-store"}

_LIST = Doc(
    "listDead", "Dead letters, newest first, a page at a time", {200: DeadList}, ("invalid-cursor",), query=DeadQuery,
    tag="dead letters",
)  # fmt: skip
_GROUPS = Doc(
    "groupDead", "Dead letters by the error that they died of", {200: GroupsAnswer}, ("invalid-cursor",),
    query=GroupsQuery, tag="dead letters",
)  # fmt: skip
_SHOW = Doc(
    "getDead", "A dead letter with all its attempts and errors", {200: DeadAnswer}, ("unknown-task",), etag=True,
    tag="dead letters",
)  # fmt: skip


class DeadRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("GET", DEAD, self.dead, "read", _LIST),
            Row("GET", f"{DEAD}/groups", self.groups, "read", _GROUPS),
            Row("GET", f"{DEAD}/{{id}}", self.show, "lookup", _SHOW),
        ]

    async def dead(self, request: Request) -> Response:
        """GET .../dead"""
        front = front_of(self._fronts, request)
        query = read_query(request, DeadQuery)
        config = await front.config()
        identity = identity_of(request)
        wanted = dead_only(read_filter(query, config, identity))
        mark = query.fingerprint or ""
        after = read_position(await opened(front, identity, query.cursor), wanted, Sort.ENDED_LAST, mark)
        browse = front.store.browse
        page = await front.ask(browse.page(wanted, Sort.ENDED_LAST, query.limit, after, also=marked(mark)))
        total = None if mark else await front.ask(browse.count(wanted))
        texts = id_texts([row.id for row in page.rows])
        items = [
            DeadItem(**msgspec.structs.asdict(task_item(config, row, text)), fingerprint=fingerprint_of(row).id)
            for row, text in zip(page.rows, texts, strict=True)
        ]
        following = None if page.after is None else cursor_text(page.after, wanted, Sort.ENDED_LAST, mark)
        following = await sealed(front, identity, following)
        scanned = scanned_of(identity, page.scanned, len(items))
        return json_response(DeadList(items, following, scanned, total), headers=_FRESH)

    async def groups(self, request: Request) -> Response:
        """GET .../dead/groups"""
        front = front_of(self._fronts, request)
        query = read_query(request, GroupsQuery)
        identity = identity_of(request)
        wanted = dead_only(read_filter(query, await front.config(), identity))
        after = read_position(await opened(front, identity, query.cursor), wanted, Sort.ENDED_LAST, "groups")
        found, scanned, following = await _group(front, wanted, after)
        groups = sorted((group.body() for group in found.values()), key=lambda body: (-body.count, body.fingerprint))
        cursor = None if following is None else cursor_text(following, wanted, Sort.ENDED_LAST, "groups")
        cursor = await sealed(front, identity, cursor)
        scanned = scanned_of(identity, scanned, sum(group.count for group in groups))
        return json_response(GroupsAnswer(groups, scanned, following is None, cursor), headers=_FRESH)

    async def show(self, request: Request) -> Response:
        """GET .../dead/{id}"""
        front = front_of(self._fronts, request)
        view = await seen_task(request, front, task_id_of(request))
        if view.state is not State.DEAD:
            text = id_text(view.id)
            raise Problem("unknown-task", f"task {text} is no dead letter, it is {view.state.label}: see tasks/{text}")
        shown, more = await shown_task(request, front, view)
        mark = fingerprint(view.envelope.body.type, _last(view.errors))
        body = DeadAnswer(**msgspec.structs.asdict(shown), fingerprint=mark.id, frame=mark.frame)
        return answer(request, body, task_etag(view, more))


def dead_only(wanted: Filter) -> Filter:
    """The filter among dead letters alone."""
    found = with_states(wanted, _DEAD)
    assert found is not None  # (no query and no body here lets another state through)
    return found


def fingerprint_of(row: TaskRow) -> Fingerprint:
    """What a dead letter died of."""
    return fingerprint(row.envelope.body.type, _last(row.errors))


def _last(errors: list[AttemptError]) -> AttemptError | None:
    return errors[-1] if errors else None


def marked(mark: str) -> Callable[[TaskRow], bool] | None:
    """Whether a dead letter has this fingerprint; None for "", which any has."""
    return (lambda row: fingerprint_of(row).id == mark) if mark else None


@dataclass(slots=True)
class _Group:
    mark: Fingerprint
    sample: bytes
    last_ms: int
    first_ms: int
    count: int = 0

    def body(self) -> GroupBody:
        m = self.mark
        return GroupBody(
            m.id, m.type, m.kind, m.message, m.frame, self.count, moment(self.first_ms), moment(self.last_ms),
            id_text(self.sample),
        )  # fmt: skip


async def _group(
    front: QueueFront, wanted: Filter, after: Position | None
) -> tuple[dict[str, _Group], int, Position | None]:
    """Groups of the dead letters from a position on, newest first; how many were looked at, and where to go on."""
    until = time.monotonic() + _GROUPING
    groups: dict[str, _Group] = {}
    scanned = 0
    while True:
        page = await front.ask(front.store.browse.page(wanted, Sort.ENDED_LAST, _PAGE, after))
        scanned += page.scanned
        for row in page.rows:
            mark = fingerprint_of(row)
            group = groups.get(mark.id)
            if group is None:
                group = groups[mark.id] = _Group(mark, row.id, row.ended_ms, row.ended_ms)
            group.count += 1
            group.first_ms, group.last_ms = min(group.first_ms, row.ended_ms), max(group.last_ms, row.ended_ms)
        after = page.after
        if after is None or time.monotonic() >= until:
            return groups, scanned, after
