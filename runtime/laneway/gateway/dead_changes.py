"""The routes that change dead letters: queue them again, or forget them; those named, those a filter means, or all.

A call does bounded work and tells where to go on. Without a limit it goes from the oldest death to the newest, so that
tasks come back in the order in which they died; what dies after the first call is left to a later one, else a replay
whose tasks die again would never end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.addressed import front_of
from laneway.gateway.auth.audit import DRY_RUN, audit_note
from laneway.gateway.auth.identity import identity_of
from laneway.gateway.bodies import FieldError
from laneway.gateway.cursors import begun, opened, scanned_of, sealed, settled_before, with_moment
from laneway.gateway.dead import DEAD, dead_only, marked
from laneway.gateway.dead_bodies import (
    MOST_IDS,
    ChosenBody,
    DeadFilterBody,
    PurgeAnswer,
    RefusedBody,
    ReplayAnswer,
    ReplayBody,
)
from laneway.gateway.endpoint import json_response
from laneway.gateway.filtering import read_filter, read_position, says_nothing
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.lists import read_ids
from laneway.gateway.query import bad_form, read_form
from laneway.gateway.routing import CHANGES, WITH_BODY, Doc, Row
from laneway.kit.ids import id_text, id_texts
from laneway.model.states import State
from laneway.policy.canary import in_share
from laneway.policy.listing import cursor_text
from laneway.ports.browse import Sort, TaskRow

#: Seconds of work that one call does, in pages that let others come between.
_BUDGET = 1.0
_PAGE = 100
_REPLAYABLE = frozenset({State.DEAD, State.CANCELLED, State.EXPIRED})

_PROBLEMS = (*WITH_BODY, "invalid-cursor", *CHANGES)
_REPLAY = Doc(
    "replayDead", "Queue dead letters again, with their attempts counted anew", {200: ReplayAnswer}, _PROBLEMS,
    body=ReplayBody, tag="dead letters",
)  # fmt: skip
_PURGE = Doc(
    "purgeDead", "Forget dead letters for good: payloads, errors and results", {200: PurgeAnswer}, _PROBLEMS,
    body=ChosenBody, tag="dead letters",
)  # fmt: skip

#: Changes tasks, and says of each "" or why it was not changed.
Change = Callable[[QueueFront, Sequence[bytes]], Awaitable[list[str]]]


class Done(msgspec.Struct):
    """What one call has done: how many tasks were meant, which of them changed (in a dry run: which would have been),
    and where to go on."""

    matched: int
    changed: list[bytes]
    refused: list[RefusedBody]
    scanned: int
    next: str | None


class DeadChangeRoutes:
    """The handlers."""

    def __init__(self, fronts: Fronts) -> None:
        self._fronts = fronts

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [
            Row("POST", f"{DEAD}/replay", self.replay, "operate", _REPLAY),
            Row("POST", f"{DEAD}/purge", self.purge, "admin", _PURGE),
        ]

    async def replay(self, request: Request) -> Response:
        """POST .../dead/replay"""
        front = front_of(self._fronts, request)
        form = await read_form(request, ReplayBody)
        done = await _change(request, front, form, _begun_anew if form.fresh else _replayed, _REPLAYABLE)
        replayed = _told(request, form, done, "replayed")
        return json_response(
            ReplayAnswer(done.matched, replayed, id_texts(done.changed), done.next, done.scanned, done.refused)
        )

    async def purge(self, request: Request) -> Response:
        """POST .../dead/purge"""
        front = front_of(self._fronts, request)
        form = await read_form(request, ChosenBody)
        done = await _change(request, front, form, _purged, frozenset({State.DEAD}))
        purged = _told(request, form, done, "purged")
        return json_response(
            PurgeAnswer(done.matched, purged, id_texts(done.changed), done.next, done.scanned, done.refused)
        )


def _told(request: Request, form: ChosenBody, done: Done, what: str) -> int:
    """How many were changed, which the log of changes is told as well. A dry run changes none."""
    n = 0 if form.dry_run else len(done.changed)
    audit_note(request, matched=done.matched, **{what: n})
    if form.dry_run:
        audit_note(request, outcome=DRY_RUN)
    return n


async def _change(
    request: Request, front: QueueFront, form: ChosenBody, change: Change, states: frozenset[State]
) -> Done:
    _check(form)
    if form.ids is not None:
        return await _by_id(request, front, form, change, states)
    return await _by_filter(request, front, form, change)


def _check(form: ChosenBody) -> None:
    """Exactly one way to say which: nothing is ever "all" by accident."""
    ways = [form.ids is not None, form.filter is not None, form.all]
    if sum(ways) != 1:
        raise bad_form(
            [FieldError("", "say which dead letters: give ids, or a filter, or all: true; one of the three")]
        )
    if form.filter is not None and form.filter.fingerprint is None and _every(form.filter):
        raise bad_form([FieldError("filter", "the filter means every dead letter: say so with all: true")])
    if form.ids is not None and (form.cursor is not None or form.limit is not None):
        raise bad_form([FieldError("ids", "cursor and limit go with a filter or all, not with ids")])


def _every(given: DeadFilterBody) -> bool:
    """Whether a filter lets every dead letter through. (That they are to be dead says nothing here.)"""
    return says_nothing(msgspec.structs.replace(given, state=None))


async def _by_id(
    request: Request, front: QueueFront, form: ChosenBody, change: Change, states: frozenset[State]
) -> Done:
    ids = list(dict.fromkeys(read_ids(form.ids or [])))
    rows = await front.ask(front.store.browse.rows(ids))
    identity = identity_of(request)
    refused: list[RefusedBody] = []
    meant: list[bytes] = []
    for id, row in zip(ids, rows, strict=True):
        if row is None or not identity.sees(row.envelope.tenant):
            refused.append(RefusedBody(id_text(id), "unknown"))
        elif row.state not in states:
            refused.append(RefusedBody(id_text(id), row.state.label))
        elif in_share(id, form.share):
            meant.append(id)
    changed = await _do(front, meant, form, change, refused)
    return Done(len(meant), changed, refused, len(ids), None)


async def _by_filter(request: Request, front: QueueFront, form: ChosenBody, change: Change) -> Done:
    given = form.filter or DeadFilterBody()
    config = await front.config()
    sort = Sort.ENDED if form.limit is None else Sort.ENDED_LAST
    identity = identity_of(request)
    until_ms, cursor = await begun(front, await opened(front, identity, form.cursor))
    wanted = settled_before(dead_only(read_filter(given, config, identity)), until_ms)
    bound = f"{form.share!r} {given.fingerprint or ''}"
    after = read_position(cursor, wanted, sort, bound)
    mark = marked(given.fingerprint or "")

    def also(row: TaskRow) -> bool:
        return in_share(row.id, form.share) and (mark is None or mark(row))

    most = form.limit or MOST_IDS
    stop_at = time.monotonic() + _BUDGET
    done = Done(0, [], [], 0, None)
    while True:
        want = min(_PAGE, most - done.matched)
        page = await front.ask(front.store.browse.page(wanted, sort, want, after, also=also))
        ids = [row.id for row in page.rows]
        done.matched += len(ids)
        done.scanned += page.scanned
        # (The oldest death goes first, also when the newest ones are meant.)
        done.changed += await _do(front, ids if sort is Sort.ENDED else ids[::-1], form, change, done.refused)
        after = page.after
        if after is None or done.matched >= most or time.monotonic() >= stop_at:
            break
    if after is not None:
        done.next = await sealed(front, identity, with_moment(until_ms, cursor_text(after, wanted, sort, bound)))
    done.scanned = scanned_of(identity, done.scanned, done.matched)
    return done


async def _do(
    front: QueueFront, ids: list[bytes], form: ChosenBody, change: Change, refused: list[RefusedBody]
) -> list[bytes]:
    """Changes tasks; those that it could not are added to ``refused``."""
    if form.dry_run or not ids:
        return ids
    codes = await front.ask(change(front, ids), changes=True)
    refused += [RefusedBody(id_text(id), code) for id, code in zip(ids, codes, strict=True) if code]
    return [id for id, code in zip(ids, codes, strict=True) if not code]


async def _replayed(front: QueueFront, ids: Sequence[bytes]) -> list[str]:
    codes = await front.store.replay(ids)
    return ["" if code == "queued" else code for code in codes]


async def _begun_anew(front: QueueFront, ids: Sequence[bytes]) -> list[str]:
    """Replays without checkpoints. They go first: a task whose replay then fails has only lost its old progress."""
    await front.store.notes.unsave(ids)
    return await _replayed(front, ids)


async def _purged(front: QueueFront, ids: Sequence[bytes]) -> list[str]:
    await front.store.purge(ids)
    left = await front.store.browse.states(ids)
    return ["" if state is None else state.label for state in left]
