"""Every store: how much there is to do, and how long that takes, as scaling reads it."""

from __future__ import annotations

import pytest
from tests.contract.stores import Bench

from laneway.kit.ids import new_incarnation
from laneway.model.config import LaneConfig, TenantConfig
from laneway.model.settlement import Kind
from laneway.ports.store import Depth

pytestmark = pytest.mark.asyncio

LANES = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="bulk"))


async def depth(bench: Bench, soon_ms: int = 1000) -> Depth:
    return await bench.store.depth(soon_ms)


async def test_an_empty_queue_has_nothing_to_do_and_no_known_duration(any_bench: Bench) -> None:
    got = await depth(any_bench)
    assert (got.ready, got.stopped, got.parked, got.soon, got.dispatched, got.running) == (0, 0, 0, 0, 0, 0)
    assert got.run_ms == 0


async def test_tasks_that_wait_run_and_are_dispatched_are_told_apart(any_bench: Bench) -> None:
    await any_bench.submit_many(5)
    inc = await any_bench.worker(2)
    await any_bench.claim(inc, 2)
    await any_bench.worker(1, mode="kafka", window=1, partitions=1)
    assert len((await any_bench.store.dispatch(10)).tasks) == 1
    got = await depth(any_bench)
    assert (got.ready, got.dispatched, got.running) == (2, 1, 2)


async def test_a_paused_lane_stops_its_own_tasks_and_a_paused_queue_all(bench: Bench) -> None:
    await bench.configure(lanes=LANES)
    await bench.submit_many(2, lane=1)
    await bench.submit_many(3, lane=2)
    assert ((await depth(bench)).ready, (await depth(bench)).stopped) == (5, 0)
    await bench.configure(lanes=(LANES[0], LaneConfig(n=2, name="bulk", paused=True)))
    assert ((await depth(bench)).ready, (await depth(bench)).stopped) == (2, 3)
    await bench.configure(lanes=LANES, paused=True)
    assert ((await depth(bench)).ready, (await depth(bench)).stopped) == (0, 5)


async def test_scheduled_tasks_count_when_they_are_due_soon_enough(bench: Bench) -> None:
    await bench.configure(lanes=LANES)
    await bench.submit(delay_ms=1000)
    await bench.submit(delay_ms=1001)
    assert (await depth(bench, 1000)).soon == 1
    assert (await depth(bench, 0)).soon == 0
    await bench.advance(2000)
    assert (await depth(bench, 0)).soon == 2
    await bench.store.promote(10)
    got = await depth(bench)
    assert (got.soon, got.ready) == (0, 2)


async def test_scheduled_tasks_do_not_count_while_a_lane_is_paused(bench: Bench) -> None:
    await bench.configure(lanes=(LANES[0], LaneConfig(n=2, name="bulk", paused=True)))
    await bench.submit(delay_ms=10, lane=2)
    assert (await depth(bench)).soon == 0
    await bench.advance(10)
    await bench.store.promote(10)
    got = await depth(bench)
    assert (got.ready, got.stopped) == (0, 1)


async def test_parked_tasks_are_told_apart(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    await bench.submit_many(3, tenant="t")
    await bench.claim(await bench.worker(5), 5)
    got = await depth(bench)
    assert (got.ready, got.parked, got.running) == (0, 2, 1)


# -- how long handlers run


async def worked(bench: Bench, inc: bytes, ended: int, took_ms: float) -> float:
    beat = await bench.store.heartbeat(inc, 2, 10, 0, [], ended=ended, took_ms=took_ms)
    assert beat.status == "ok"
    return (await depth(bench)).run_ms


async def test_running_times_are_averaged_by_task_over_all_workers(any_bench: Bench) -> None:
    one, other = await any_bench.worker(), await any_bench.worker()
    assert await worked(any_bench, one, 1, 1000.0) == 1000
    assert await worked(any_bench, other, 9, 900.0) == pytest.approx(190)


async def test_a_beat_with_nothing_done_leaves_the_average_alone(bench: Bench) -> None:
    inc = await bench.worker()
    await worked(bench, inc, 4, 100.0)
    for _ in range(10):
        await bench.advance(60_000)
        assert await worked(bench, inc, 0, 0.0) == 25


async def test_the_average_outlives_the_workers(any_bench: Bench) -> None:
    inc = await any_bench.worker()
    await worked(any_bench, inc, 4, 100.0)
    await any_bench.store.deregister(inc)
    assert (await depth(any_bench)).run_ms == 25


async def test_old_running_times_weigh_half_after_a_minute(bench: Bench) -> None:
    inc = await bench.worker()
    await worked(bench, inc, 1000, 1_000.0)
    await bench.advance(60_000)
    assert await worked(bench, inc, 500, 5_000.0) == pytest.approx((500 + 5_000) / 1000)


async def test_at_least_the_last_twenty_tasks_count_however_old_they_are(bench: Bench) -> None:
    inc = await bench.worker()
    await worked(bench, inc, 1000, 1_000.0)
    await bench.advance(24 * 3_600_000)
    inc = await bench.worker()
    assert await worked(bench, inc, 1, 22.0) == pytest.approx((20 + 22) / 21)


async def test_fractions_of_a_millisecond_are_kept(bench: Bench) -> None:
    assert await worked(bench, await bench.worker(), 3, 0.1) == pytest.approx(0.1 / 3, rel=1e-12)


async def test_a_stranger_teaches_nothing(bench: Bench) -> None:
    beat = await bench.store.heartbeat(new_incarnation(), 2, 10, 0, [], ended=5, took_ms=50.0)
    assert beat.status == "gone"
    assert (await depth(bench)).run_ms == 0


async def test_reading_the_depth_wakes_nobody(bench: Bench) -> None:
    id = await bench.submit()
    await bench.quiet()
    await depth(bench)
    assert not await bench.woken()
    await bench.run_to_end(id, Kind.COMPLETE)
