"""The stores that the conformance suite runs over; the queue ``mail`` over a real Redis with its gateway; and gateways
that are processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tests.contract.cli_queue import CliQueue
from tests.contract.credentials import keys_of_roles
from tests.contract.gateway_process import GatewayProcess, gateway_process
from tests.contract.gateways import asgi, open_store
from tests.contract.stores import Bench, memory_bench, redis_bench

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.tend.relay import Relay
from servers.redis import RedisServer


async def _open(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if kind == "memory":
        return memory_bench()
    if kind == "cluster":
        return await redis_bench(request.getfixturevalue("cluster_url"), monkeypatch, cluster=True)
    server = request.getfixturevalue(kind)
    server.ensure()
    server.flush()
    return await redis_bench(server.url, monkeypatch)


@pytest.fixture(params=["memory", "redis7", "redis62"])
async def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Each store in turn, configured with one lane; at the end nothing may have been lost or doubled."""
    bench = await _open(request.param, request, monkeypatch)
    await bench.configure()
    yield bench
    await bench.check()
    await bench.close()


@pytest.fixture(params=["memory", "redis7", "redis62", "cluster"])
async def any_bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """As ``bench``, and over a Redis Cluster of three primaries too."""
    bench = await _open(request.param, request, monkeypatch)
    await bench.configure()
    yield bench
    await bench.check()
    await bench.close()


@pytest.fixture
async def store(redis7_url: str) -> AsyncIterator[RedisStore]:
    """The queue ``mail`` with two lanes."""
    store = await open_store(redis7_url)
    yield store
    await store.close()


@pytest.fixture
async def client(store: RedisStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that queue's gateway, which is in this process."""
    async with asgi(store) as client:
        yield client


@pytest.fixture
async def relay(store: RedisStore, redis7_url: str) -> AsyncIterator[Relay]:
    """That queue's relay, which tells its events."""
    own = RedisStore(redis7_url, "mail")
    relay = Relay(own, StreamEventLog(own), "default/mail")
    await relay.start()
    yield relay
    await relay.stop()
    await own.close()


@pytest.fixture(scope="module")
def gateway(redis7: RedisServer) -> Iterator[GatewayProcess]:
    """A gateway of the queue ``orders`` as a process of its own."""
    redis7.ensure()
    redis7.flush()
    CliQueue(redis7.url).configure()
    with gateway_process(redis7.url, "orders") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded(
    redis7: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, dict[str, str]]]:
    """One that asks for credentials, and a key of each role."""
    folder = tmp_path_factory.mktemp("keys")
    keys = keys_of_roles(folder / "keys.json")
    (folder / "auth.yaml").write_text("keys: {path: keys.json}\n")
    redis7.ensure()
    redis7.flush()
    CliQueue(redis7.url).configure()
    with gateway_process(redis7.url, "orders", auth=folder / "auth.yaml") as gateway:
        yield gateway, keys
