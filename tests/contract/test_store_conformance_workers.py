"""Every store: workers come, claim, beat, drain, die and go."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.stores import FAST, Bench

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import connect
from laneway.kit.ids import new_incarnation, new_task_id
from laneway.model.config import QueueConfig
from laneway.model.record import SUSPECT
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State

pytestmark = pytest.mark.asyncio


async def test_a_claim_fills_free_slots_and_no_more(any_bench: Bench) -> None:
    ids = await any_bench.submit_many(5)
    inc = await any_bench.worker(3)
    tasks = await any_bench.claim(inc, 10)
    assert [task.id for task in tasks] == ids[:3]
    assert {await any_bench.state(task.id) for task in tasks} == {State.RUNNING}
    assert await any_bench.claim(inc, 10) == []
    assert (await any_bench.view(ids[0])).record.holder == inc  # type: ignore[union-attr]


async def test_the_same_request_gives_the_same_tasks_again(any_bench: Bench) -> None:
    await any_bench.submit_many(5)
    inc = await any_bench.worker(5)
    first = await any_bench.store.turn(inc, 1, 2, [])
    again = await any_bench.store.turn(inc, 1, 2, [])
    assert len(first.tasks) == 2 and again.tasks == first.tasks


async def test_a_claim_that_waits_is_made_when_there_is_work(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    await any_bench.quiet()
    waiting = asyncio.ensure_future(any_bench.store.await_turn(inc, 1, 5, 30.0))
    await asyncio.sleep(0)
    ids = await any_bench.submit_many(2)
    turn = await asyncio.wait_for(waiting, 10.0)
    tasks = turn.tasks or (await any_bench.store.turn(inc, 2, 5, [])).tasks
    assert turn.status == "ok" and tasks[0].id == ids[0]
    assert await any_bench.state(ids[0]) is State.RUNNING


async def test_a_claim_that_waited_in_vain_is_made_all_the_same(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    (id_,) = await any_bench.submit_many(1)
    await any_bench.quiet()
    turn = await any_bench.store.await_turn(inc, 1, 5, any_bench.moment)
    assert [task.id for task in turn.tasks] == [id_]


async def test_what_a_waiting_claim_took_is_told_again_under_its_number(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    await any_bench.submit_many(2)
    first = await any_bench.store.await_turn(inc, 7, 5, any_bench.moment)
    assert len(first.tasks) == 2
    assert (await any_bench.store.turn(inc, 7, 0, [])).tasks == first.tasks


async def test_a_waiting_claim_follows_a_new_configuration(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    store = any_bench.store
    other = RedisStore(store.server, store.queue, cluster=store.cluster) if isinstance(store, RedisStore) else store
    await other.configure(QueueConfig(**{**FAST, "max_depth": 99}), {}, expected=None)
    if other is not store:
        await other.close()
    (id_,) = await any_bench.submit_many(1)
    turn = await any_bench.store.await_turn(inc, 1, 5, any_bench.moment)
    assert [task.id for task in turn.tasks] == [id_]


async def test_a_waiting_claim_is_made_though_the_server_forgot_the_scripts(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    (id_,) = await any_bench.submit_many(1)
    if isinstance(any_bench.store, RedisStore):
        client = connect(any_bench.store.server, cluster=any_bench.store.cluster)
        await client.script_flush()
        await client.aclose()
    turn = await any_bench.store.await_turn(inc, 1, 5, any_bench.moment)
    assert [task.id for task in turn.tasks] == [id_]


async def test_a_worker_that_is_gone_hears_it_from_a_waiting_claim(any_bench: Bench) -> None:
    inc = await any_bench.worker(5)
    await any_bench.store.deregister(inc)
    assert (await any_bench.store.await_turn(inc, 1, 5, any_bench.moment)).status == "gone"


async def test_a_replayed_claim_leaves_out_what_is_settled_since(bench: Bench) -> None:
    await bench.submit_many(2)
    inc = await bench.worker(5)
    first = await bench.store.turn(inc, 1, 2, [])
    await bench.settle(inc, first.tasks[0], Kind.COMPLETE)
    again = await bench.store.turn(inc, 1, 2, [])
    assert again.tasks == first.tasks[1:]


async def test_an_old_requests_late_copy_gets_nothing(bench: Bench) -> None:
    await bench.submit_many(2)
    inc = await bench.worker(5)
    await bench.store.turn(inc, 5, 1, [])
    late = await bench.store.turn(inc, 4, 1, [])
    assert (late.status, late.tasks) == ("late", [])
    assert (await bench.store.stats()).counts["running"] == 1


async def test_an_unregistered_caller_must_register_anew(bench: Bench) -> None:
    id = await bench.submit()
    turn = await bench.store.turn(new_incarnation(), 1, 1, [])
    assert (turn.status, turn.tasks) == ("gone", [])
    assert await bench.state(id) is State.QUEUED


async def test_a_worker_that_has_not_announced_itself_gets_nothing(bench: Bench) -> None:
    await bench.submit()
    inc = new_incarnation()
    await bench.store.register(inc, "w", "direct", 5, 0, 0)
    assert (await bench.store.turn(inc, 1, 1, [])).tasks == []
    await bench.beat(inc)
    assert len((await bench.store.turn(inc, 2, 1, [])).tasks) == 1


async def test_a_draining_worker_gets_nothing_more_and_stays_draining(bench: Bench) -> None:
    await bench.submit_many(2)
    inc = await bench.worker(5)
    (task,) = await bench.claim(inc)
    assert (await bench.beat(inc, [task.id], state=3)).state == 3
    turn = await bench.store.turn(inc, 50, 5, [])
    assert (turn.status, turn.tasks) == ("draining", [])
    assert (await bench.beat(inc, [task.id], state=2)).state == 3


async def test_a_stalled_worker_gets_nothing_until_it_moves_again(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker(5)
    await bench.beat(inc, state=4)
    assert await bench.claim(inc) == []
    await bench.beat(inc, state=2)
    assert len(await bench.claim(inc)) == 1


async def test_a_start_timeout_that_is_over_at_the_claim_expires_the_task(bench: Bench) -> None:
    late, fine = await bench.submit(start_timeout_ms=100), await bench.submit(start_timeout_ms=200)
    await bench.advance(100)
    inc = await bench.worker()
    assert await bench.claim_ids(inc, 5) == [fine]
    assert await bench.state(late) is State.EXPIRED


async def test_a_started_task_does_not_expire_later(bench: Bench) -> None:
    id = await bench.submit(start_timeout_ms=100)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY)
    await bench.advance(5000)
    assert (await bench.store.promote(10)).expired == 0
    assert await bench.beat(inc)
    assert await bench.claim_ids(inc) == [id]


# -- heartbeats


async def test_a_heartbeat_of_a_stranger_is_answered_gone(any_bench: Bench) -> None:
    assert (await any_bench.beat(new_incarnation())).status == "gone"


async def test_a_heartbeat_says_what_the_worker_has_lost(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    assert (await bench.beat(inc, [task.id])).lost == frozenset()
    await bench.settle(inc, task, Kind.RELEASE)
    stranger = new_task_id()
    assert (await bench.beat(inc, [task.id, stranger])).lost == {task.id, stranger}


async def test_a_task_whose_handing_over_was_lost_goes_back_after_two_beats(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.advance(400)
    await bench.beat(inc, [])
    assert await bench.state(task.id) is State.RUNNING
    await bench.advance(1)
    await bench.quiet()
    await bench.beat(inc, [])
    assert await bench.state(task.id) is State.QUEUED
    assert await bench.woken()
    (again,) = await bench.claim(inc)
    assert (again.attempt, again.crashes) == (1, 0)


async def test_a_known_task_stays_however_long_it_runs(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    for _ in range(20):
        await bench.advance(500)
        assert (await bench.beat(inc, [task.id])).lost == frozenset()
        assert (await bench.store.reap(10_000, 10)).returned == 0
    await bench.settle(inc, task, Kind.COMPLETE)


async def test_a_heartbeat_changes_slots(bench: Bench) -> None:
    await bench.submit_many(5)
    inc = await bench.worker(2)
    assert len(await bench.claim(inc, 9)) == 2
    held = (await bench.store.turn(inc, bench.request, 0, [])).tasks
    await bench.beat(inc, [task.id for task in held], slots=4)
    assert len(await bench.claim(inc, 9)) == 2


# -- death


async def test_a_dead_workers_tasks_go_back_with_the_crash_noted(any_bench: Bench) -> None:
    bench = any_bench
    await bench.submit_many(2)
    inc = await bench.worker(name="doomed")
    tasks = await bench.claim(inc, 2)
    reaped = await bench.reap_after_grace()
    assert (reaped.grace, reaped.workers, reaped.returned) == (False, 1, 2)
    for task in tasks:
        view = await bench.view(task.id)
        assert view.state is State.QUEUED
        assert [(e.kind, e.worker) for e in view.errors] == [("crash", "doomed")]
    assert (await bench.beat(inc)).status == "gone"
    other = await bench.worker()
    again = await bench.claim(other, 2)
    assert {(t.attempt, t.crashes, t.flags & SUSPECT) for t in again} == {(2, 1, SUSPECT)}
    late = [Settlement(Kind.COMPLETE, t.id, t.fence) for t in tasks]
    assert await bench.store.settle(inc, late) == {0: "stale", 1: "stale"}


async def test_a_beating_worker_is_left_alone(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.store.reap(10_000, 10)
    for _ in range(5):
        await bench.advance(600)
        await bench.beat(inc, [task.id])
        assert (await bench.store.reap(10_000, 10)).workers == 0


async def test_after_a_silence_everybody_gets_a_full_lease(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.store.reap(1000, 10)
    await bench.advance(30_000)
    assert (await bench.store.reap(1000, 10)).grace
    await bench.advance(900)
    assert (await bench.store.reap(1000, 10)).grace
    assert (await bench.beat(inc, [task.id])).status == "ok"
    await bench.advance(500)
    reaped = await bench.store.reap(1000, 10)
    assert (reaped.grace, reaped.workers, reaped.returned) == (False, 0, 0)
    await bench.settle(inc, task, Kind.COMPLETE)


async def test_a_dead_workers_many_tasks_go_back_page_by_page(bench: Bench) -> None:
    await bench.submit_many(5)
    inc = await bench.worker(5)
    await bench.claim(inc, 5)
    first = await bench.reap_after_grace(page=2)
    assert (first.returned, first.more, first.workers) == (2, True, 0)
    assert (await bench.beat(inc)).status == "gone"
    assert (await bench.store.turn(inc, 99, 1, [])).status == "gone"
    second = await bench.store.reap(10_000, 2)
    third = await bench.store.reap(10_000, 2)
    assert (second.returned, third.returned, third.workers, third.more) == (2, 1, 1, False)


async def test_a_task_that_kills_its_workers_is_dead_at_its_maximum(bench: Bench) -> None:
    id = await bench.submit(max_attempts=3)
    innocent = await bench.submit(max_attempts=9)
    for crash in range(1, 4):
        inc = await bench.worker()
        assert id in await bench.claim_ids(inc, 2)
        await bench.reap_after_grace()
        assert await bench.state(id) is (State.DEAD if crash == 3 else State.QUEUED)
    view = await bench.view(id)
    assert [e.kind for e in view.errors] == ["crash"] * 3
    assert await bench.state(innocent) is State.QUEUED


async def test_a_single_crash_does_not_kill_a_task_of_one_attempt(bench: Bench) -> None:
    id = await bench.submit(max_attempts=1)
    await bench.claim(await bench.worker())
    await bench.reap_after_grace()
    assert await bench.state(id) is State.QUEUED


# -- coming back and going


async def test_a_worker_that_comes_back_adopts_what_it_really_runs(any_bench: Bench) -> None:
    bench = any_bench
    await bench.submit_many(3)
    old = await bench.worker()
    a, b, c = await bench.claim(old, 3)
    new = new_incarnation()
    running = [(a.id, a.fence), (b.id, b.fence - 1), (new_task_id(), 5)]
    registered = await bench.store.register(new, "w", "direct", 10, 0, 0, old, running)
    assert registered.adopted == {a.id}
    assert [await bench.state(t.id) for t in (a, b, c)] == [State.RUNNING, State.QUEUED, State.QUEUED]
    assert (await bench.beat(old)).status == "gone"
    assert (await bench.beat(new, [a.id])).lost == frozenset()
    assert await bench.store.settle(old, [Settlement(Kind.COMPLETE, a.id, a.fence)]) == {0: "stale"}
    await bench.settle(new, a, Kind.COMPLETE)
    for task in await bench.claim(new, 5):
        assert (task.attempt, task.crashes) == (1, 0)


async def test_registering_again_after_a_lost_answer_still_names_what_was_adopted(bench: Bench) -> None:
    await bench.submit()
    old = await bench.worker()
    (task,) = await bench.claim(old)
    new = new_incarnation()
    answers = [await bench.store.register(new, "w", "direct", 10, 0, 0, old, [(task.id, task.fence)]) for _ in range(2)]
    assert [answer.adopted for answer in answers] == [{task.id}] * 2


async def test_registering_twice_is_one_registration(bench: Bench) -> None:
    inc = new_incarnation()
    for _ in range(2):
        assert (await bench.store.register(inc, "w", "kafka", 5, 5, 4)).partition == 0
    assert len((await bench.store.stats()).workers) == 1


async def test_a_deregistered_worker_leaves_nothing_behind(bench: Bench) -> None:
    ids = await bench.submit_many(3)
    inc = await bench.worker()
    await bench.claim(inc, 3)
    await bench.quiet()
    assert await bench.store.deregister(inc) == 3
    assert await bench.woken()
    assert await bench.store.deregister(inc) == 0
    stats = await bench.store.stats()
    assert (stats.workers, stats.counts["queued"]) == ([], 3)
    again = await bench.claim(await bench.worker(), 3)
    assert [(t.id, t.attempt) for t in again] == [(id, 1) for id in ids]


async def test_deregistering_the_unknown_is_fine(bench: Bench) -> None:
    assert await bench.store.deregister(new_incarnation()) == 0


async def test_a_fence_never_repeats_and_only_grows(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    fences = []
    for _ in range(5):
        (task,) = await bench.claim(inc)
        fences.append(task.fence)
        await bench.settle(inc, task, Kind.RELEASE)
    assert fences == sorted(set(fences))
    assert fences[0] >= bench.clock.now_us() - 1


async def test_workers_show_in_the_statistics(bench: Bench) -> None:
    await bench.submit_many(2)
    inc = await bench.worker(7, name="pool-1")
    await bench.claim(inc, 2)
    await bench.advance(300)
    (worker,) = (await bench.store.stats()).workers
    assert (worker.incarnation, worker.name, worker.mode, worker.state) == (inc, "pool-1", "direct", 2)
    assert (worker.slots, worker.held, worker.beat_age_ms, worker.partition) == (7, 2, 300, -1)
