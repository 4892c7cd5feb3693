"""What happened to tasks, as the event log tells it (one JSON object each), and positions in that log."""

from __future__ import annotations

import re

import msgspec

EVENT_SCHEMA = "laneway.event/v1"

#: The kind that says that events are missing before this point.
GAP = "gap"
#: What the outbox tells of, in the words of the scripts.
KINDS = (
    "submitted", "succeeded", "retried", "snoozed", "dead", "cancelled", "expired", "released", "crashed", "replayed",
    "revised",
)  # fmt: skip

_POSITION = re.compile(r"\d{1,15}-\d{1,15}")

#: Where a log begins.
START = (0, 0)


class EventTasks(msgspec.Struct):
    """Tasks of one event that are in the same lane after as many attempts."""

    lane: str
    attempts: int
    ids: list[str]


class Event(msgspec.Struct):
    """What happened to tasks in one transition. Consumers deduplicate by ``sequence``: the same one may come twice.
    Sequences ascend.

    Kind ``gap`` says that ``missing`` events had to give way before this one.
    """

    schema: str
    queue: str
    kind: str
    at: int
    sequence: str
    tasks: list[EventTasks]
    missing: int = 0


decode_event = msgspec.json.Decoder(Event).decode

#: A sequence as it compares: ms since 1970 when it was written, and a number among those of that ms.
Position = tuple[int, int]


def position_of(text: str) -> Position:
    """The position that a sequence stands for, the mark of a gap included.

    Raises:
        ValueError: it is none.
    """
    plain = text.removesuffix("-gap")
    if not _POSITION.fullmatch(plain):
        raise ValueError(f"{text!r} is no position in a log of events: those look like 1764000000000-0")
    ms, _, n = plain.partition("-")
    return int(ms), int(n)


def position_text(position: Position) -> str:
    """A position as :func:`position_of` reads it."""
    return f"{position[0]}-{position[1]}"
