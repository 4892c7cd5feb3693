"""The direct source: a worker claims from Redis itself, and settles its last batch in the same call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from laneway.errors import LanewayError
from laneway.model.settlement import Settlement
from laneway.ports.source import Exchange
from laneway.ports.store import TaskStore, Turn

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
        self._idle = 0
        self._awaited: asyncio.Task[bool] | None = None  # a claim that waits in Redis for there to be something
        self._brought: Exchange | None = None  # what such a claim has brought, for the next exchange
        self._listening = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._news: Callable[[], None] = lambda: None

    async def partitions(self) -> int:
        return 0

    async def open(self, inc: bytes, partition: int, news: Callable[[], None]) -> None:
        await self._recall()
        self._inc, self._request, self._news, self._brought = inc, 1, news, None
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="laneway-wake")

    def listen(self, idle: int = 0) -> None:
        self._idle = min(idle, self._batch)
        self._listening.set()

    async def _listen(self) -> None:
        """Waits for wake tokens, but only while the worker has room: others' tokens are left to them."""
        while True:
            await self._listening.wait()
            timeout = SLOW_POLL * (0.75 + random.random() / 2)
            try:
                if self._idle:
                    if await self._await_turn(self._idle, timeout):
                        continue
                else:
                    await self._store.wait_work(timeout)
            except LanewayError:
                # Redis is away. The exchange that follows tells of it, and is what waits for it to come back.
                await asyncio.sleep(0.2 + random.random() * 0.3)
            self._listening.clear()
            self._news()

    async def _await_turn(self, want: int, timeout: float) -> bool:
        """Leaves a claim with Redis, which makes it as soon as a wake token is there. Returns whether the worker was
        told of what it brought."""
        awaited = self._awaited = asyncio.create_task(self._bring(want, timeout))
        await asyncio.wait([awaited])
        if self._awaited is awaited:
            self._awaited = None
            return awaited.result()  # (it raises)
        return not awaited.cancelled() and awaited.exception() is None and awaited.result()

    async def _bring(self, want: int, timeout: float) -> bool:
        turn = await self._store.await_turn(self._inc, self._request, want, timeout)
        if self._awaited is not asyncio.current_task():
            return False  # it was recalled
        self._awaited = None
        self._brought = self._took(turn, want)
        # The worker hears of it here: by way of the listener it would two turns of the event loop later.
        self._listening.clear()
        self._news()
        return True

    async def _recall(self) -> None:
        """Takes back a claim that still waits. If it was made all the same, the next one, under the same number, is
        answered with its tasks."""
        # One that was asked for and has not been left yet would go out beside the next, under one number.
        self._idle = 0
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.cancel()
            await asyncio.wait([awaited])

    def _took(self, turn: Turn, want: int) -> Exchange:
        # The number moves on only after an answer, so that a repeated request gets the same tasks.
        self._request += 1
        return Exchange(turn.status, turn.now_ms, turn.tasks, turn.refused, turn.again_ms, full=len(turn.tasks) >= want)

    async def exchange(self, settled: Sequence[Settlement], want: int) -> Exchange:
        await self._recall()
        if self._brought is not None:
            refused = await self._store.settle(self._inc, settled) if settled else {}
            brought, self._brought = self._brought, None
            brought.refused = refused
            return brought
        want = min(want, self._batch)
        return self._took(await self._store.turn(self._inc, self._request, want, settled), want)

    async def hand_back(self) -> int:
        return 0

    async def close(self) -> None:
        await self._recall()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
