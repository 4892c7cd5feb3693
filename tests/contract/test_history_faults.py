"""Scripts of the history that fail half-way, at each of their calls: what is repeated is counted once."""

from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError
from tests.contract.stores import RedisBench
from tests.contract.test_script_faults import FaultyLoader

from laneway.adapters.memory import VirtualClock
from laneway.adapters.redis import RedisStore, calls
from laneway.ports.history import COARSE, FINE, Count, LaneSize, LaneTimes, Sizes
from servers.redis import RedisServer

T = 1_700_000_100


@pytest.fixture
async def faults(
    redis7: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FaultyLoader, RedisBench]]:
    loader = FaultyLoader()
    monkeypatch.setattr(calls, "load", loader)
    redis7.ensure()
    redis7.flush()
    bench = RedisBench(RedisStore(redis7.url, "q"), VirtualClock(T * 1000))
    await bench.told_time()
    yield loader, bench
    await bench.close()


async def fail_at(faults: tuple[FaultyLoader, RedisBench], name: str, call: int) -> None:
    loader, bench = faults
    loader.armed = name
    await bench.store._client.hset(bench.store.keys.key("meta"), "test_fault", call)


async def test_counts_that_failed_half_way_are_counted_once_when_told_again(
    faults: tuple[FaultyLoader, RedisBench],
) -> None:
    loader, bench = faults
    kept = bench.store.history
    failed = 0
    for call in range(1, 30):
        counts = [Count(T + 10 * (call % 5), "submitted", "high", call), Count(T + 300, "dead", "low", 1)]
        await fail_at(faults, "tally", call)
        try:
            await kept.tally(b"%d-0" % call, counts)
        except ResponseError as error:
            assert "a fault made by a test" in str(error)
            failed += 1
            loader.armed = None
            await kept.tally(b"%d-0" % call, counts)
    assert failed >= 6
    for ring in (FINE, COARSE):
        found = await kept.read(ring, T, T + 600)
        assert sum(b.n.get("submitted", {}).get("high", 0) for b in found) == sum(range(1, 30))
        assert sum(b.n.get("dead", {}).get("low", 0) for b in found) == 29


@pytest.mark.parametrize("name", ["sample", "observe"])
async def test_a_sample_or_times_that_failed_half_way_leave_what_was_there(
    faults: tuple[FaultyLoader, RedisBench], name: str
) -> None:
    loader, bench = faults
    kept = bench.store.history

    async def tell() -> None:
        if name == "sample":
            await kept.sample(Sizes(T, 1, 2, 3, 4, 5, [LaneSize("high", 1, 2)]))
        else:
            await kept.observe([LaneTimes("high", [1.0, 2.0], [])])

    await tell()
    failed = 0
    for call in range(1, 20):
        await fail_at(faults, name, call)
        try:
            await tell()
        except ResponseError:
            failed += 1
        loader.armed = None
        for ring in (FINE, COARSE):
            (bucket,) = await kept.read(ring, T, T + 10)
            if name == "sample":
                assert bucket.g[1:6] == [1, 2, 3, 4, 5]
                assert bucket.g[6:] == [bucket.g[0] * n for n in (1, 2, 3, 4, 5)]
            else:
                assert bucket.w["high"][1] == 2 * bucket.w["high"][0]
    assert failed >= 3
