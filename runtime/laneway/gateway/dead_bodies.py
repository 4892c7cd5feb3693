"""The queries and JSON bodies of dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from laneway.gateway.bodies import TaskAnswer, TaskId
from laneway.gateway.filtering import FilterBody, FilterQuery
from laneway.gateway.items import TaskItem

MOST_ITEMS = 200
MOST_IDS = 1_000

_DEAD = Meta(pattern="^dead$", description="dead, which is the only state here")
_FINGERPRINT = Meta(pattern="^[0-9a-f]{16}$", description="a fingerprint: 16 hexadecimal digits in lower case")
_CURSOR = Meta(max_length=1000, description="`next` of the answer before")


class DeadQuery(FilterQuery, kw_only=True):
    """What the list of dead letters takes."""

    state: Annotated[str, _DEAD] | None = None
    fingerprint: Annotated[str, _FINGERPRINT] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS, description=f"a whole number from 1 to {MOST_ITEMS}")] = 50
    cursor: Annotated[str, _CURSOR] | None = None


class GroupsQuery(FilterQuery, kw_only=True):
    """What the groups of dead letters take."""

    state: Annotated[str, _DEAD] | None = None
    cursor: Annotated[str, _CURSOR] | None = None


class DeadItem(TaskItem, rename="camel", kw_only=True):
    """A dead letter in a list. Those with the same ``fingerprint`` died of the same error."""

    fingerprint: str


class DeadList(msgspec.Struct):
    """A page of dead letters, newest first. ``next`` is the cursor of the next page, null at the end: a page may hold
    fewer items than asked for, or none, and not be the last. ``scanned`` were looked at for it; ``total`` is how many
    the whole list has, null where that is not known without looking at each."""

    items: list[DeadItem]
    next: str | None
    scanned: int
    total: int | None


class GroupBody(msgspec.Struct, rename="camel"):
    """Dead letters that died of the same error. ``message`` has <n>, <str> and so on in the place of what differs;
    ``frame`` is where it was raised ("" when that is not known); ``sample`` is the newest one's id."""

    fingerprint: str
    type: str
    kind: str
    message: str
    frame: str
    count: int
    first_at: datetime | None
    last_at: datetime | None
    sample: str


class GroupsAnswer(msgspec.Struct):
    """Groups of dead letters, largest first. ``complete``: all were looked at; else ``next`` goes on with older ones,
    whose groups add to those of the same fingerprint here."""

    groups: list[GroupBody]
    scanned: int
    complete: bool
    next: str | None


class DeadAnswer(TaskAnswer, rename="camel", kw_only=True):
    """A dead letter with all its attempts and errors. ``frame`` is where the last error was raised."""

    fingerprint: str
    frame: str


class DeadFilterBody(FilterBody, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are meant: all that is said must hold."""

    state: Annotated[str, _DEAD] | None = None
    fingerprint: Annotated[str, _FINGERPRINT] | None = None


class ChosenBody(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to change: those named by ``ids``, those that the ``filter`` means, or ``all``."""

    ids: (
        Annotated[
            list[TaskId], Meta(min_length=1, max_length=MOST_IDS, description=f"a list of 1 to {MOST_IDS:,} task ids")
        ]
        | None
    ) = None
    filter: Annotated[DeadFilterBody, Meta(description="an object with any of the filter's fields")] | None = None
    all: Annotated[bool, Meta(description="true to mean every dead letter")] = False
    share: Annotated[
        float,
        Meta(gt=0, le=1, description="a number over 0, up to 1: only so large a part of them, always the same"),
    ] = 1.0
    limit: (
        Annotated[
            int,
            Meta(
                ge=1, le=MOST_IDS,
                description=f"a whole number from 1 to {MOST_IDS}: the newest so many (else all, oldest first)",
            ),
        ]
        | None
    ) = None  # fmt: skip
    dry_run: Annotated[bool, Meta(description="true to change nothing, and only tell")] = False
    cursor: Annotated[str, _CURSOR] | None = None


class ReplayBody(ChosenBody, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to queue again: those named by ``ids``, those that the ``filter`` means, or ``all``."""

    fresh: Annotated[
        bool, Meta(description="true to begin each from its start, without the checkpoint that its handler saved")
    ] = False


class RefusedBody(msgspec.Struct):
    """A task that was named and not changed: ``why`` is the state that it is in, unknown, or lane removed."""

    id: str
    why: str


class ReplayAnswer(msgspec.Struct):
    """What one call did: ``matched`` of the ``scanned`` dead letters were meant, and those in ``ids`` are queued again
    (with dryRun: would be, and ``replayed`` is 0). ``next``: there are more; send it as cursor with the same choice."""

    matched: int
    replayed: int
    ids: list[str]
    next: str | None
    scanned: int
    refused: list[RefusedBody]


class PurgeAnswer(msgspec.Struct):
    """What one call did: ``matched`` of the ``scanned`` dead letters were meant, and those in ``ids`` are forgotten
    (with dryRun: would be, and ``purged`` is 0). ``next``: there are more; send it as cursor with the same choice."""

    matched: int
    purged: int
    ids: list[str]
    next: str | None
    scanned: int
    refused: list[RefusedBody]
