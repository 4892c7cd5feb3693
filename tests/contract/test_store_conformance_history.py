"""What is kept over time, the same in memory and in Redis: counts, sizes, times, rings and their bounds."""

import pytest
from tests.contract.stores import Bench

from laneway.kit.metrics import RUN_BUCKETS, WAIT_BUCKETS
from laneway.ports.history import COARSE, FINE, Count, HistoryStore, LaneSize, LaneTimes, Sizes

pytestmark = pytest.mark.asyncio

T = 1_700_000_100  # (a multiple of both widths)


def history(bench: Bench) -> HistoryStore:
    found: HistoryStore = bench.store.history  # type: ignore[attr-defined]
    return found


def sizes(at: int, queued: int = 0, **more: int) -> Sizes:
    lanes = [LaneSize("high", queued, more.get("running", 0))]
    numbers = {"running": 0, "scheduled": 0, "workers": 0, "slots": 0, **more}
    return Sizes(at, queued, lanes=lanes, **numbers)


async def test_counts_are_added_by_kind_and_lane_in_both_rings(any_bench: Bench) -> None:
    kept = history(any_bench)
    first = [Count(T, "submitted", "high", 3), Count(T, "submitted", "low", 1), Count(T + 10, "dead", "high", 1)]
    assert await kept.tally(b"1-1", first) == 2
    assert await kept.tally(b"1-2", [Count(T, "submitted", "high", 2)]) == 2
    fine = await kept.read(FINE, T, T + 20)
    assert [(b.at, b.n) for b in fine] == [
        (T, {"submitted": {"high": 5, "low": 1}}),
        (T + 10, {"dead": {"high": 1}}),
    ]
    (coarse,) = await kept.read(COARSE, T, T + 300)
    assert (coarse.at, coarse.n) == (T, {"submitted": {"high": 5, "low": 1}, "dead": {"high": 1}})


async def test_what_was_counted_is_not_counted_again(bench: Bench) -> None:
    kept = history(bench)
    counts = [Count(T, "succeeded", "high", 7)]
    assert await kept.tally(b"1700000100000-5", counts) == 2
    for again in (b"1700000100000-5", b"1700000100000-4", b"1700000099999-9", b"999-0"):
        assert await kept.tally(again, counts) == 0
    assert await kept.tally(b"1700000100000-10", [Count(T, "succeeded", "high", 1)]) == 2
    (bucket,) = await kept.read(FINE, T, T + 10)
    assert bucket.n == {"succeeded": {"high": 8}}


async def test_samples_keep_the_last_and_the_sum(any_bench: Bench) -> None:
    kept = history(any_bench)
    await kept.sample(sizes(T, 10, running=2, scheduled=5, workers=1, slots=4))
    await kept.sample(sizes(T + 9, 4, running=4, scheduled=5, workers=2, slots=8))
    (bucket,) = await kept.read(FINE, T, T + 10)
    assert bucket.g == [2, 4, 4, 5, 2, 8, 14, 6, 10, 3, 12]
    assert bucket.l == {"high": [2, 4, 4, 14, 6]}


async def test_times_are_added_and_those_of_another_version_give_way(bench: Bench) -> None:
    kept = history(bench)
    now = bench.clock.now_ms() // 1000
    waits, runs = [0.0] * (len(WAIT_BUCKETS) + 2), [0.0] * (len(RUN_BUCKETS) + 2)
    waits[3], waits[-1] = 2, 0.25
    runs[-2], runs[-1] = 1, 5000.5
    await kept.observe([LaneTimes("high", waits, runs), LaneTimes("low", [], runs)])
    await kept.observe([LaneTimes("high", waits, [])])
    since = now - now % 10
    (bucket,) = await kept.read(FINE, since, since + 10)
    assert (bucket.w["high"][3], bucket.w["high"][-1]) == (4, 0.5)
    assert bucket.r == {"high": runs, "low": runs}
    assert "low" not in bucket.w
    await kept.observe([LaneTimes("high", [1.0, 2.0], [])])
    (bucket,) = await kept.read(FINE, since, since + 10)
    assert bucket.w["high"] == [1, 2]


async def test_a_ring_never_has_more_than_its_places_and_forgets_what_is_older(bench: Bench) -> None:
    kept = history(bench)
    for i in range(0, 800, 4):
        await kept.tally(b"%d-0" % (i + 1), [Count(T + 10 * (i + k), "submitted", "high", i + k + 1) for k in range(4)])
    end = T + 8000
    found = await kept.read(FINE, T, end)
    assert [b.at for b in found] == list(range(end - FINE.seconds, end, 10))
    assert found[0].n == {"submitted": {"high": 81}}
    # What comes late for a place that is taken by newer times changes nothing there.
    assert await kept.tally(b"900-0", [Count(T, "submitted", "high", 1000)]) == 2
    assert await kept.read(FINE, T, end) == found
    client = getattr(bench.store, "_client", None)
    if client is not None:
        assert await client.hlen(bench.store.keys.key("history_fine")) == FINE.places + 1  # type: ignore[attr-defined]


async def test_gaps_are_missing_and_bounds_are_kept(bench: Bench) -> None:
    kept = history(bench)
    await kept.tally(b"1-1", [Count(T, "dead", "high", 1), Count(T + 50, "dead", "high", 1)])
    assert [b.at for b in await kept.read(FINE, T - 100, T + 100)] == [T, T + 50]
    assert [b.at for b in await kept.read(FINE, T + 1, T + 50)] == []
    assert [b.at for b in await kept.read(FINE, T + 1, T + 51)] == [T + 50]
    assert await kept.read(COARSE, T + 300, T + 600) == []


async def test_lanes_without_number_do_not_make_buckets_without_bound(bench: Bench) -> None:
    kept = history(bench)
    await kept.tally(b"1-1", [Count(T, "submitted", f"lane-{i}", 1) for i in range(200)])
    (bucket,) = await kept.read(FINE, T, T + 10)
    lanes = bucket.n["submitted"]
    assert len(lanes) <= 81
    assert sum(lanes.values()) == 200
    assert lanes["other"] > 100
