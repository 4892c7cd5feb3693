"""The direct source: a worker claims from Redis itself, and settles its last batch in the same call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from laneway.errors import LanewayError
from laneway.model.settlement import Settlement
from laneway.ports.source import Exchange
from laneway.ports.store import TaskStore

#: Seconds between two looks at the queue when no wake token comes: a safety net, not the way work is found.
SLOW_POLL = 2.0


class DirectSource:
    """Claims exactly as many tasks as there are free slots, at most ``batch`` in one call."""

    mode = "direct"

    def __init__(self, store: TaskStore, *, batch: int = 100) -> None:
        self._store = store
        self._batch = batch
        self._inc = b""
        self._request = 0
        self._listening = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._news: Callable[[], None] = lambda: None

    async def partitions(self) -> int:
        return 0

    async def open(self, inc: bytes, partition: int, news: Callable[[], None]) -> None:
        self._inc, self._request, self._news = inc, 1, news
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="laneway-wake")

    def listen(self) -> None:
        self._listening.set()

    async def _listen(self) -> None:
        """Waits for wake tokens, but only while the worker has room: others' tokens are left to them."""
        while True:
            await self._listening.wait()
            try:
                await self._store.wait_work(SLOW_POLL * (0.75 + random.random() / 2))
            except LanewayError:
                # Redis is away. The exchange that follows tells of it, and is what waits for it to come back.
                await asyncio.sleep(0.2 + random.random() * 0.3)
            self._listening.clear()
            self._news()

    async def exchange(self, settled: Sequence[Settlement], want: int) -> Exchange:
        want = min(want, self._batch)
        turn = await self._store.turn(self._inc, self._request, want, settled)
        # The number moves on only after an answer, so that a repeated request gets the same tasks.
        self._request += 1
        return Exchange(turn.status, turn.now_ms, turn.tasks, turn.refused, turn.again_ms, full=len(turn.tasks) >= want)

    async def hand_back(self) -> int:
        return 0

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
