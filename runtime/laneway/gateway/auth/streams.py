"""Answers that go on for long end when the credential does that asked for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
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
        response.body_iterator = _until(response.body_iterator, identity, guard, look)


async def _until(body: AsyncIterable[Part], identity: Identity, guard: Guard, look: float) -> AsyncIterator[Part]:
    # One task reads all of the body (its own time-outs and the like must not go from task to task), one part ahead of
    # what is sent.
    parts: asyncio.Queue[Part | None] = asyncio.Queue(1)
    reading = asyncio.create_task(_read(body, parts), name="stream")
    try:
        while guard.holds(identity):
            try:
                async with asyncio.timeout(look):
                    part = await parts.get()
            except TimeoutError:
                continue
            if part is None:
                await reading  # raises what the body raised
                return
            if not guard.holds(identity):
                return
            yield part
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def _read(body: AsyncIterable[Part], parts: asyncio.Queue[Part | None]) -> None:
    """All of the body, and None after it, however it ends."""
    try:
        async for part in body:
            await parts.put(part)
    except asyncio.CancelledError:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
        raise
    except Exception:
        await parts.put(None)
        raise
    await parts.put(None)
