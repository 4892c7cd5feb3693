"""The stores that the conformance suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.stores import Bench, memory_bench, redis_bench


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
