"""What is kept of a queue over time, in Redis: ``lua/{tally,sample,observe}.lua`` write it into two rings, each a
hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from laneway.ports.history import FINE, Bucket, Count, LaneTimes, Ring, Sizes

if TYPE_CHECKING:
    from laneway.adapters.redis.store import RedisStore

#: Buckets in one call: Redis does nothing else meanwhile.
_PAGE = 256

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Bucket, strict=False).decode


class RedisHistory:
    """A HistoryStore over a store's connections."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def tally(self, last: bytes, counts: Sequence[Count]) -> int:
        """Adds counts."""
        return int(await self._store._calls.call("tally", last, _encode(counts)))

    async def sample(self, sizes: Sizes) -> None:
        """Adds the sizes of now."""
        numbers = (sizes.queued, sizes.running, sizes.scheduled, sizes.workers, sizes.slots)
        await self._store._calls.call("sample", sizes.at, _encode(numbers), _encode(sizes.lanes))

    async def observe(self, times: Sequence[LaneTimes]) -> None:
        """Adds how long tasks waited and ran."""
        await self._store._calls.call("observe", _encode(times))

    async def read(self, ring: Ring, since: int, until: int) -> list[Bucket]:
        """The buckets of a time."""
        key = self._store.keys.key("history_fine" if ring == FINE else "history_coarse")
        first, last = -(-since // ring.width), -(-until // ring.width)
        numbers = range(max(first, last - ring.places), last)
        found: list[Bucket] = []
        for at in range(0, len(numbers), _PAGE):
            page = numbers[at : at + _PAGE]
            raws = await self._store._command(self._store._client.hmget, key, [n % ring.places for n in page])
            for n, raw in zip(page, raws, strict=True):
                if raw is not None and (bucket := _decode(raw)).at == n * ring.width:
                    found.append(bucket)
        return found
