"""What a running handler tells of itself, and what workers tell of the types they run. Plain data."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

#: How much is kept of a task's log: the last lines up to both of these (a slot of 2 KiB more may be there).
LINES_KEPT = 200
BYTES_KEPT = 32_768
#: Characters of one line, and of the words that go with a progress; longer ones are cut.
LINE_CHARS = 4000
MESSAGE_CHARS = 200
#: Bytes of one checkpoint, encoded.
CHECKPOINT_BYTES = 262_144
#: ``Claimed.flags``: there are notes of an earlier attempt.
NOTED = 64
#: An application that no worker announced for so long (ms) is forgotten.
TYPES_KEPT_MS = 86_400_000
#: A checkpoint of nothing: it takes away the one that there is.
NOTHING = b"\xc0"

_SIZE = struct.Struct(">I")


class LogLine(msgspec.Struct, frozen=True):
    """One line of a task's log. ``n`` counts the task's lines from 1, over all attempts; ``at`` is ms since 1970 by the
    worker's clock."""

    at: int
    attempt: int
    level: str
    message: str
    n: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far a handler is: ``fraction`` from 0 to 1, said by attempt ``attempt`` at ``at`` (ms since 1970)."""

    fraction: float
    message: str = ""
    at: int = 0
    attempt: int = 0


class Note(msgspec.Struct):
    """What one attempt has to tell. ``number`` counts its notes from 1: one told twice is taken once. ``checkpoint`` is
    msgpack (:data:`NOTHING`: none any more); what is None has not changed."""

    id: bytes
    fence: int
    number: int
    progress: Progress | None = None
    checkpoint: bytes | None = None
    lines: Sequence[LogLine] = ()


class Saved(msgspec.Struct, frozen=True):
    """A task's checkpoint: msgpack, saved by attempt ``attempt`` at ``at`` (ms since 1970)."""

    data: bytes
    attempt: int
    at: int


class Told(msgspec.Struct, frozen=True):
    """How much there is of a task. ``lines`` were logged in all (the last of them are kept); ``saved_bytes`` has the
    checkpoint (0: there is none), of ``saved_at`` (ms since 1970)."""

    progress: Progress | None = None
    lines: int = 0
    saved_bytes: int = 0
    saved_at: int = 0


class LogPage(msgspec.Struct, frozen=True):
    """Lines of a task's log, oldest first. ``next`` is where to go on (the number of the last line there is);
    ``truncated``: lines between where it was to begin and the first of these are not kept any more."""

    lines: list[LogLine]
    next: int
    truncated: bool


class TaskType(msgspec.Struct, frozen=True, omit_defaults=True):
    """A type of tasks as a worker's application defines it. ``schema`` is the JSON Schema of its payload, an object;
    ``lane`` is None for the queue's default; ``defaults`` has what a submission need not say (times in seconds);
    ``kind`` is where its handler runs: async, thread or process."""

    type: str
    schema: dict[str, Any]
    lane: str | None = None
    description: str = ""
    defaults: dict[str, Any] = {}
    app: str = ""
    kind: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode_line = msgspec.msgpack.Decoder(tuple[int, int, str, str]).decode


def pack_lines(lines: Iterable[LogLine]) -> bytes:
    """Lines as they are stored: each in msgpack, after its length."""
    parts: list[bytes] = []
    for line in lines:
        raw = _encode((line.at, line.attempt, line.level, line.message))
        parts += (_SIZE.pack(len(raw)), raw)
    return b"".join(parts)


def unpack_lines(blob: bytes, first: int) -> list[LogLine]:
    """The lines in a stored form; ``first`` is the number of the first one."""
    lines: list[LogLine] = []
    pos = 0
    while pos < len(blob):
        (size,) = _SIZE.unpack_from(blob, pos)
        at, attempt, level, message = _decode_line(blob[pos + 4 : pos + 4 + size])
        lines.append(LogLine(at, attempt, level, message, first + len(lines)))
        pos += 4 + size
    return lines


def page_of(lines: list[LogLine], last: int, after: int) -> LogPage:
    """The page after line ``after`` of the kept ``lines``; ``last`` is the number of the last line ever."""
    kept = lines[-LINES_KEPT:]
    size, begin = 0, len(kept)
    while begin > 0 and size < BYTES_KEPT:
        begin -= 1
        size += len(kept[begin].message.encode()) + 40
    kept = kept[begin:]
    page = [line for line in kept if line.n > after]
    first = kept[0].n if kept else last + 1
    return LogPage(page, max(last, after), first > after + 1)
