"""RedisActions: retry and revise over their scripts."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from laneway.ports.actions import Revision, Seen

_CHUNK = 100
_VERSION = struct.Struct(">BBdddd")
_REPLAYABLE = frozenset({"dead", "cancelled", "expired"})


class RedisActions:
    """Changes of one queue's waiting tasks. ``call`` runs a script with the configuration's hash; ``replay`` is the
    store's."""

    def __init__(
        self, call: Callable[..., Awaitable[Any]], replay: Callable[[Sequence[bytes]], Awaitable[list[str]]]
    ) -> None:
        self._call = call
        self._replay = replay

    async def retry(self, ids: Sequence[bytes]) -> list[str]:
        """Scheduled tasks now, ended ones again."""
        codes: list[str] = []
        for i in range(0, len(ids), _CHUNK):
            codes += [code.decode() for code in (await self._call("retry", *ids[i : i + _CHUNK]))[2:]]
        again = list(dict.fromkeys(id for id, code in zip(ids, codes, strict=True) if code in _REPLAYABLE))
        replayed = dict(zip(again, await self._replay(again), strict=True)) if again else {}
        return [
            retry_code(replayed.get(id) if code in _REPLAYABLE else None, code)
            for id, code in zip(ids, codes, strict=True)
        ]

    async def revise(self, ids: Sequence[bytes], change: Revision, seen: Seen | None = None) -> list[str]:
        """Another lane, priority or time."""
        expected = b"" if seen is None else version_of(seen)
        due: str | float | None = change.due_ms if change.delay_ms is None else f"+{change.delay_ms!r}"
        said = ["" if part is None else part for part in (change.lane, change.priority, due)]
        codes: list[str] = []
        for i in range(0, len(ids), _CHUNK):
            reply = await self._call("revise", *said, expected, *ids[i : i + _CHUNK])
            codes += [code.decode() for code in reply[2:]]
        return codes


def retry_code(replayed: str | None, code: str) -> str:
    """What retry answers for a task, from what the scripts say of it."""
    if replayed is not None:
        return replayed
    return {"retried": "queued", "queued": "waiting"}.get(code, code)


def version_of(seen: Seen) -> bytes:
    """The part of a task's record that a revision must find unchanged, as lua/revise.lua packs it."""
    record = seen.record
    if record is None:
        return _VERSION.pack(0, seen.envelope.lane, 0, 0, 0, seen.due_ms)
    return _VERSION.pack(record.state, record.lane, record.score, record.fence, record.since_ms, seen.due_ms)
