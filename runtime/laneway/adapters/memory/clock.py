"""The time that a :class:`MemoryStore` lives in: the machine's, or one that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """A clock that can also ring."""

    def now_us(self) -> int:
        """Microseconds since 1970."""
        ...

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...

    def timer(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after that time on this clock; cancel it when it is not needed any more."""
        ...


def _ring(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class SystemClock:
    """The machine's clock and asyncio's timers."""

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return time.time_ns() // 1000

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def timer(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after that many seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        handle = loop.call_later(max(0.0, seconds), _ring, future)
        future.add_done_callback(lambda _: handle.cancel())
        return future


class VirtualClock:
    """A clock that stands still until :meth:`advance` moves it."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._us = start_ms * 1000
        self._timers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._made = 0

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return self._us

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._us // 1000

    def timer(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done once the clock was advanced that far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds <= 0:
            _ring(future)
            return future
        self._made += 1
        heapq.heappush(self._timers, (self._us + round(seconds * 1_000_000), self._made, future))
        return future

    def advance(self, ms: float) -> None:
        """Moves the clock; timers that are due ring, in order (who waits for them runs at the next await).

        Raises:
            ValueError: ``ms`` is negative: time does not go back.
        """
        if ms < 0:
            raise ValueError(f"a clock can be advanced by 0 ms or more, not by {ms}")
        self._us += round(ms * 1000)
        while self._timers and self._timers[0][0] <= self._us:
            _ring(heapq.heappop(self._timers)[2])

    def next_timer_ms(self) -> float | None:
        """In how many ms the next timer that somebody waits for is due; None without one."""
        while self._timers and self._timers[0][2].done():
            heapq.heappop(self._timers)
        return max(0.0, (self._timers[0][0] - self._us) / 1000) if self._timers else None
