"""The record on the topic ``<queue>.tasks``: several tasks for one worker, in one msgpack array.

``[1, incarnation, [[id, fence, attempt, crashes, flags, envelope], ...]]``. Workers that share a partition pass over
what is addressed to others.
"""

from __future__ import annotations

import msgspec

from laneway.kit.ids import ID_BYTES, INCARNATION_BYTES
from laneway.ports.store import Claimed

VERSION = 1


class _Record(msgspec.Struct, array_like=True):
    version: int
    incarnation: bytes
    tasks: list[Claimed]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


def encode_record(incarnation: bytes, tasks: list[Claimed]) -> bytes:
    """One record's value."""
    return _encode(_Record(VERSION, incarnation, tasks))


def decode_record(value: bytes) -> tuple[bytes, list[Claimed]]:
    """The addressee and the tasks of a record.

    Raises:
        ValueError: it is not such a record; the message says why.
    """
    try:
        record = _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a record of tasks: {error}") from error
    if record.version != VERSION:
        raise ValueError(f"a record of version {record.version}; this Laneway reads version {VERSION}")
    if len(record.incarnation) != INCARNATION_BYTES or any(len(task.id) != ID_BYTES for task in record.tasks):
        raise ValueError("a record with an incarnation or a task id of the wrong length")
    return record.incarnation, record.tasks
