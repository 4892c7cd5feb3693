"""Wake tokens and waiting: what BLPOP and the channel of ends do in Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any

from laneway.adapters.memory.clock import Clock


async def wait_for(what: asyncio.Future[Any], clock: Clock, seconds: float) -> bool:
    """Waits for ``what``, up to ``seconds`` of ``clock``; False when it did not come."""
    timer = clock.timer(seconds)
    both: list[Awaitable[Any]] = [what, timer]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
    finally:
        timer.cancel()
    return what.done()


class Tokens:
    """A bounded list of tokens; each wakes one waiter."""

    def __init__(self) -> None:
        self._count = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def add(self, n: int, cap: int) -> None:
        """Hands out up to ``n`` tokens; at most ``cap`` lie unused."""
        for _ in range(min(n, cap)):
            while self._waiters:
                waiter = self._waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    break
            else:
                self._count = min(cap, self._count + 1)

    def clear(self) -> None:
        """Takes back those that lie unused."""
        self._count = 0

    async def take(self, clock: Clock, seconds: float) -> bool:
        """Takes a token, waiting up to ``seconds``; False when none came."""
        if self._count:
            self._count -= 1
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await wait_for(waiter, clock, seconds)
        except asyncio.CancelledError:
            if waiter.done():
                self._count += 1  # the token was handed to somebody who left: it stays for the next
            raise
        finally:
            if not waiter.done():
                waiter.cancel()


class EndsFeed:
    """Tells everybody who listens about ends of tasks."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self._queues: set[asyncio.Queue[Any]] = set()

    def publish(self, ends: list[tuple[bytes, Any]]) -> None:
        """Announces (id, state) pairs."""
        for id, state in ends:
            for waiter in self._waiting.pop(id, ()):
                if not waiter.done():
                    waiter.set_result(None)
            for queue in self._queues:
                queue.put_nowait((id, state))

    async def wait(self, id: bytes, clock: Clock, seconds: float) -> bool:
        """Waits for the end of one task, up to ``seconds``."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id, set()).add(waiter)
        try:
            return await wait_for(waiter, clock, seconds)
        finally:
            waiter.cancel()
            waiters = self._waiting.get(id)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[id]

    def open(self) -> asyncio.Queue[Any]:
        """A queue that gets every end from now on."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.add(queue)
        return queue

    def shut(self, queue: asyncio.Queue[Any]) -> None:
        """No more ends for this queue."""
        self._queues.discard(queue)
