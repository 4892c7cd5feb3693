"""Every store: which task is handed out next."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.contract.stores import Bench

from laneway.model.config import LaneConfig, TenantConfig
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State

pytestmark = pytest.mark.asyncio

THREE = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="default"), LaneConfig(n=3, name="low"))


async def test_lanes_go_in_their_order_whatever_came_first(any_bench: Bench) -> None:
    await any_bench.configure(lanes=THREE)
    low, middle, high = [await any_bench.submit(lane=n, priority=9 - n) for n in (3, 2, 1)]
    assert await any_bench.claim_ids(await any_bench.worker(), 3) == [high, middle, low]


async def test_in_a_lane_the_higher_priority_goes_first(bench: Bench) -> None:
    ids = {p: await bench.submit(priority=p) for p in (4, 0, 9, 5)}
    assert await bench.claim_ids(await bench.worker(), 4) == [ids[9], ids[5], ids[4], ids[0]]


async def test_equal_priority_goes_in_submission_order(bench: Bench) -> None:
    ids = await bench.submit_many(20)
    assert await bench.claim_ids(await bench.worker(20), 20) == ids


async def test_each_freed_slot_takes_the_best_there_is(bench: Bench) -> None:
    await bench.configure(lanes=THREE)
    low = await bench.submit_many(2, lane=3)
    inc = await bench.worker(1)
    (running,) = await bench.claim(inc)
    urgent = await bench.submit(lane=1)
    await bench.settle(inc, running, Kind.COMPLETE)
    assert await bench.claim_ids(inc) == [urgent]
    assert await bench.state(low[1]) is State.QUEUED


async def test_tenants_share_a_lane_by_weight(bench: Bench) -> None:
    await bench.configure({"big": TenantConfig(w=3)}, overrides=True)
    owner: dict[bytes, str] = {}
    for tenant in ("small", "big"):
        owner |= {id: tenant for id in await bench.submit_many(40, tenant=tenant)}
    got = Counter(owner[id] for id in await bench.claim_ids(await bench.worker(40), 40))
    assert got["big"] in range(29, 32) and got["small"] in range(9, 12)


async def test_a_tenant_that_comes_late_is_not_behind_the_others_backlog(bench: Bench) -> None:
    await bench.submit_many(30, tenant="a")
    inc = await bench.worker(40)
    await bench.claim(inc, 10)
    late = await bench.submit_many(2, tenant="b")
    assert set(await bench.claim_ids(inc, 4)) > set(late)


async def test_a_fifo_lane_ignores_tenants(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default", fifo=True),))
    ids = await bench.submit_many(5, tenant="a") + await bench.submit_many(5, tenant="b")
    assert await bench.claim_ids(await bench.worker(10), 10) == ids


async def test_a_minimum_share_gets_slots_before_better_lanes(bench: Bench) -> None:
    lanes = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="low", share=20))
    await bench.configure(lanes=lanes, shares=True)
    high, low = await bench.submit_many(20, lane=1), await bench.submit_many(20, lane=2)
    inc = await bench.worker(10)
    await bench.store.sweep("", 10)  # counts the slots
    got = await bench.claim_ids(inc, 10)
    assert (len(set(got) & set(high)), len(set(got) & set(low))) == (8, 2)


async def test_a_minimum_share_is_of_occupied_slots_not_of_starts(bench: Bench) -> None:
    lanes = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="low", share=20))
    await bench.configure(lanes=lanes, shares=True)
    high = await bench.submit_many(20, lane=1)
    await bench.submit_many(20, lane=2)
    inc = await bench.worker(10)
    await bench.store.sweep("", 10)
    first = {task.id: task for task in await bench.claim(inc, 10)}
    done = next(id for id in first if id in high)
    await bench.settle(inc, first[done], Kind.COMPLETE)
    (next_id,) = await bench.claim_ids(inc, 1)
    assert next_id in high  # low still holds its two slots


async def test_a_lane_at_its_limit_is_passed_over(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="high", max=2), LaneConfig(n=2, name="low")))
    high, low = await bench.submit_many(4, lane=1), await bench.submit_many(2, lane=2)
    inc = await bench.worker(10)
    tasks = await bench.claim(inc, 10)
    assert [task.id for task in tasks] == [*high[:2], *low]
    await bench.settle(inc, tasks[0], Kind.COMPLETE)
    assert await bench.claim_ids(inc, 10) == [high[2]]


async def test_a_tenant_at_its_limit_is_parked_and_moves_on_as_slots_come_free(any_bench: Bench) -> None:
    bench = any_bench
    await bench.configure(tenant=TenantConfig(max=2))
    ids = await bench.submit_many(5, tenant="a")
    other = await bench.submit(tenant="b")
    inc = await bench.worker(10)
    tasks = await bench.claim(inc, 10)
    assert sorted(task.id for task in tasks) == sorted([*ids[:2], other])
    assert [await bench.state(id) for id in ids[2:]] == [State.PARKED] * 3
    await bench.quiet()
    await bench.settle(inc, next(t for t in tasks if t.id == ids[0]), Kind.COMPLETE)
    assert [await bench.state(id) for id in ids[2:]] == [State.QUEUED, State.PARKED, State.PARKED]
    assert await bench.woken()
    assert await bench.claim_ids(inc, 10) == [ids[2]]


async def test_a_new_task_of_a_waiting_tenant_is_parked_at_once(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    first = await bench.submit_many(2, tenant="a")
    inc = await bench.worker(10)
    (task,) = await bench.claim(inc, 10)
    late = await bench.submit(tenant="a")
    assert await bench.state(late) is State.PARKED
    await bench.settle(inc, task, Kind.COMPLETE)
    (task,) = await bench.claim(inc, 10)
    assert task.id == first[1]
    await bench.settle(inc, task, Kind.COMPLETE)
    assert await bench.claim_ids(inc, 10) == [late]


async def test_what_is_parked_leaves_by_lane_then_in_submission_order(bench: Bench) -> None:
    await bench.configure(lanes=THREE, tenant=TenantConfig(max=1))
    first, second = await bench.submit_many(2, lane=1, tenant="a")
    inc = await bench.worker(10)
    (task,) = await bench.claim(inc, 10)  # parks the second, so that those to come are parked at submission
    low = await bench.submit(lane=3, tenant="a")
    third, fourth = await bench.submit_many(2, lane=1, tenant="a")
    assert {await bench.state(id) for id in (second, low, third, fourth)} == {State.PARKED}
    order = [task.id]
    while True:
        await bench.settle(inc, task, Kind.COMPLETE)
        claimed = await bench.claim(inc, 10)
        if not claimed:
            break
        (task,) = claimed
        order.append(task.id)
    assert order == [first, second, third, fourth, low]


async def test_a_raised_limit_frees_parked_tasks_at_the_next_sweep(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    ids = await bench.submit_many(4, tenant="a")
    inc = await bench.worker(10)
    await bench.claim(inc, 10)
    await bench.configure(tenant=TenantConfig(max=3))
    assert await bench.store.sweep("", 100) == ("", 2)
    assert await bench.claim_ids(inc, 10) == ids[1:3]
    await bench.configure()
    assert (await bench.store.sweep("", 100))[1] == 1
    assert await bench.claim_ids(inc, 10) == ids[3:]


@pytest.mark.parametrize("own", [False, True])
async def test_a_tenants_first_limit_counts_what_runs_already(bench: Bench, own: bool) -> None:
    running = await bench.submit_many(2, tenant="a")
    inc = await bench.worker(slots=10)
    tasks = await bench.claim(inc, 2)
    assert [task.id for task in tasks] == running
    limit = TenantConfig(max=2)
    await (bench.configure({"a": limit}, overrides=True) if own else bench.configure(tenant=limit))
    waiting = await bench.submit_many(2, tenant="a")
    other = await bench.submit(tenant="b")
    assert await bench.claim_ids(inc, 5) == [other]
    await bench.settle(inc, tasks[0], Kind.COMPLETE)
    assert await bench.claim_ids(inc, 5) == waiting[:1]


async def test_many_tenants_in_one_batch_come_free_again(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    ids = [await bench.submit(tenant=f"t{n}") for n in range(12)]
    again = [await bench.submit(tenant=f"t{n}") for n in range(12)]
    inc = await bench.worker(slots=50)
    tasks = await bench.claim(inc, 50)
    assert sorted(task.id for task in tasks) == sorted(ids)
    assert await bench.store.settle(inc, [Settlement(Kind.COMPLETE, t.id, t.fence) for t in tasks]) == {}
    assert sorted(await bench.claim_ids(inc, 50)) == sorted(again)


async def test_a_sweep_visits_tenants_page_by_page(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    for tenant in ("a", "b", "c"):
        await bench.submit_many(2, tenant=tenant)
    await bench.claim(await bench.worker(10), 10)
    await bench.configure()
    seen, cursor = [], ""
    while True:
        cursor, moved = await bench.store.sweep(cursor, 2)
        seen.append(moved)
        if not cursor:
            break
    assert seen == [2, 1]


async def test_a_lane_out_of_dispatch_tokens_is_passed_over_and_says_when_to_ask_again(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="high", drate=10.0, dburst=2.0), LaneConfig(n=2, name="low")))
    high, low = await bench.submit_many(4, lane=1), await bench.submit(lane=2)
    inc = await bench.worker(10)
    assert await bench.claim_ids(inc, 10) == [*high[:2], low]
    turn = await bench.store.turn(inc, 100, 10, [])
    assert (turn.tasks, turn.again_ms) == ([], 100)
    await bench.advance(100)
    turn = await bench.store.turn(inc, 101, 10, [])
    assert [task.id for task in turn.tasks] == [high[2]]


@pytest.mark.parametrize("what", ["queue", "lane"])
async def test_what_is_paused_hands_out_nothing_and_keeps_its_tasks(bench: Bench, what: str) -> None:
    paused = {"paused": True} if what == "queue" else {"lanes": (LaneConfig(n=1, name="default", paused=True),)}
    ids = await bench.submit_many(2)
    await bench.configure(**paused)
    inc = await bench.worker(10)
    assert await bench.claim_ids(inc, 10) == []
    await bench.configure()
    assert await bench.claim_ids(inc, 10) == ids


async def test_the_wake_token_is_passed_on_while_work_is_left(bench: Bench) -> None:
    await bench.submit_many(3)
    inc = await bench.worker(10)
    await bench.quiet()
    await bench.claim(inc, 2)
    assert await bench.woken()
    await bench.claim(inc, 2)
    assert not await bench.woken()


async def test_a_slot_that_a_worker_does_not_fill_itself_wakes_others(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default", max=1),))
    await bench.submit_many(2)
    inc = await bench.worker(1)
    (task,) = await bench.claim(inc)
    await bench.quiet()
    await bench.claim(inc, 0, [Settlement(Kind.COMPLETE, task.id, task.fence)])
    assert await bench.woken()
