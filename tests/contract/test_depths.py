"""The depth of many queues by one round trip, on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.stores import envelope

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.depths import DepthReader, QueueName
from laneway.errors import ConfigError, Unavailable
from laneway.kit.ids import new_task_id
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.servers import RedisServer
from laneway.ports.store import Depth
from servers.redis import RedisServer as Server

pytestmark = pytest.mark.asyncio

TWO_LANES = QueueConfig(lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=2, name="bulk")))


@pytest.fixture(params=["redis7", "redis62", "cluster"])
async def server(request: pytest.FixtureRequest) -> RedisServer:
    """Each kind of Redis in turn, emptied."""
    if request.param == "cluster":
        return RedisServer(request.getfixturevalue("cluster_url"), cluster=True)
    running: Server = request.getfixturevalue(request.param)
    running.ensure()
    running.flush()
    return RedisServer(running.url)


@pytest.fixture
async def reader(server: RedisServer) -> AsyncIterator[DepthReader]:
    reader = DepthReader(server)
    yield reader
    await reader.close()


async def make_queue(server: RedisServer, name: str, tasks: int, config: QueueConfig = TWO_LANES) -> None:
    store = RedisStore(server, name, namespace="ns")
    try:
        await store.configure(config, {}, expected=None)
        if tasks:
            await store.submit([(new_task_id(), envelope()) for _ in range(tasks)])
    finally:
        await store.close()


def ready(read: object) -> int:
    assert isinstance(read, Depth), read
    return read.ready


async def test_many_queues_are_read_at_once(server: RedisServer, reader: DepthReader) -> None:
    names = [QueueName("ns", f"q{i}") for i in range(20)]
    for i, name in enumerate(names):
        await make_queue(server, name.name, i)
    got = await reader.read(names, 1000)
    assert [ready(got[name]) for name in names] == list(range(20))


async def test_it_reads_the_same_as_the_store(server: RedisServer, reader: DepthReader) -> None:
    await make_queue(server, "q", 3)
    store = RedisStore(server, "q", namespace="ns")
    read = (await reader.read([QueueName("ns", "q")], 1000))[QueueName("ns", "q")]
    assert isinstance(read, Depth)
    read.now_ms = 0
    alone = await store.depth(1000)
    alone.now_ms = 0
    await store.close()
    assert read == alone


async def test_a_queue_that_is_not_configured_holds_up_no_other(server: RedisServer, reader: DepthReader) -> None:
    await make_queue(server, "there", 2)
    got = await reader.read([QueueName("ns", "missing"), QueueName("ns", "there")], 1000)
    assert ready(got[QueueName("ns", "there")]) == 2
    assert isinstance(got[QueueName("ns", "missing")], ConfigError)
    await make_queue(server, "missing", 1)
    assert ready((await reader.read([QueueName("ns", "missing")], 1000))[QueueName("ns", "missing")]) == 1


async def test_a_changed_configuration_is_followed_at_once(server: RedisServer, reader: DepthReader) -> None:
    queue = QueueName("ns", "q")
    await make_queue(server, "q", 2)
    assert ready((await reader.read([queue], 1000))[queue]) == 2
    paused = QueueConfig(lanes=(LaneConfig(n=1, name="default", paused=True), LaneConfig(n=3, name="new")))
    await make_queue(server, "q", 0, paused)
    read = (await reader.read([queue], 1000))[queue]
    assert isinstance(read, Depth) and (read.ready, read.stopped) == (0, 2)


async def test_a_server_that_forgot_its_scripts_is_read_all_the_same(new_redis) -> None:  # type: ignore[no-untyped-def]
    running = new_redis()
    queue, reader = QueueName("ns", "q"), DepthReader(running.url)
    await make_queue(RedisServer(running.url), "q", 2)
    assert ready((await reader.read([queue], 1000))[queue]) == 2
    running.command("SCRIPT FLUSH")
    assert ready((await reader.read([queue], 1000))[queue]) == 2
    await reader.close()


async def test_a_server_that_is_away_is_said_to_be_and_read_again_when_it_is_back(new_redis) -> None:  # type: ignore[no-untyped-def]
    running = new_redis()
    queue, reader = QueueName("ns", "q"), DepthReader(running.url)
    await make_queue(RedisServer(running.url), "q", 2)
    assert ready((await reader.read([queue], 1000))[queue]) == 2
    running.kill()
    got = (await reader.read([queue], 1000))[queue]
    assert isinstance(got, Unavailable) and "away" in str(got)
    running.start()
    await make_queue(RedisServer(running.url), "q", 0)
    assert isinstance((await reader.read([queue], 1000))[queue], Depth)
    await reader.close()


async def test_a_server_that_hangs_is_given_up_in_time(new_redis) -> None:  # type: ignore[no-untyped-def]
    running = new_redis()
    queue, reader = QueueName("ns", "q"), DepthReader(running.url, timeout=0.2)
    await make_queue(RedisServer(running.url), "q", 2)
    running.pause()
    try:
        got = (await reader.read([queue], 1000))[queue]
        assert isinstance(got, Unavailable) and "no answer in 0.2 s" in str(got)
    finally:
        running.resume()
    assert ready((await reader.read([queue], 1000))[queue]) == 2
    await reader.close()
