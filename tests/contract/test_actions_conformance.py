"""Every store: running tasks now, and giving waiting ones another lane, priority or time."""

from __future__ import annotations

import pytest
from tests.contract.stores import Bench, error

from laneway.kit.ids import new_task_id
from laneway.model.config import LaneConfig, TenantConfig
from laneway.model.settlement import Kind
from laneway.model.states import State
from laneway.ports.actions import Revision
from laneway.ports.browse import Filter, Sort, TaskRow

pytestmark = pytest.mark.asyncio

LANES = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="default"), LaneConfig(n=3, name="low", fifo=True))


@pytest.fixture
async def bench(bench: Bench) -> Bench:
    """As everywhere, with three lanes."""
    await bench.configure(lanes=LANES)
    return bench


@pytest.fixture
async def any_bench(any_bench: Bench) -> Bench:
    """As everywhere, with three lanes."""
    await any_bench.configure(lanes=LANES)
    return any_bench


async def row(bench: Bench, id: bytes) -> TaskRow:
    (found,) = await bench.store.browse.rows([id])
    assert found is not None
    return found


async def waiting(bench: Bench) -> list[bytes]:
    """What stands in lanes, in the order in which it would run."""
    page = await bench.store.browse.page(Filter(states=(State.QUEUED,)), Sort.NEXT, 1000, budget=5.0)
    return [found.id for found in page.rows]


async def revise(bench: Bench, *ids: bytes, lane: int | None = None, priority: int | None = None) -> list[str]:
    return await bench.store.actions.revise(list(ids), Revision(lane, priority))


# -- retry


async def test_a_scheduled_task_runs_now(any_bench: Bench) -> None:
    bench = any_bench
    fresh = await bench.submit(delay_ms=9000.0, lane=2, priority=7)
    failed = await bench.submit(lane=1)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=9000.0, data=error())
    await bench.quiet()
    assert await bench.store.actions.retry([fresh, failed, fresh]) == ["queued"] * 3
    assert await bench.woken()
    assert await waiting(bench) == [failed, fresh]
    assert (await row(bench, fresh)).priority == 7
    assert ("revised", fresh) in await bench.events()
    assert (await bench.store.promote(10)).promoted == 0
    assert [(t.id, t.attempt) for t in await bench.claim(inc, 5)] == [(failed, 2), (fresh, 1)]


async def test_an_ended_task_is_queued_again(bench: Bench) -> None:
    ids = await bench.submit_many(3)
    inc = await bench.worker()
    for kind in (Kind.DEAD, Kind.EXPIRE, Kind.COMPLETE):
        (task,) = await bench.claim(inc)
        await bench.settle(inc, task, kind, data=None if kind is Kind.COMPLETE else error())
    assert await bench.store.actions.retry(ids) == ["queued", "queued", "succeeded"]
    assert await waiting(bench) == ids[:2]


async def test_what_can_not_be_retried_says_what_it_is(bench: Bench) -> None:
    await bench.configure(lanes=LANES, tenant=TenantConfig(max=1))
    running, parked = await bench.submit(tenant="a"), await bench.submit(tenant="a")
    inc = await bench.worker()
    assert await bench.claim_ids(inc, 5) == [running]
    queued, unknown = await bench.submit(), new_task_id()
    answer = await bench.store.actions.retry([running, parked, queued, unknown])
    assert answer == ["running", "parked", "waiting", "unknown"]


async def test_a_task_of_a_tenant_at_its_limit_is_parked_when_it_is_retried(bench: Bench) -> None:
    await bench.configure(lanes=LANES, tenant=TenantConfig(max=1))
    await bench.submit_many(2, tenant="a")
    later = await bench.submit(tenant="a", delay_ms=900.0)
    inc = await bench.worker()
    (held,) = await bench.claim(inc, 5)
    assert await bench.store.actions.retry([later]) == ["queued"]
    assert await bench.state(later) is State.PARKED
    await bench.settle(inc, held, Kind.COMPLETE)


# -- revise


async def test_a_queued_task_gets_another_lane_and_priority(any_bench: Bench) -> None:
    bench = any_bench
    first, second = await bench.submit_many(2, lane=2)
    better, both = await bench.submit_many(2, lane=2)
    assert await revise(bench, better, priority=9) == ["revised"]
    assert await revise(bench, both, lane=1, priority=0) == ["revised"]
    assert await waiting(bench) == [both, better, first, second]
    found = await row(bench, both)
    assert (found.lane, found.priority, found.state) == (1, 0, State.QUEUED)
    assert (await bench.view(both)).envelope.lane == 2  # (what was said at submission)
    assert await bench.claim_ids(await bench.worker(), 9) == [both, better, first, second]
    assert {e for e in await bench.events() if e[0] == "revised"} == {("revised", better), ("revised", both)}


async def test_a_revised_task_keeps_its_lane_and_priority_when_it_is_tried_again(bench: Bench) -> None:
    id = await bench.submit(lane=2, priority=1)
    await revise(bench, id, lane=3, priority=8)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=10.0, data=error())
    await bench.advance(10)
    await bench.store.promote(10)
    found = await row(bench, id)
    assert (found.lane, found.priority, found.state) == (3, 8, State.QUEUED)
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.DEAD, data=error())
    assert await bench.store.replay([id]) == ["queued"]
    found = await row(bench, id)
    assert (found.lane, found.priority) == (3, 8)


async def test_revising_again_changes_nothing(bench: Bench) -> None:
    id = await bench.submit(lane=2)
    assert await revise(bench, id, lane=1, priority=4) == ["revised"]
    before = await row(bench, id)
    assert await revise(bench, id, lane=1, priority=4) == ["same"]
    assert await revise(bench, id, id, priority=4) == ["same", "same"]
    assert await row(bench, id) == before


async def test_a_task_that_is_put_off_is_scheduled_and_comes_due(bench: Bench) -> None:
    id = await bench.submit(lane=2, priority=6)
    at = bench.clock.now_ms() + 500
    await bench.quiet()
    assert await bench.store.actions.revise([id], Revision(due_ms=at)) == ["revised"]
    assert await bench.tend_woken()
    found = await row(bench, id)
    assert (found.state, found.due_ms, found.priority) == (State.SCHEDULED, at, 6)
    assert await bench.store.actions.revise([id], Revision(due_ms=at)) == ["same"]
    assert await bench.store.actions.revise([id], Revision(due_ms=at + 100)) == ["revised"]
    await bench.advance(500)
    assert (await bench.store.promote(10)).promoted == 0
    await bench.advance(100)
    assert (await bench.store.promote(10)).promoted == 1
    assert await waiting(bench) == [id]


@pytest.mark.parametrize("due", [0.0, 1.0])
async def test_a_time_that_is_past_means_now(bench: Bench, due: float) -> None:
    scheduled, queued = await bench.submit(delay_ms=900.0), await bench.submit()
    assert await bench.store.actions.revise([scheduled, queued], Revision(due_ms=due)) == ["revised", "same"]
    assert set(await waiting(bench)) == {scheduled, queued}


async def test_a_scheduled_task_takes_lane_and_priority_when_it_comes_due(bench: Bench) -> None:
    fresh = await bench.submit(lane=2, priority=2, delay_ms=100.0)
    id = await bench.submit(lane=2)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=100.0, data=error())
    assert await revise(bench, fresh, id, lane=1, priority=9) == ["revised"] * 2
    for each in (fresh, id):
        found = await row(bench, each)
        assert (found.state, found.lane, found.priority) == (State.SCHEDULED, 1, 9)
        assert found.due_ms == bench.clock.now_ms() + 100
    await bench.advance(100)
    await bench.store.promote(10)
    for each in (fresh, id):
        found = await row(bench, each)
        assert (found.state, found.lane, found.priority) == (State.QUEUED, 1, 9)


async def test_lane_priority_and_time_change_in_one_go(bench: Bench) -> None:
    scheduled, queued = await bench.submit(lane=2, delay_ms=900.0), await bench.submit(lane=2)
    assert await bench.store.actions.revise([scheduled], Revision(1, 8, 0.0)) == ["revised"]
    at = bench.clock.now_ms() + 50
    assert await bench.store.actions.revise([queued], Revision(3, 1, at)) == ["revised"]
    now, later = await row(bench, scheduled), await row(bench, queued)
    assert (now.state, now.lane, now.priority) == (State.QUEUED, 1, 8)
    assert (later.state, later.lane, later.priority, later.due_ms) == (State.SCHEDULED, 3, 1, at)
    await bench.advance(50)
    await bench.store.promote(10)
    later = await row(bench, queued)
    assert (later.state, later.lane, later.priority) == (State.QUEUED, 3, 1)


async def test_a_parked_task_of_a_tenant_at_its_limit_stays_behind_it_in_its_new_lane(bench: Bench) -> None:
    await bench.configure(lanes=LANES, tenant=TenantConfig(max=1))
    held, parked, moved = await bench.submit_many(3, tenant="a", lane=2)
    inc = await bench.worker()
    (task,) = await bench.claim(inc, 9)
    assert (task.id, await bench.state(moved)) == (held, State.PARKED)
    assert await revise(bench, moved, lane=1, priority=9) == ["revised"]
    assert await bench.state(moved) is State.PARKED
    assert (await row(bench, moved)).lane == 1
    await bench.settle(inc, task, Kind.COMPLETE)
    assert await bench.claim_ids(inc, 9) == [moved]
    assert await bench.state(parked) in (State.PARKED, State.QUEUED)


async def test_what_can_not_be_revised_says_what_it_is(bench: Bench) -> None:
    running = await bench.submit()
    inc = await bench.worker()
    await bench.claim(inc)
    ended = await bench.submit()
    await bench.store.cancel([ended])
    unknown = new_task_id()
    answer = await revise(bench, running, ended, unknown, lane=1)
    assert answer == ["running", "cancelled", "unknown"]
    queued = await bench.submit(lane=2)
    assert await revise(bench, queued, lane=77) == ["lane removed"]
    await bench.configure(lanes=(*LANES[:2], LaneConfig(n=3, name="low", fifo=True, gone=True)))
    assert await revise(bench, queued, lane=3) == ["lane removed"]
    assert (await row(bench, queued)).lane == 2


async def test_a_task_that_is_not_as_it_was_seen_is_left_alone(bench: Bench) -> None:
    for fields in ({}, {"delay_ms": 500.0}):
        id = await bench.submit(lane=2, **fields)
        seen = await bench.view(id)
        assert await bench.store.actions.revise([id], Revision(priority=7), seen) == ["revised"]
        assert await bench.store.actions.revise([id], Revision(priority=1), seen) == ["changed"]
        assert (await row(bench, id)).priority == 7
        seen = await bench.view(id)
        assert await bench.store.actions.revise([id], Revision(lane=1), seen) == ["revised"]
        seen = await bench.view(id)
        assert await bench.store.actions.revise([id], Revision(due_ms=bench.clock.now_ms() + 9), seen) == ["revised"]
        assert await bench.store.actions.revise([id], Revision(lane=2), seen) == ["changed"]


async def test_a_tenant_pays_where_its_tasks_go_and_gets_back_what_it_paid_last(bench: Bench) -> None:
    moved = await bench.submit_many(5, tenant="a", lane=2)
    assert await revise(bench, *moved, lane=1) == ["revised"] * 5
    # As if it had never been in the one lane: both tenants begin there together, in the order of their tasks.
    a, b = [], []
    for _ in range(3):
        a.append(await bench.submit(tenant="a", lane=2))
        b.append(await bench.submit(tenant="b", lane=2))
    assert (await waiting(bench))[5:] == [a[0], b[0], a[1], b[1], a[2], b[2]]
    # And charged in the other: another tenant's task goes in front of all but its first.
    other = await bench.submit(tenant="b", lane=1)
    assert (await waiting(bench))[:6] == [moved[0], other, *moved[1:]]


async def test_what_a_tenant_sends_later_does_not_overtake_what_stays_when_the_first_leave(bench: Bench) -> None:
    sent = await bench.submit_many(6, lane=2)
    await revise(bench, *sent[:3], lane=1)
    last = await bench.submit(lane=2)
    assert await waiting(bench) == [*sent[:3], *sent[3:], last]


async def test_a_thousand_tasks_are_revised_in_one_go(bench: Bench) -> None:
    sent = []
    for _ in range(3):
        sent += await bench.submit_many(120, lane=2)
    assert set(await revise(bench, *sent, lane=3)) == {"revised"}
    assert await waiting(bench) == sent
    counts = (await bench.store.stats()).counts
    assert counts["queued"] == len(sent)


async def test_a_task_with_a_start_timeout_expires_wherever_it_was_moved_to(bench: Bench) -> None:
    ids = [await bench.submit(start_timeout_ms=100, key=f"k{n}") for n in range(3)]
    await revise(bench, ids[0], lane=3)
    await bench.store.actions.revise([ids[1]], Revision(due_ms=bench.clock.now_ms() + 5000))
    await bench.store.actions.revise([ids[2]], Revision(1, 9, bench.clock.now_ms() + 5000))
    await bench.advance(100)
    assert (await bench.store.promote(10)).expired == 3
    assert {await bench.state(id) for id in ids} == {State.EXPIRED}
