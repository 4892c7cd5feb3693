"""What handlers tell of themselves, in Redis (``lua/note.lua``), and the types that workers announce."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from laneway.adapters.redis.calls import Argument
from laneway.model.notes import (
    NOTHING,
    TYPES_KEPT_MS,
    LogLine,
    LogPage,
    Note,
    Progress,
    Saved,
    TaskType,
    Told,
    pack_lines,
    page_of,
    unpack_lines,
)

if TYPE_CHECKING:
    from laneway.adapters.redis.store import RedisStore

_ITEM = struct.Struct(">14sdIIdB")
_SLOT = struct.Struct(">II")
_PROGRESS, _SAVE, _CLEAR = 1, 2, 4
_SLOTS = 32
_IDS = 500
#: Bytes of arguments in one call: Redis does nothing else meanwhile.
_CALL_BYTES = 1_048_576
_CALL_NOTES = 100


class _Head(msgspec.Struct):
    """The head of a task's notes as ``lua/note.lua`` writes it: see there."""

    n: int
    a: int
    z: int
    k: int
    ka: int = 0
    kt: int = 0
    p: float = 0.0
    w: str = ""
    pa: int = 0
    pt: int = 0

    @property
    def progress(self) -> Progress | None:
        return Progress(float(self.p), self.w, self.pa, self.pt) if self.pa else None


_decode_head = msgspec.msgpack.Decoder(_Head).decode
_encode_types = msgspec.msgpack.Encoder().encode
_decode_types = msgspec.msgpack.Decoder(list[TaskType]).decode


class RedisNotes:
    """The notes of one queue, over its store's connections."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def note(self, inc: bytes, notes: Sequence[Note]) -> list[bool]:
        """Writes notes."""
        taken: list[bool] = []
        args: list[Argument] = []
        size = 0
        for note in notes:
            item = _item(note)
            more = len(item[2]) + len(item[3])
            if args and (size + more > _CALL_BYTES or len(args) >= 4 * _CALL_NOTES):
                taken += await self._note(inc, args)
                args, size = [], 0
            args += item
            size += more
        return taken + (await self._note(inc, args) if args else [])

    async def _note(self, inc: bytes, args: list[Argument]) -> list[bool]:
        reply = await self._store._call("note", inc, *args)
        return [code == 1 for code in reply[2]]

    async def saved(self, ids: Sequence[bytes]) -> list[Saved | None]:
        """The checkpoints of tasks."""
        found: list[Saved | None] = []
        for at in range(0, len(ids), _IDS):
            chunk = ids[at : at + _IDS]
            raw = await self._fields([field for id in chunk for field in (id, id + b"s")])
            for head_raw, data in zip(raw[::2], raw[1::2], strict=True):
                head = _decode_head(head_raw) if head_raw else None
                found.append(Saved(data, head.kt, head.ka) if head and head.k and data is not None else None)
        return found

    async def unsave(self, ids: Sequence[bytes], *, succeeded: bool = False) -> list[bool]:
        """Forgets the checkpoints of tasks that nobody runs."""
        done: list[bool] = []
        for at in range(0, len(ids), _CALL_NOTES):
            chunk = ids[at : at + _CALL_NOTES]
            reply = await self._store._call("unsave", int(succeeded), *chunk)
            done += [code == 1 for code in reply[2]]
        return done

    async def told(self, ids: Sequence[bytes]) -> list[Told | None]:
        """How much there is of tasks."""
        found: list[Told | None] = []
        for head in await self._heads(ids):
            found.append(Told(head.progress, head.n, head.k, head.ka) if head else None)
        return found

    async def progress(self, ids: Sequence[bytes]) -> list[Progress | None]:
        """How far tasks are."""
        return [head.progress if head else None for head in await self._heads(ids)]

    async def logs(self, id: bytes, after: int = 0) -> LogPage:
        """The kept log lines after a number."""
        (head,) = await self._heads([id])
        if head is None or head.z == head.a:
            return LogPage([], max(after, head.n if head else 0), bool(head and head.n > after))
        slots = [id + bytes([number % _SLOTS]) for number in range(head.a, head.z)]
        lines: list[LogLine] = []
        # What was dropped between the two calls is missing here, and what came is there already: both are told truly.
        for raw in await self._fields(slots):
            if raw is not None:
                first, _ = _SLOT.unpack_from(raw)
                lines += unpack_lines(raw[_SLOT.size :], first)
        lines.sort(key=lambda line: line.n)
        return page_of(lines, lines[-1].n if lines else head.n, after)

    async def announce(self, app: str, types: Sequence[TaskType]) -> bool:
        """Says that a worker runs these types; they are sent when Redis does not have them."""
        reply = await self._store._call("announce", app, b"", TYPES_KEPT_MS)
        if reply[2]:
            return False
        await self._store._call("announce", app, _encode_types(list(types)), TYPES_KEPT_MS)
        return True

    async def types(self) -> list[TaskType]:
        """The types that workers announced within the last day."""
        found: dict[str, TaskType] = {}
        for raw in (await self._store._call("types", TYPES_KEPT_MS))[2:]:
            found.update((each.type, each) for each in _decode_types(raw))
        return sorted(found.values(), key=lambda each: each.type)

    async def _heads(self, ids: Sequence[bytes]) -> list[_Head | None]:
        heads: list[_Head | None] = []
        for at in range(0, len(ids), _IDS):
            heads += [_decode_head(raw) if raw else None for raw in await self._fields(list(ids[at : at + _IDS]))]
        return heads

    async def _fields(self, fields: list[bytes]) -> list[bytes | None]:
        store = self._store
        return list(await store._command(store._client.hmget, store.keys.key("notes"), fields)) if fields else []


def _item(note: Note) -> tuple[bytes, str, bytes, bytes]:
    parts, fraction, message = 0, 0.0, ""
    if note.progress is not None:
        parts, fraction, message = _PROGRESS, note.progress.fraction, note.progress.message
    checkpoint = b""
    if note.checkpoint == NOTHING:
        parts |= _CLEAR
    elif note.checkpoint is not None:
        parts |= _SAVE
        checkpoint = note.checkpoint
    head = _ITEM.pack(note.id, note.fence, note.number, len(note.lines), fraction, parts)
    return head, message, checkpoint, pack_lines(note.lines)
