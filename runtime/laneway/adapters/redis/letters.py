"""The copies of dead letters in the capped stream ``log:dead``, for the purge that must not leave them behind."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from laneway.kit.ids import id_text

if TYPE_CHECKING:
    from laneway.adapters.redis.store import RedisStore

#: Entries that one read takes: each has up to about 1 MB.
_PAGE = 50
#: How long an index is good for (s): it is read on from where it ended, but trimmed entries stay in it.
_AGE_S = 60.0


class _Named(msgspec.Struct):
    id: str = ""


_decode = msgspec.json.Decoder(_Named).decode


class Letters:
    """Which entries of the stream are of which task. The stream is read once for all calls of a large purge, and what
    has come since for each; it is capped by bytes, so that this is bounded. What Kafka has is not touched."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._found: defaultdict[str, list[bytes]] = defaultdict(list)
        self._read_to = b"-"
        self._begun = float("-inf")
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        """Reads the stream, or what has come since.

        Raises:
            Unavailable: Redis is away.
        """
        client, key = self._store._client, self._store.keys.log("dead")
        async with self._lock:
            if time.monotonic() - self._begun > _AGE_S:
                self._found.clear()
                self._read_to, self._begun = b"-", time.monotonic()
            while True:
                rows = await self._store._command(client.xrange, key, self._read_to, "+", _PAGE)
                for entry, fields in rows:
                    self._found[_id(fields.get(b"r", b""))].append(entry)
                    self._read_to = b"(" + entry
                if len(rows) < _PAGE:
                    return

    async def erase(self, ids: Sequence[bytes]) -> None:
        """Deletes the entries of tasks, of those that were read.

        Raises:
            Unavailable: Redis is away.
        """
        texts = [id_text(id) for id in ids]
        entries = [entry for text in texts for entry in self._found.get(text, ())]
        if entries:
            await self._store._command(self._store._client.xdel, self._store.keys.log("dead"), *entries)
        for text in texts:
            self._found.pop(text, None)


def _id(record: bytes) -> str:
    try:
        return _decode(record).id
    except msgspec.MsgspecError:
        return ""  # (nobody's: left to the cap)
