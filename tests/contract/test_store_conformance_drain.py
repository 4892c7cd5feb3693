"""Asking a worker to leave, and looking at workers one by one: over memory and both Redis."""

import pytest
from tests.contract.stores import Bench

from laneway.kit.ids import new_incarnation
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind

pytestmark = pytest.mark.asyncio


async def test_a_worker_that_is_asked_to_drain_gets_nothing_more_from_that_moment_on(bench: Bench) -> None:
    inc = await bench.worker(5)
    await bench.submit_many(3)
    assert await bench.store.workers.drain(inc)
    turn = await bench.store.turn(inc, 1, 5, [])
    assert (turn.status, turn.tasks) == ("draining", [])


async def test_a_kafka_worker_that_is_asked_to_drain_is_dispatched_nothing(bench: Bench) -> None:
    inc = await bench.worker(5, mode="kafka", window=5, partitions=2)
    other = await bench.worker(5, mode="kafka", window=5, partitions=2)
    await bench.submit_many(4)
    assert await bench.store.workers.drain(inc)
    got = await bench.store.dispatch(10)
    assert {holder for holder, _, _ in got.tasks} == {other}
    assert len(got.tasks) == 4


async def test_what_runs_on_a_draining_worker_is_settled_as_ever(bench: Bench) -> None:
    inc = await bench.worker(5)
    (id,) = await bench.submit_many(1)
    (task,) = await bench.claim(inc)
    assert await bench.store.workers.drain(inc)
    await bench.settle(inc, task, Kind.COMPLETE)
    assert (await bench.state(id)).label == "succeeded"


async def test_a_beat_tells_of_the_drain_and_does_not_end_it(bench: Bench) -> None:
    inc = await bench.worker(5)
    assert await bench.store.workers.drain(inc)
    for _ in range(2):
        assert (await bench.beat(inc, state=2)).state == 3
    assert (await bench.beat(inc, state=4)).state == 3
    (member,) = await bench.store.workers.members(10)
    assert member.state == 3


async def test_a_registration_that_follows_a_drained_one_drains_too(bench: Bench) -> None:
    last = await bench.worker(5)
    assert await bench.store.workers.drain(last)
    inc = new_incarnation()
    await bench.store.register(inc, "w", "direct", 5, 0, 0, last=last)
    assert (await bench.beat(inc)).state == 3
    fresh = new_incarnation()
    await bench.store.register(fresh, "w", "direct", 5, 0, 0)
    assert (await bench.beat(fresh)).state == 2


async def test_draining_twice_is_fine_and_one_that_is_gone_is_unknown(bench: Bench) -> None:
    inc = await bench.worker(5)
    assert await bench.store.workers.drain(inc)
    assert await bench.store.workers.drain(inc)
    await bench.store.deregister(inc)
    assert not await bench.store.workers.drain(inc)
    assert not await bench.store.workers.drain(new_incarnation())


async def test_a_worker_whose_registration_was_taken_over_is_dead_and_can_not_be_drained(bench: Bench) -> None:
    last = await bench.worker(5)
    await bench.store.register(new_incarnation(), "w", "direct", 5, 0, 0, last=last)
    assert not await bench.store.workers.drain(last)


async def test_a_drain_wakes_whoever_waits_for_work(bench: Bench) -> None:
    inc = await bench.worker(5)
    await bench.quiet()
    assert await bench.store.workers.drain(inc)
    assert await bench.woken()


async def test_slots_of_a_draining_worker_do_not_count_for_minimum_shares(bench: Bench) -> None:
    lanes = (LaneConfig(n=2, name="high", prio=9), LaneConfig(n=1, name="default", share=50))
    await bench.configure(lanes=lanes, shares=True)
    big, small = await bench.worker(10), await bench.worker(2)
    low, high = await bench.submit_many(3, lane=1), await bench.submit_many(3, lane=2)
    await bench.store.workers.drain(big)
    # Half of two slots is one; were the ten counted, both would go to the lane with the share.
    assert sorted(await bench.claim_ids(small, 2)) == sorted([low[0], high[0]])


async def test_members_tell_what_each_worker_holds_and_since_when_it_is_there(bench: Bench) -> None:
    inc = await bench.worker(5, name="one")
    idle = await bench.worker(3, name="two", mode="kafka", window=9, partitions=4)
    ids = await bench.submit_many(4)
    await bench.claim(inc, 4)
    await bench.advance(250)
    members = {member.incarnation: member for member in await bench.store.workers.members(2)}
    assert set(members) == {inc, idle}
    busy, other = members[inc], members[idle]
    assert (busy.name, busy.mode, busy.state, busy.slots, busy.partition, busy.held) == ("one", "direct", 2, 5, -1, 4)
    assert busy.tasks == sorted(ids)[:2]
    assert (other.name, other.mode, other.held, other.tasks) == ("two", "kafka", 0, [])
    assert other.partition >= 0
    assert busy.beat_age_ms == 250
    assert busy.since_ms == bench.clock.now_ms() - 250
