"""Every store: dispatch to workers that read from Kafka, by credits and partitions."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.contract.stores import Bench

from laneway.kit.ids import new_incarnation
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State

pytestmark = pytest.mark.asyncio


async def kafka(bench: Bench, window: int = 4, partitions: int = 4, slots: int = 4) -> bytes:
    return await bench.worker(slots, mode="kafka", window=window, partitions=partitions)


async def test_tasks_are_dispatched_to_live_workers_with_credits(any_bench: Bench) -> None:
    bench = any_bench
    ids = await bench.submit_many(6)
    a, b = await kafka(bench), await kafka(bench)
    got = await bench.store.dispatch(100)
    assert sorted(task.id for _, _, task in got.tasks) == ids
    assert Counter(inc for inc, _, _ in got.tasks) == {a: 3, b: 3}
    assert {inc: partition for inc, partition, _ in got.tasks} == {a: 0, b: 1}
    assert got.credits == 2
    assert {await bench.state(id) for id in ids} == {State.DISPATCHED}


async def test_credits_are_the_window_less_what_is_held(bench: Bench) -> None:
    await bench.submit_many(10)
    inc = await kafka(bench, window=3)
    first = await bench.store.dispatch(100)
    assert (len(first.tasks), first.credits) == (3, 0)
    assert (await bench.store.dispatch(100)).tasks == []
    task = first.tasks[0][2]
    await bench.store.start(inc, [(task.id, task.fence)])
    assert (await bench.store.dispatch(100)).tasks == []
    await bench.settle(inc, task, Kind.COMPLETE)
    assert len((await bench.store.dispatch(100)).tasks) == 1


async def test_the_limit_bounds_a_dispatch_and_the_token_is_passed_on(bench: Bench) -> None:
    await bench.submit_many(10)
    await kafka(bench, window=8)
    await bench.quiet()
    got = await bench.store.dispatch(3)
    assert (len(got.tasks), got.credits) == (3, 5)
    assert await bench.woken()


async def test_a_freed_credit_wakes_the_poller(bench: Bench) -> None:
    await bench.submit_many(3)
    inc = await kafka(bench, window=1)
    ((_, _, task),) = (await bench.store.dispatch(10)).tasks
    await bench.store.start(inc, [(task.id, task.fence)])
    await bench.quiet()
    await bench.settle(inc, task, Kind.COMPLETE)
    assert await bench.woken()


async def settle_first(bench: Bench, inc: bytes, n: int) -> None:
    """Fills the worker's window, lets its first ``n`` tasks end, and takes the tokens that lay there before."""
    got = await bench.store.dispatch(100)
    ended = [(task.id, task.fence) for _, _, task in got.tasks[:n]]
    await bench.store.start(inc, ended)
    await bench.quiet()
    assert await bench.store.settle(inc, [Settlement(Kind.COMPLETE, *pair) for pair in ended]) == {}


@pytest.mark.parametrize(("freed", "woken"), [(1, False), (2, True)])
async def test_few_credits_of_many_are_gathered_before_they_wake_a_poller(
    bench: Bench, freed: int, woken: bool
) -> None:
    await bench.submit_many(20)
    inc = await kafka(bench, window=16)  # 12 beyond the slots: 2 are a sixth
    await settle_first(bench, inc, freed)
    assert await bench.woken() is woken


async def test_a_credit_in_a_queue_with_a_limited_lane_wakes_a_poller_at_once(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default", max=50),))
    await bench.submit_many(20)
    inc = await kafka(bench, window=16)
    await settle_first(bench, inc, 1)
    assert await bench.woken()


async def test_a_freed_credit_wakes_nobody_when_nothing_waits(bench: Bench) -> None:
    await bench.submit_many(3)
    inc = await kafka(bench)
    await settle_first(bench, inc, 3)
    assert not await bench.woken()
    assert len((await bench.store.dispatch(10)).tasks) == 0


async def test_a_dispatch_that_leaves_nothing_to_do_takes_the_tokens(bench: Bench) -> None:
    await kafka(bench, window=8)
    await bench.submit_many(5)
    assert len((await bench.store.dispatch(10)).tasks) == 5
    assert not await bench.woken()


async def test_a_poller_that_waits_dispatches_as_soon_as_a_task_comes(any_bench: Bench) -> None:
    bench = any_bench
    inc = await kafka(bench)
    await bench.quiet()
    waiting = asyncio.ensure_future(bench.store.await_dispatch(10, 30.0))
    await asyncio.sleep(0)
    ids = await bench.submit_many(1)
    async with asyncio.timeout(20):
        got = await waiting
    assert [(who, task.id) for who, _, task in got.tasks] == [(inc, ids[0])]


async def test_a_poller_that_waits_in_vain_dispatches_all_the_same(any_bench: Bench) -> None:
    bench = any_bench
    await kafka(bench)
    ids = await bench.submit_many(2)
    await bench.quiet()
    got = await bench.store.await_dispatch(10, bench.moment)
    assert sorted(task.id for _, _, task in got.tasks) == ids


async def test_a_dispatch_leaves_tokens_to_workers_that_claim_for_themselves(bench: Bench) -> None:
    await bench.worker(4)
    await kafka(bench, window=2)
    await bench.submit_many(5)
    assert len((await bench.store.dispatch(10)).tasks) == 2
    assert await bench.woken()


async def test_the_least_loaded_worker_comes_first(bench: Bench) -> None:
    await bench.submit_many(3)
    busy = await kafka(bench)
    for inc, _, task in (await bench.store.dispatch(2)).tasks:
        assert inc == busy
        await bench.store.start(inc, [(task.id, task.fence)])
    idle = await kafka(bench)
    ((inc, _, _),) = (await bench.store.dispatch(1)).tasks
    assert inc == idle


async def test_draining_stalled_and_direct_workers_get_nothing(bench: Bench) -> None:
    await bench.submit_many(3)
    for state in (3, 4):
        inc = await kafka(bench)
        await bench.beat(inc, state=state, slots=4, window=4)
    await bench.worker(4, mode="direct", window=4)
    unannounced = new_incarnation()
    await bench.store.register(unannounced, "w", "kafka", 4, 4, 4)
    got = await bench.store.dispatch(10)
    assert (got.tasks, got.credits) == ([], 0)


async def test_partitions_are_taken_one_each_then_shared_and_come_free(bench: Bench) -> None:
    workers = [await kafka(bench, partitions=2) for _ in range(3)]
    by_worker = {w.incarnation: w.partition for w in (await bench.store.stats()).workers}
    assert [by_worker[inc] for inc in workers] == [0, 1, 0]
    await bench.store.deregister(workers[1])
    late = new_incarnation()
    assert (await bench.store.register(late, "w", "kafka", 4, 4, 2)).partition == 1


async def test_workers_on_a_shared_partition_are_told_apart(bench: Bench) -> None:
    await bench.submit_many(4)
    a, b = await kafka(bench, partitions=1, window=2), await kafka(bench, partitions=1, window=2)
    got = await bench.store.dispatch(10)
    assert {(inc, partition) for inc, partition, _ in got.tasks} == {(a, 0), (b, 0)}
    assert Counter(inc for inc, _, _ in got.tasks) == {a: 2, b: 2}


# -- start


async def dispatched(bench: Bench, **fields: object):  # type: ignore[no-untyped-def]
    """A Kafka worker and the one task that is on its way to it."""
    await bench.submit(**fields)
    inc = await kafka(bench)
    ((_, _, task),) = (await bench.store.dispatch(1)).tasks
    return inc, task


async def test_attempts_are_counted_at_start(any_bench: Bench) -> None:
    inc, task = await dispatched(any_bench)
    assert task.attempt == 0
    now, (start,) = await any_bench.store.start(inc, [(task.id, task.fence)])
    assert (now, start.code, start.attempt) == (any_bench.clock.now_ms(), 1, 1)
    _, (again,) = await any_bench.store.start(inc, [(task.id, task.fence)])
    assert (again.code, again.attempt) == (2, 1)
    assert await any_bench.state(task.id) is State.RUNNING


async def test_a_batch_is_settled_and_the_next_begins_in_one_call(any_bench: Bench) -> None:
    bench = any_bench
    await bench.submit_many(4)
    inc = await kafka(bench)
    first, second, third, fourth = [task for _, _, task in (await bench.store.dispatch(4)).tasks]
    await bench.store.start(inc, [(first.id, first.fence), (second.id, second.fence)])
    items = [(third.id, third.fence), (fourth.id, fourth.fence + 1)]
    ended = [
        Settlement(Kind.COMPLETE, first.id, first.fence),
        Settlement(Kind.COMPLETE, second.id, second.fence + 1),
    ]
    for codes, refused in [([1, 0], {1: "stale"}), ([2, 0], {0: "already", 1: "stale"})]:
        begun = await bench.store.begin(inc, items, ended)
        assert (list(begun.codes), begun.attempts[0], begun.refused) == (codes, 1, refused)
    assert [await bench.state(task.id) for task in (first, second, third, fourth)] == [
        State.SUCCEEDED,
        State.RUNNING,
        State.RUNNING,
        State.DISPATCHED,
    ]
    await bench.check()


async def test_a_task_that_is_settled_does_not_begin_again_by_the_same_call(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.store.start(inc, [(task.id, task.fence)])
    ended = [Settlement(Kind.RETRY, task.id, task.fence, delay_ms=50.0)]
    begun = await bench.store.begin(inc, [(task.id, task.fence)], ended)
    assert (list(begun.codes), begun.refused) == ([0], {})
    assert await bench.state(task.id) is State.SCHEDULED


async def test_the_same_start_twice_in_a_call_runs_once(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    _, starts = await bench.store.start(inc, [(task.id, task.fence)] * 2)
    assert [s.code for s in starts] == [1, 2]
    assert (await bench.view(task.id)).record.attempts == 1  # type: ignore[union-attr]


async def test_only_the_holder_with_the_current_fence_may_start(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    _, (a,) = await bench.store.start(new_incarnation(), [(task.id, task.fence)])
    _, (b,) = await bench.store.start(inc, [(task.id, task.fence + 1)])
    assert (a.code, b.code) == (0, 0)
    assert await bench.store.release([(inc, task.id, task.fence)]) == 1
    _, (c,) = await bench.store.start(inc, [(task.id, task.fence)])
    assert c.code == 0


async def test_a_start_timeout_is_checked_again_at_start(bench: Bench) -> None:
    inc, task = await dispatched(bench, start_timeout_ms=100)
    await bench.advance(100)
    assert (await bench.store.promote(10)).expired == 0  # it is on its way: start decides
    _, starts = await bench.store.start(inc, [(task.id, task.fence)] * 2)
    assert [s.code for s in starts] == [3, 3]
    assert await bench.state(task.id) is State.EXPIRED
    assert (await bench.store.dispatch(10)).credits == 4


# -- going back


async def test_a_released_task_goes_back_with_no_attempt_burnt(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.quiet()
    items = [
        (new_incarnation(), task.id, task.fence),
        (inc, task.id, task.fence - 1),
        (inc, task.id, task.fence),
    ]
    assert await bench.store.release([*items, items[-1]]) == 1
    assert await bench.woken()
    assert await bench.store.release(items) == 0
    view = await bench.view(task.id)
    assert (view.state, view.errors) == (State.QUEUED, [])
    ((_, _, again),) = (await bench.store.dispatch(1)).tasks
    assert (again.id, again.attempt, again.crashes) == (task.id, 0, 0)


async def test_a_running_task_cannot_be_released_as_if_it_had_not_started(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.store.start(inc, [(task.id, task.fence)])
    assert await bench.store.release([(inc, task.id, task.fence)]) == 0


async def test_a_task_on_its_way_can_be_settled_as_released_only(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    assert await bench.store.settle(inc, [Settlement(Kind.COMPLETE, task.id, task.fence)]) == {0: "stale"}
    assert await bench.state(task.id) is State.DISPATCHED
    await bench.settle(inc, task, Kind.RELEASE)
    assert await bench.state(task.id) is State.QUEUED


async def test_what_is_not_started_in_time_goes_back_even_in_grace(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.advance(499)
    assert (await bench.store.reap(10_000, 10)).overdue == 0
    await bench.advance(1)
    reaped = await bench.store.reap(10_000, 10)
    assert (reaped.grace, reaped.overdue) == (True, 1)
    assert await bench.state(task.id) is State.QUEUED
    _, (start,) = await bench.store.start(inc, [(task.id, task.fence)])
    assert start.code == 0


async def test_a_started_task_is_not_overdue(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.store.start(inc, [(task.id, task.fence)])
    await bench.advance(600)
    assert (await bench.store.reap(10_000, 10)).overdue == 0
    await bench.settle(inc, task, Kind.COMPLETE)


async def test_what_a_dead_worker_had_not_started_is_no_crash(bench: Bench) -> None:
    await bench.configure(dispatch_ms=60_000)
    _, task = await dispatched(bench)
    assert (await bench.reap_after_grace()).returned == 1
    view = await bench.view(task.id)
    assert (view.state, view.errors) == (State.QUEUED, [])


async def test_a_draining_workers_unstarted_tasks_go_back_at_its_next_beat(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.beat(inc, slots=4, window=4)
    assert await bench.state(task.id) is State.DISPATCHED
    await bench.beat(inc, state=3, slots=4, window=4)
    assert await bench.state(task.id) is State.QUEUED


async def test_cancelling_a_task_on_its_way_gives_its_credit_back(bench: Bench) -> None:
    inc, task = await dispatched(bench)
    await bench.quiet()
    assert await bench.store.cancel([task.id]) == ["cancelled"]
    assert await bench.woken()
    assert await bench.state(task.id) is State.CANCELLED
    assert (await bench.store.dispatch(10)).credits == 4
    _, (start,) = await bench.store.start(inc, [(task.id, task.fence)])
    assert start.code == 0


async def test_a_lane_whose_rate_a_dispatch_has_used_up_says_when_to_ask_again(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default", drate=10, dburst=1),))
    await bench.submit_many(2)
    await kafka(bench)
    got = await bench.store.dispatch(10)
    assert len(got.tasks) == 1
    assert 0 < got.again_ms <= 100


async def test_a_place_in_a_limited_lane_that_a_beat_finds_free_wakes_a_poller(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default", max=1),))
    first, _ = await bench.submit_many(2)
    inc = await kafka(bench)
    ((_, _, task),) = (await bench.store.dispatch(10)).tasks
    await bench.store.start(inc, [(task.id, task.fence)])
    assert await bench.store.cancel([first]) == ["requested"]
    await bench.quiet()
    for _ in range(3):  # beats that do not tell of it: the worker has it no more
        await bench.advance(60_000)
        await bench.beat(inc, slots=4, window=4)
        if await bench.state(first) is State.CANCELLED:
            break
    assert await bench.state(first) is State.CANCELLED
    assert await bench.woken()
