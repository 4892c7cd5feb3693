"""What the scripts answer, as the port's types."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

import msgspec

from laneway.kit.ids import ID_BYTES
from laneway.model.config import QueueConfig
from laneway.model.envelope import Body, Envelope, decode_stored
from laneway.model.record import Record, decode_errors, decode_record
from laneway.model.states import State
from laneway.ports.store import (
    Beat,
    Begun,
    Claimed,
    Depth,
    Dispatched,
    LaneStats,
    OutboxEntry,
    QueueStats,
    Submitted,
    TaskView,
    Turn,
    WorkerStats,
)

_HEAD = struct.Struct(">14sdHBB")
_HOLDER = struct.Struct(">8siI")
_EVENT = struct.Struct(">14sBH")


def split_ids(blob: bytes) -> frozenset[bytes]:
    """The ids in a concatenation of them."""
    return frozenset(split_id_list(blob))


def split_id_list(blob: bytes) -> list[bytes]:
    """The ids in a concatenation of them, in order."""
    return [blob[i : i + ID_BYTES] for i in range(0, len(blob), ID_BYTES)]


class HandedOver(Sequence[Claimed]):
    """The tasks of an answer, taken apart one by one when they are looked at: how many there are is known before, so
    that a worker can ask for the next while it starts these. ``heads`` is one head after the other."""

    __slots__ = ("_envelopes", "_heads")

    def __init__(self, heads: bytes, envelopes: list[bytes]) -> None:
        self._heads, self._envelopes = heads, envelopes

    def __len__(self) -> int:
        return len(self._envelopes)

    def __iter__(self) -> Iterator[Claimed]:
        heads = _HEAD.iter_unpack(self._heads)
        for (id_, fence, attempt, crashes, flags), envelope in zip(heads, self._envelopes, strict=True):
            yield Claimed(id_, int(fence), attempt, crashes, flags, envelope)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    @overload
    def __getitem__(self, at: int) -> Claimed: ...

    @overload
    def __getitem__(self, at: slice) -> list[Claimed]: ...

    def __getitem__(self, at: int | slice) -> Claimed | list[Claimed]:
        return list(self)[at]


def turn(reply: list[Any]) -> Turn:
    """The answer of claim and turn."""
    status = reply[0].decode()
    if len(reply) < 4:
        return Turn(status, reply[1], [], {})
    n = reply[3]
    refused = {reply[4 + i] - 1: reply[5 + i].decode() for i in range(0, n, 2)} if n else {}
    tasks = HandedOver(reply[4 + n], reply[5 + n :]) if len(reply) > 5 + n else []
    return Turn(status, reply[1], tasks, refused, reply[2])


def dispatched(reply: list[Any]) -> Dispatched:
    """The answer of dispatch."""
    tasks: list[tuple[bytes, int, Claimed]] = []
    if len(reply) > 6:
        each = iter(HandedOver(reply[5], reply[6:]))
        for inc, partition, count in _HOLDER.iter_unpack(reply[4]):
            tasks += [(inc, partition, task) for task in islice(each, count)]
    return Dispatched(reply[1], tasks, reply[3], reply[2])


def begun(reply: list[Any], n: int) -> Begun:
    """The answer of start."""
    blob = reply[2]
    refused = {reply[i] - 1: reply[i + 1].decode() for i in range(3, len(reply), 2)}
    return Begun(reply[1], blob[:n], struct.unpack_from(f">{n}H", blob, n), refused)


def submissions(reply: list[Any], batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
    """The answer of submit: all accepted but those that it names."""
    results = [Submitted("accepted", id_) for id_, _ in batch]
    for i in range(2, len(reply), 3):
        at, code, detail = reply[i] - 1, reply[i + 1].decode(), reply[i + 2]
        result = Submitted(code, batch[at][0])
        if code in ("duplicate", "conflict"):
            result.id = detail
        elif code == "rate":
            wait, scope = detail.decode().split()
            result.retry_ms, result.scope = int(wait), scope
        elif code == "backlog":
            result.retry_ms = int(detail)
        else:
            result.scope = detail.decode()
        results[at] = result
    return results


def beat(reply: list[Any]) -> Beat:
    """The answer of heartbeat."""
    status = reply[0].decode()
    if status != "ok":
        return Beat(status, reply[1])
    return Beat(status, reply[1], reply[2], split_ids(reply[3]), split_ids(reply[4]))


def read_envelope(raw: bytes, rec: Record | None) -> Envelope:
    """The envelope; of one that can't be read, what the record knows."""
    try:
        return decode_stored(raw)
    except ValueError as error:
        body = Body("(unreadable)", b"\x80", description=str(error))
        lane, most, tenant = (rec.lane, rec.max_attempts, rec.tenant) if rec else (0, 0, "")
        return Envelope(lane, 0, most, tenant, body, int.from_bytes(raw[:6], "big"))


def view(id_: bytes, envelope: bytes, record: bytes, due: bytes, errors: bytes, result: bytes) -> TaskView | None:
    """One task of get."""
    if not envelope:
        return None
    rec = decode_record(record) if record else None
    state = rec.state if rec else (State.SCHEDULED if due else State.QUEUED)
    env = read_envelope(envelope, rec)
    return TaskView(id_, state, env, rec, decode_errors(errors), result or None, float(due or 0))


def stats(reply: list[Any], config: QueueConfig) -> QueueStats:
    """The answer of stats."""
    now = reply[1]
    flat = reply[2]
    numbers = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    names = {lane.n: lane.name for lane in config.lanes}
    lanes = []
    flat = reply[3]
    for i in range(0, len(flat), 4):
        oldest = flat[i + 3]
        age = now - (int.from_bytes(oldest[:6], "big")) if oldest else -1
        lanes.append(LaneStats(names.get(flat[i], str(flat[i])), flat[i + 1], flat[i + 2], age))
    workers = []
    flat = reply[4]
    for i in range(0, len(flat), 4):
        reg = msgspec.msgpack.decode(flat[i + 1])
        workers.append(
            WorkerStats(
                flat[i], reg["n"], reg["m"], reg["st"], int(reg["s"]), int(reg["w"]), int(reg["p"]), flat[i + 3],
                max(0, now - flat[i + 2]),
            )
        )  # fmt: skip
    extra = {name: numbers.pop(name) for name in ("outbox_bytes", "outbox_entries", "outbox_gap", "finished_bytes")}
    return QueueStats(now, numbers, lanes, workers, **extra)


def depth(reply: list[Any]) -> Depth:
    """The answer of depth."""
    now, ready, stopped, parked, soon, dispatched, running, ran, took = reply[1:10]
    run_ms = float(took) / float(ran) if float(ran) else 0.0
    return Depth(now, ready, stopped, parked, soon, dispatched, running, run_ms)


def outbox_entry(entry: bytes, fields: dict[bytes, bytes]) -> OutboxEntry:
    """One entry of the outbox stream."""
    blob = fields[b"i"]
    size, own = _EVENT.size, _EVENT.size - ID_BYTES
    ids = [blob[i : i + ID_BYTES] for i in range(0, len(blob), size)]
    tails = [blob[ID_BYTES + i :: size] for i in range(own)]
    if all(tail.count(tail[0]) == len(tail) for tail in tails):  # (one call's tasks mostly have all the same)
        _, lane, attempts = _EVENT.unpack_from(blob)
        groups = [(lane, attempts, ids)]
    else:
        by: dict[tuple[int, int], list[bytes]] = {}
        for id_, lane, attempts in _EVENT.iter_unpack(blob):
            by.setdefault((lane, attempts), []).append(id_)
        groups = [(lane, attempts, some) for (lane, attempts), some in by.items()]
    return OutboxEntry(entry, fields[b"k"].decode(), int(float(fields[b"t"])), groups, len(blob) + 64)
