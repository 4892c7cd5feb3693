"""Reads the capped stream of events that stands in for a Kafka topic (see :mod:`laneway.adapters.redis.log`).

An entry's own id comes from the clock of the same Redis as the event's sequence, a moment later. So all events after a
sequence are found by looking from shortly before its time on, without knowing the entry's id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import RedisError

from laneway.adapters.redis.connection import AWAY, AnyRedis, connect, turned_away
from laneway.errors import Unavailable
from laneway.model.events import Position

if TYPE_CHECKING:
    from laneway.adapters.redis.store import RedisStore

_T = TypeVar("_T")

_PAGE = 200
_BLOCK_MS = 1000
#: Seconds without any answer, blocking included, after which the connection counts as broken.
_PATIENCE_S = 5.0
#: After a failover the new primary's clock may be behind, and its streams go on from the old one's.
_MARGIN_MS = 1000


class StreamFeed:
    """An EventFeed on the stream ``events`` of a store's queue. It connects at first use, by itself: what blocks must
    not stand before other calls."""

    def __init__(self, store: RedisStore) -> None:
        self._server = store.server
        self._key = store.keys.log("events")
        self._client: AnyRedis | None = None

    async def latest(self, most: int) -> list[bytes]:
        """The newest events, oldest first."""
        rows = await self._ask(lambda client: client.xrevrange(self._key, count=most))
        return [fields[b"r"] for _, fields in reversed(rows)]

    async def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        """Batches of events from at or before the first one after ``after`` on."""
        cursor: Any = f"{max(0, after[0] - _MARGIN_MS)}-0"
        while True:
            at = cursor
            answer = await self._ask(lambda client: client.xread({self._key: at}, count=_PAGE, block=_BLOCK_MS))  # noqa: B023  (awaited at once)
            rows = _rows(answer)
            if rows:
                cursor = rows[-1][0]
            yield [fields[b"r"] for _, fields in rows]

    async def _ask(self, command: Callable[[AnyRedis], Awaitable[_T]]) -> _T:
        if self._client is None:
            self._client = connect(self._server, timeout=None)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await command(self._client)
        except (TimeoutError, *AWAY) as error:
            raise turned_away(self._server, error) or Unavailable(f"Redis is away ({error})", 1.0) from error
        except RedisError as error:
            raise turned_away(self._server, error) or Unavailable(f"Redis refused: {error}", 1.0) from error

    async def close(self) -> None:
        """Closes its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _rows(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in the answer to XREAD: a list or a map of streams, as protocol and client have it."""
    if not answer:
        return []
    found = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return list(found if not found or isinstance(found[0][0], bytes) else found[0])
