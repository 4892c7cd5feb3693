"""A read that many share: made at most once in a while, and never waited for again while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_PATIENCE_S: Final = 0.25


class SharedRead(Generic[_T]):
    """Calls ``read`` when its last answer is older than ``fresh_s`` seconds; those who come meanwhile wait for the
    same call.

    After an error nobody waits long: all get that error soon, while one attempt after another goes on behind them.
    So hundreds of queues whose server hangs do not keep the passes of others waiting.
    """

    def __init__(self, read: Callable[[], Awaitable[_T]], fresh_s: float, clock: Callable[[], float]) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._clock = clock
        self._value: _T | None = None
        self._error: Exception | None = None
        self._until = float("-inf")
        self._call: asyncio.Task[None] | None = None

    async def __call__(self) -> _T:
        """The answer. Raises what ``read`` raised."""
        if self._clock() >= self._until and self._call is None:
            self._call = asyncio.create_task(self._refresh())
        if self._call is not None:
            if self._error is None:
                await asyncio.shield(self._call)
            else:
                # A server that is back answers at once; one that hangs is not waited for.
                await asyncio.wait([self._call], timeout=_PATIENCE_S)
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self._until > float("-inf")
        return self._value  # type: ignore[return-value]  # _T may be Optional itself

    def expire(self) -> None:
        """The next caller gets a new answer."""
        self._until = float("-inf") if self._call is not None else self._clock()

    async def close(self) -> None:
        """Ends the call under way, if there is one."""
        call = self._call
        if call is not None:
            call.cancel()
            await asyncio.wait([call])

    async def _refresh(self) -> None:
        try:
            self._value = await self._read()
            self._error = None
        except Exception as error:
            self._error = error
        finally:
            self._until = self._clock() + self._fresh_s
            self._call = None
