"""A read that many share: made at most once in a while, and never waited for for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from laneway.errors import Unavailable
from laneway_operator.engine.errors import NotLeading

_T = TypeVar("_T")
#: So long (s) an answer is waited for; and while the last call has failed, or is late.
FIRST_PATIENCE_S: Final = 3.0
_PATIENCE_S: Final = 0.25
#: For lists of objects: a page may take 30 s, after which the request itself says that there is no answer.
LIST_PATIENCE_S: Final = 35.0


class SharedRead(Generic[_T]):
    """Calls ``read`` when its last answer is older than ``fresh_s`` seconds; those who come meanwhile wait for the
    same call.

    After an error, or once a call has taken ``patience`` seconds, nobody waits long: all get that error soon, while
    one attempt after another goes on behind them. So hundreds of queues whose server hangs do not keep the passes of
    others waiting. ``of`` says for such an error who gives no answer.

    That this process may not write (NotLeading) is no answer of the server's: it is raised to those who waited for
    that very call, and forgotten, so that no later leadership meets it.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[_T]],
        fresh_s: float,
        clock: Callable[[], float],
        *,
        of: str = "the server",
        patience: float = FIRST_PATIENCE_S,
    ) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._clock = clock
        self._of = of
        self._patience = patience
        self._value: _T | None = None
        self._error: Exception | None = None
        self._until = float("-inf")
        self._call: asyncio.Task[None] | None = None

    async def __call__(self) -> _T:
        """The answer.

        Raises:
            Unavailable: there is none yet; whoever asks later gets it, or what the call raised.
            Exception: what ``read`` raised.
        """
        if self._clock() >= self._until and self._call is None:
            self._call = asyncio.create_task(self._refresh())
            # Who waited for it has gone, perhaps: then nobody asks what it raised.
            self._call.add_done_callback(_heard)
        if (call := self._call) is not None:
            # A server that is back answers at once; one that hangs is not waited for.
            first = self._error is None
            done, _ = await asyncio.wait([call], timeout=self._patience if first else _PATIENCE_S)
            if done and not call.cancelled():
                call.result()
            elif done:
                raise Unavailable(f"{self._of} is not asked any more: its client is being closed", 1.0)
            elif self._error is None:
                self._error = Unavailable(f"{self._of} has given no answer for {self._patience:g} s", 1.0)
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
        """Raises NotLeading alone; all else is kept for those who ask."""
        try:
            self._value = await self._read()
        except NotLeading:
            self._until = float("-inf")
            raise
        except Exception as error:
            self._error = error
            self._until = self._clock() + self._fresh_s
        else:
            self._error = None
            self._until = self._clock() + self._fresh_s
        finally:
            self._call = None


def _heard(call: asyncio.Task[None]) -> None:
    if not call.cancelled():
        call.exception()
