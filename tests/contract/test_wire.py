"""Calls below the client: each gets its own answer, whatever becomes of others and of their connections."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError, ResponseError

from laneway.adapters.redis.connection import connect
from laneway.adapters.redis.wire import Wire

WITHIN = 15.0


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    made = Wire(connect(redis_url, timeout=None), timeout=WITHIN)
    yield made
    await made.close()


async def _blocked(client: Wire, calls: int = 1) -> None:
    """Waits until so many calls block in Redis."""
    async with asyncio.timeout(WITHIN):
        while f"blocked_clients:{calls}\r\n".encode() not in await client.execute("INFO", "clients"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_calls_at_once_get_their_own_answers_however_large(wire: Wire) -> None:
    sent = [bytes([i % 250]) * (1 + i * i * 300) for i in range(60)]
    assert await asyncio.gather(*[wire.execute("ECHO", text) for text in sent]) == sent


async def test_after_a_call_that_was_given_up_the_next_gets_its_own_answer(wire: Wire) -> None:
    waits = asyncio.create_task(wire.execute("BLPOP", "list", 0))
    await _blocked(wire)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    await _blocked(wire, 0)  # its connection is gone, so nothing is taken on its behalf
    await wire.execute("RPUSH", "list", "one")
    assert await wire.execute("ECHO", "two") == b"two"
    assert await wire.execute("LLEN", "list") == 1


async def test_a_call_whose_connection_breaks_is_told_and_the_next_has_another(wire: Wire) -> None:
    waits = asyncio.create_task(wire.execute("BLPOP", "list", 0))
    await _blocked(wire)
    await wire.execute("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(ConnectionError):
        await waits
    assert await wire.execute("ECHO", "here") == b"here"


async def test_a_connection_that_broke_while_it_was_free_is_not_used(wire: Wire, redis_url: str) -> None:
    first = await wire.execute("CLIENT", "ID")
    other = Wire(connect(redis_url, timeout=None), timeout=WITHIN)
    try:
        assert await other.execute("CLIENT", "KILL", "ID", first) == 1
        await other.execute("PING")  # by its answer the loop has heard of both
    finally:
        await other.close()
    assert await wire.execute("CLIENT", "ID") != first


async def test_what_the_server_refuses_is_raised_and_the_connection_stays(wire: Wire) -> None:
    first = await wire.execute("CLIENT", "ID")
    with pytest.raises(ResponseError, match="wrong number"):
        await wire.execute("GET")
    with pytest.raises(ResponseError, match="wrong number"):
        await wire.execute_both(("GET",), ("ECHO", "behind it"))
    assert await wire.execute_both(("SET", "a", 1), ("GET", "a")) == b"1"
    assert await wire.execute("CLIENT", "ID") == first


async def test_the_second_of_two_runs_when_the_first_is_over(wire: Wire) -> None:
    waits = asyncio.create_task(wire.execute_both(("BLPOP", "list", 0), ("RPUSH", "list", "b", "c")))
    await _blocked(wire)
    await wire.execute("RPUSH", "list", "a")
    assert await waits == 2


async def test_a_server_that_says_nothing_is_given_up(redis_url: str) -> None:
    wire = Wire(connect(redis_url, timeout=None), timeout=0.2)
    try:
        with pytest.raises(ConnectionError, match="no answer"):
            async with asyncio.timeout(WITHIN):
                await wire.execute("BLPOP", "list", 0)
    finally:
        await wire.close()


async def test_a_server_that_does_not_even_let_in_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(connect(f"redis://user:secret@127.0.0.1:{port}", timeout=None), timeout=0.2)
    try:
        with pytest.raises(ConnectionError, match="connecting to"):
            async with asyncio.timeout(WITHIN):
                await wire.execute("PING")
    finally:
        await wire.close()
        server.close()


async def test_a_call_that_waits_for_its_turn_when_all_is_closed_is_told_and_opens_nothing(
    wire: Wire, redis_url: str
) -> None:
    one = Wire(connect(redis_url, timeout=None), timeout=WITHIN, most=1)
    first, second = (asyncio.create_task(one.execute("BLPOP", name, 0)) for name in ("a", "b"))
    await _blocked(wire)
    await one.close()
    with pytest.raises(ConnectionError):
        await first
    with pytest.raises(ConnectionError):
        await second
    await _blocked(wire, 0)
