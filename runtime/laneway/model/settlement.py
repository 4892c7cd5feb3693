"""Settlements: what a worker says of a task it ran (or did not start), packed many to a call."""

from __future__ import annotations

import struct
from enum import IntEnum

import msgspec

_ITEM = struct.Struct(">BB14sdd")
HAS_DATA, CRASHED = 1, 2


class Kind(IntEnum):
    """What becomes of the task. RETRY turns into a dead letter when the attempts are used up."""

    COMPLETE = 1
    RETRY = 2
    SNOOZE = 3
    DEAD = 4
    CANCEL = 5
    RELEASE = 6
    EXPIRE = 7


class Settlement(msgspec.Struct):
    """One outcome. ``data`` is the result (COMPLETE) or the error (other kinds), as msgpack; ``delay_ms`` is for
    RETRY and SNOOZE; ``crashed`` says that the task's own process died, which proves it guilty."""

    kind: Kind
    id: bytes
    fence: int
    delay_ms: float = 0.0
    data: bytes | None = None
    crashed: bool = False


def pack_settlements(batch: list[Settlement]) -> tuple[bytes, list[bytes]]:
    """The form scripts take: fixed-size items, and the data of those that carry any, in order."""
    pack = _ITEM.pack
    items: list[bytes] = []
    data: list[bytes] = []
    for s in batch:
        flags = CRASHED if s.crashed else 0
        if s.data is not None:
            flags |= HAS_DATA
            data.append(s.data)
        items.append(pack(s.kind, flags, s.id, s.fence, s.delay_ms))
    return b"".join(items), data
