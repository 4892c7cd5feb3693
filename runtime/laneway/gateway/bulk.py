"""The route that changes many tasks at once: those named, or those that a filter means."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.actions import LaneName, Priority, lane_to, why_not
from laneway.gateway.addressed import front_of
from laneway.gateway.auth.audit import DRY_RUN, audit_note
from laneway.gateway.auth.identity import Identity, forbidden, identity_of
from laneway.gateway.auth.permissions import Permission
from laneway.gateway.bodies import FieldError, TaskId
from laneway.gateway.cursors import begun, opened, scanned_of, sealed, settled_before, with_moment
from laneway.gateway.endpoint import json_response
from laneway.gateway.filtering import FilterBody, read_filter, read_position, says_nothing
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.lists import MOST_IDS, read_ids
from laneway.gateway.query import bad_form, read_form
from laneway.gateway.routing import CHANGES, TASKS, WITH_BODY, Doc, Row
from laneway.kit.ids import id_text
from laneway.model.config import QueueConfig
from laneway.model.states import FINAL, HELD, State
from laneway.policy.filters import with_states
from laneway.policy.listing import cursor_text
from laneway.ports.actions import Revision
from laneway.ports.browse import LIST_ORDER, Filter, Sort, TaskRow

#: Seconds that one request works at most (and some ms more), and tasks that it changes in one call of a script.
_WORK_S = 1.0
_LOOK_S = 0.1
_AT_ONCE = 100
_ERRORS = 10
#: What these change may come back to where they find it, or more may come there all the while: they mean only the tasks
#: that were in their state when the search began.
_MOMENT = frozenset({"retry", "purge"})
_WAITING = frozenset({State.QUEUED, State.PARKED, State.SCHEDULED})
#: In which states a task must be for an action to mean anything to it.
_ABLE: dict[str, frozenset[State]] = {
    "cancel": _WAITING | HELD,
    "retry": frozenset({State.SCHEDULED, State.DEAD, State.EXPIRED, State.CANCELLED}),
    "revise": _WAITING,
    "purge": FINAL,
}


class BulkBody(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What to do, and to which tasks: those of ``ids``, those that ``filter`` means, or all."""

    action: Annotated[
        Literal["cancel", "retry", "revise", "purge"], Meta(description="one of cancel, retry, revise and purge")
    ]
    filter: Annotated[FilterBody, Meta(description="an object that says which tasks are meant, as a list's query")] | (
        None
    ) = None
    ids: (
        Annotated[
            list[TaskId],
            Meta(min_length=1, max_length=MOST_IDS, description=f"a list of 1 to {MOST_IDS:,} task ids"),
        ]
        | None
    ) = None
    all: Annotated[bool, Meta(description="true: every task that the action can be done to, instead of a filter")] = (
        False
    )
    priority: Priority | None = None
    lane: LaneName | None = None
    dry_run: Annotated[bool, Meta(description="true: nothing is changed, only counted")] = False
    limit: (
        Annotated[
            int, Meta(ge=1, le=1_000_000, description="the most tasks to match, a whole number from 1 to 1000000")
        ]
        | None
    ) = None
    cursor: Annotated[str, Meta(max_length=1000, description="`next` of the answer before")] | None = None


class BulkError(msgspec.Struct):
    """A task that was meant and not changed, and why."""

    id: str
    reason: str


class BulkAnswer(msgspec.Struct):
    """What one request did. ``matched`` tasks were meant, of which ``changed`` were changed; ``skipped`` could not be,
    mostly as they had moved on (``errors`` tells the first ten). ``next`` is the cursor to go on with, null when all
    is done: a request works for about a second. ``scanned`` tasks were looked at."""

    matched: int
    changed: int
    skipped: int
    next: str | None
    scanned: int
    errors: list[BulkError]


_BULK = Doc(
    "changeTasks",
    "Cancel, retry, revise or purge many tasks, by id or by filter",
    {200: BulkAnswer},
    ("invalid-cursor", "unknown-lane", *WITH_BODY, *CHANGES),
    body=BulkBody,
)

Act = Callable[[Sequence[TaskRow]], Awaitable[list[str]]]


class BulkRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [Row("POST", f"{TASKS}/bulk", self.bulk, "operate", _BULK)]

    async def bulk(self, request: Request) -> Response:
        """POST .../tasks/bulk"""
        front = front_of(self._fronts, request)
        body = await read_form(request, BulkBody)
        identity = identity_of(request)
        if body.action == "purge" and not identity.can(Permission.ADMIN):
            raise forbidden(identity, Permission.ADMIN)
        _check(body)
        config = await front.config()
        lane = lane_to(body.lane, config)
        change = Revision(lane.n if lane else None, body.priority)
        tally = Tally()
        act = None if body.dry_run else _act(front, config, body.action, change)
        try:
            if body.ids is not None:
                await _by_id(front, identity, body, act, tally)
                following = None
            else:
                following = await _by_filter(front, identity, config, body, change, act, tally)
        finally:
            changed = 0 if body.dry_run else tally.changed
            audit_note(request, action=body.action, matched=tally.matched, changed=changed)
        if body.dry_run:
            audit_note(request, outcome=DRY_RUN)
        return json_response(tally.answer(following, dry=body.dry_run))


class Tally:
    """What has been done so far."""

    def __init__(self) -> None:
        self.matched = self.changed = self.scanned = 0
        self.errors: list[BulkError] = []

    def count(self, ids: Sequence[bytes], codes: Sequence[str]) -> None:
        """Notes what became of tasks; '' of those that were changed."""
        self.matched += len(ids)
        self.changed += sum(not code for code in codes)
        for id, code in zip(ids, codes, strict=True):
            if code and len(self.errors) < _ERRORS:
                self.errors.append(BulkError(id_text(id), f"it {why_not(code)}"))

    def answer(self, following: str | None, *, dry: bool) -> BulkAnswer:
        """All of it; ``dry``: nothing was done to those that could have been changed."""
        changed, skipped = 0 if dry else self.changed, self.matched - self.changed
        return BulkAnswer(self.matched, changed, skipped, following, self.scanned, self.errors)


def _check(body: BulkBody) -> None:
    """Raises Problem invalid-request when it is not clear what is to be done, and to which tasks."""
    errors: list[FieldError] = []
    named = body.filter is not None and not says_nothing(body.filter)
    if (body.ids is not None) + named + body.all != 1:
        message = 'say which tasks are meant by one of ids, a filter that says something, and "all": true'
        errors.append(FieldError("filter", message))
    if body.action == "revise" and body.priority is None and body.lane is None:
        errors.append(FieldError("priority", "revise needs a priority, a lane, or both"))
    if body.action != "revise" and (body.priority is not None or body.lane is not None):
        errors.append(FieldError("priority" if body.priority is not None else "lane", "only revise takes this field"))
    if body.ids is not None and (body.cursor is not None or body.limit is not None):
        errors.append(FieldError("ids", "cursor and limit go with a filter or all, not with ids"))
    if errors:
        raise bad_form(errors)


def _act(front: QueueFront, config: QueueConfig, action: str, change: Revision) -> Act:
    """What is done to rows; per row '' when it was changed, else why not."""

    async def cancel(rows: Sequence[TaskRow]) -> list[str]:
        codes = await front.store.cancel([row.id for row in rows])
        for row, code in zip(rows, codes, strict=True):
            if code == "cancelled":
                lane = config.lane_number(row.envelope.lane)
                front.tasks.series(lane.name if lane else "", row.envelope.body.type).cancelled += 1
        return ["" if code in ("cancelled", "requested") else code for code in codes]

    async def retry(rows: Sequence[TaskRow]) -> list[str]:
        codes = await front.store.actions.retry([row.id for row in rows])
        return ["" if code == "queued" else code for code in codes]

    async def revise(rows: Sequence[TaskRow]) -> list[str]:
        codes = await front.store.actions.revise([row.id for row in rows], change)
        return ["" if code in ("revised", "same") else code for code in codes]

    async def purge(rows: Sequence[TaskRow]) -> list[str]:
        ids = [row.id for row in rows]
        await front.store.purge(ids)
        left = await front.store.browse.states(ids)
        return ["" if state is None else state.label for state in left]

    return {"cancel": cancel, "retry": retry, "revise": revise, "purge": purge}[action]


async def _by_id(front: QueueFront, identity: Identity, body: BulkBody, act: Act | None, tally: Tally) -> None:
    ids = list(dict.fromkeys(read_ids(body.ids or [])))
    tally.scanned = len(ids)
    for at in range(0, len(ids), _AT_ONCE):
        chunk = ids[at : at + _AT_ONCE]
        rows = await front.ask(front.store.browse.rows(chunk))
        seen = [row for row in rows if row is not None and identity.sees(row.envelope.tenant)]
        able = [row for row in seen if row.state in _ABLE[body.action]]
        codes = await front.ask(act(able), changes=True) if act and able else [""] * len(able)
        said = {row.id: row.state.label for row in seen} | {row.id: code for row, code in zip(able, codes, strict=True)}
        tally.count(chunk, [said.get(id, "unknown") for id in chunk])


async def _by_filter(
    front: QueueFront,
    identity: Identity,
    config: QueueConfig,
    body: BulkBody,
    change: Revision,
    act: Act | None,
    tally: Tally,
) -> str | None:
    """Works for about a second; the cursor to go on with, or None at the end."""
    wanted = _able(read_filter(body.filter or FilterBody(), config, identity), body.action)
    # What an answer's cursor belongs to: its tasks must not be met by another action by mistake.
    more = f"{body.action} {change.lane} {change.priority}"
    cursor, until_ms = await opened(front, identity, body.cursor), 0
    if body.action in _MOMENT:
        until_ms, cursor = await begun(front, cursor)
        wanted = settled_before(wanted, until_ms)
    after = read_position(cursor, wanted, Sort.OLDEST, more)
    until = time.monotonic() + _WORK_S
    while True:
        left = _AT_ONCE if body.limit is None else min(_AT_ONCE, body.limit - tally.matched)
        page = await front.ask(
            front.store.browse.page(wanted, Sort.OLDEST, left, after, also=_also(body.action, change), budget=_LOOK_S)
        )
        codes = await front.ask(act(page.rows), changes=True) if act and page.rows else [""] * len(page.rows)
        tally.count([row.id for row in page.rows], codes)
        tally.scanned += page.scanned
        after = page.after
        over = time.monotonic() >= until or (body.limit is not None and tally.matched >= body.limit)
        if after is None or over:
            break
    tally.scanned = scanned_of(identity, tally.scanned, tally.matched)
    if after is None:
        return None
    text = cursor_text(after, wanted, Sort.OLDEST, more)
    return await sealed(front, identity, with_moment(until_ms, text) if until_ms else text)


def _able(wanted: Filter, action: str) -> Filter:
    """The filter among the states that the action means anything to."""
    found = with_states(wanted, _ABLE[action])
    if found is None:
        able = ", ".join(state.label for state in LIST_ORDER if state in _ABLE[action])
        raise bad_form([FieldError("filter.state", f"{action} is for tasks that are {able}")])
    return found


def _also(action: str, change: Revision) -> Callable[[TaskRow], bool] | None:
    """Leaves out what is as it is to be: a revised task may stand further on in the list, and must not count twice."""
    if action != "revise":
        return None

    def differs(row: TaskRow) -> bool:
        return (change.lane is not None and row.lane != change.lane) or (
            change.priority is not None and row.priority != change.priority
        )

    return differs
