"""The event log of a memory store, read as the others are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from laneway.model.events import Position

_IDLE_S = 1.0
_PAGE = 200


class MemoryLog:
    """A capped log of each stream. What was told counts on, so readers know where they are when old entries go."""

    def __init__(self) -> None:
        self._kept: dict[str, list[bytes]] = {}
        self._gone: dict[str, int] = {}
        self._news = asyncio.Event()

    def append(self, stream: str, records: list[bytes], cap: int) -> None:
        """Appends, and lets the oldest go past ``cap``."""
        kept = self._kept.setdefault(stream, [])
        kept += records
        if len(kept) > cap:
            self._gone[stream] = self._gone.get(stream, 0) + len(kept) - cap
            del kept[: len(kept) - cap]
        self._news.set()
        self._news = asyncio.Event()

    def kept(self, stream: str) -> list[bytes]:
        """What is there now, oldest first."""
        return list(self._kept.get(stream, ()))

    def after(self, stream: str, n: int, most: int) -> tuple[list[bytes], int]:
        """Up to ``most`` records after the first ``n`` ever told, and how many were told up to the last of them."""
        kept, gone = self._kept.get(stream, []), self._gone.get(stream, 0)
        at = max(0, n - gone)
        page = kept[at : at + most]
        return page, gone + at + len(page)

    async def wait(self, seconds: float) -> None:
        """Waits for news, at most so long."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return


class MemoryFeed:
    """An EventFeed on the log of a memory store."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def latest(self, most: int) -> list[bytes]:
        """The newest events, oldest first."""
        return self._log.kept("events")[-most:]

    async def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        """Batches of events from the oldest on."""
        n = 0
        while True:
            page, n = self._log.after("events", n, _PAGE)
            if not page:
                await self._log.wait(_IDLE_S)
                page, n = self._log.after("events", n, _PAGE)
            yield page

    async def close(self) -> None:
        """Nothing to close."""
