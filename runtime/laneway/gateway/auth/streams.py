"""Answers that go on for long end when the credential does that asked for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response, StreamingResponse

from laneway.gateway.auth.guard import Guard
from laneway.gateway.auth.identity import Identity

Part = str | bytes | memoryview

#: How often it is looked whether a credential still holds, while nothing is sent (s).
LOOK_S: Final = 1.0


def while_holding(response: Response, identity: Identity, guard: Guard, look: float = LOOK_S) -> None:
    """Has a streaming answer end once ``identity`` does not hold any more; others stay as they are."""
    if isinstance(response, StreamingResponse) and identity.auth != "none":
        response.body_iterator = _until(response.body_iterator.__aiter__(), identity, guard, look)


async def _until(body: AsyncIterator[Part], identity: Identity, guard: Guard, look: float) -> AsyncIterator[Part]:
    next_part: asyncio.Task[Part | None] | None = None
    try:
        while guard.holds(identity):
            if next_part is None:
                next_part = asyncio.ensure_future(_next(body))
            await asyncio.wait({next_part}, timeout=look)
            if not next_part.done():
                continue
            part, next_part = next_part.result(), None
            if part is None or not guard.holds(identity):
                return
            yield part
    finally:
        if next_part is not None and not next_part.done():
            next_part.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await next_part
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


async def _next(body: AsyncIterator[Part]) -> Part | None:
    """The next part; None at the end. (A task is no place to raise StopAsyncIteration in.)"""
    return await anext(body, None)
