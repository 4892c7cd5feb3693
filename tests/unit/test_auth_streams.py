"""A streaming answer ends with the credential that asked for it, and not before."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from laneway.gateway.auth.grants import identity
from laneway.gateway.auth.guard import OpenGuard
from laneway.gateway.auth.identity import ANONYMOUS_ADMIN, Identity
from laneway.gateway.auth.streams import while_holding

ANN = identity("ann", "viewer", auth="key", credential="a")


class Switch(OpenGuard):
    """Lets in until told otherwise."""

    def __init__(self) -> None:
        self.on = True

    async def identify(self, request: Request, *, public: bool) -> Identity:
        return ANN

    def holds(self, identity: Identity) -> bool:
        return self.on


class Body:
    """Parts that come when told; knows whether it was closed."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(60):  # all of it has to be read by one task
                while (part := await self.parts.get()) is not None:
                    if isinstance(part, Exception):
                        raise part
                    yield part
        finally:
            self.closed.set()


def streamed(body: Body, guard: Switch, who: Identity = ANN) -> AsyncIterator[bytes]:
    response = StreamingResponse(body())
    while_holding(response, who, guard, look=0.01)
    return response.body_iterator  # type: ignore[return-value]


async def test_parts_go_through_in_order_until_the_body_ends() -> None:
    body = Body()
    for part in (b"a", b"b", b"c", None):
        body.parts.put_nowait(part)
    assert [part async for part in streamed(body, Switch())] == [b"a", b"b", b"c"]
    assert body.closed.is_set()


async def test_a_silent_stream_ends_when_the_credential_does() -> None:
    body, guard = Body(), Switch()
    stream = streamed(body, guard)
    body.parts.put_nowait(b"a")
    assert await anext(stream) == b"a"
    guard.on = False
    async with asyncio.timeout(10):
        assert [part async for part in stream] == []
        await body.closed.wait()


async def test_what_comes_after_the_end_of_the_credential_is_not_sent() -> None:
    body, guard = Body(), Switch()
    stream = streamed(body, guard)
    body.parts.put_nowait(b"a")
    assert await anext(stream) == b"a"
    guard.on = False
    body.parts.put_nowait(b"secret")
    async with asyncio.timeout(10):
        assert [part async for part in stream] == []
    assert body.closed.is_set()


async def test_a_client_that_leaves_closes_the_body() -> None:
    body = Body()
    stream = streamed(body, Switch())
    body.parts.put_nowait(b"a")
    assert await anext(stream) == b"a"
    await stream.aclose()  # type: ignore[attr-defined]
    assert body.closed.is_set()


async def test_what_the_body_raises_is_raised() -> None:
    body = Body()
    body.parts.put_nowait(b"a")
    body.parts.put_nowait(ValueError("broken"))
    stream = streamed(body, Switch())
    assert await anext(stream) == b"a"
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


async def test_where_nobody_is_asked_and_of_other_answers_nothing_changes() -> None:
    plain, stream = Response(b"x"), StreamingResponse(Body()())
    before = stream.body_iterator
    while_holding(plain, ANN, Switch())
    while_holding(stream, ANONYMOUS_ADMIN, Switch())
    assert stream.body_iterator is before
    assert plain.body == b"x"
    await before.aclose()  # type: ignore[attr-defined]
