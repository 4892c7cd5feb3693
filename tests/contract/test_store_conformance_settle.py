"""Every store: settlements, attempts, crashes and cancellation."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.stores import Bench, error

from laneway.kit.ids import new_incarnation, new_task_id
from laneway.model.config import TenantConfig
from laneway.model.record import SUSPECT
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.ports.store import Claimed

pytestmark = pytest.mark.asyncio


async def running(bench: Bench, **fields: object) -> tuple[bytes, Claimed]:
    """A worker and the one task that it runs."""
    await bench.submit(**fields)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    return inc, task


async def test_a_completed_task_succeeds_with_its_result(any_bench: Bench) -> None:
    inc, task = await running(any_bench)
    assert (task.attempt, task.crashes) == (1, 0)
    await any_bench.settle(inc, task, Kind.COMPLETE, data=b"\x2a")
    view = await any_bench.view(task.id)
    assert (view.state, view.result) == (State.SUCCEEDED, b"\x2a")


async def test_a_task_without_a_result_has_none(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.COMPLETE)
    assert (await bench.view(task.id)).result is None


async def test_a_failed_attempt_is_retried_after_its_delay_with_its_error_kept(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=2000.0, data=error("first"))
    assert await bench.state(task.id) is State.SCHEDULED
    await bench.advance(1999)
    assert (await bench.store.promote(10)).next_ms == 1
    assert await bench.claim(inc) == []
    await bench.advance(1)
    assert (await bench.store.promote(10)).promoted == 1
    (again,) = await bench.claim(inc)
    assert (again.id, again.attempt) == (task.id, 2)
    assert again.fence > task.fence
    assert [e.message for e in (await bench.view(task.id)).errors] == ["first"]


async def test_a_retry_when_the_attempts_are_used_up_is_a_dead_letter(bench: Bench) -> None:
    inc, task = await running(bench, max_attempts=2)
    await bench.settle(inc, task, Kind.RETRY, data=error("one"))
    await bench.store.promote(10)
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY, data=error("two"))
    view = await bench.view(task.id)
    assert view.state is State.DEAD
    assert [e.message for e in view.errors] == ["one", "two"]
    assert await bench.store.ended(State.DEAD, 0, 10) == [(task.id, bench.clock.now_ms())]


@pytest.mark.parametrize(
    ("kind", "state"),
    [(Kind.DEAD, State.DEAD), (Kind.CANCEL, State.CANCELLED), (Kind.EXPIRE, State.EXPIRED)],
)
async def test_a_settlement_for_good_ends_the_task(bench: Bench, kind: Kind, state: State) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, kind, data=error())
    assert await bench.state(task.id) is state


async def test_a_snooze_burns_no_attempt(bench: Bench) -> None:
    inc, task = await running(bench, max_attempts=1)
    for _ in range(5):
        await bench.settle(inc, task, Kind.SNOOZE, delay_ms=10.0)
        await bench.advance(10)
        assert (await bench.store.promote(10)).promoted == 1
        (task,) = await bench.claim(inc)
        assert task.attempt == 1


async def test_a_release_burns_no_attempt_and_goes_back_to_the_head_of_its_lane(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.submit_many(3)
    await bench.settle(inc, task, Kind.RELEASE)
    assert await bench.state(task.id) is State.QUEUED
    (again,) = await bench.claim(inc)
    assert (again.id, again.attempt) == (task.id, 1)


async def test_a_retry_goes_before_what_came_after_it(bench: Bench) -> None:
    inc, task = await running(bench)
    later = await bench.submit_many(3)
    await bench.settle(inc, task, Kind.RETRY)
    await bench.store.promote(10)
    assert await bench.claim_ids(inc, 4) == [task.id, *later]


@pytest.mark.parametrize("delay", [float("nan"), -5.0])
async def test_a_delay_that_is_no_time_means_now(bench: Bench, delay: float) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=delay)
    assert (await bench.store.promote(10)).promoted == 1


async def test_the_same_settlement_again_is_answered_already(any_bench: Bench) -> None:
    inc, task = await running(any_bench)
    done = Settlement(Kind.COMPLETE, task.id, task.fence)
    assert await any_bench.store.settle(inc, [done, done]) == {1: "already"}
    assert await any_bench.store.settle(inc, [done]) == {0: "already"}
    assert await any_bench.state(task.id) is State.SUCCEEDED


async def test_the_first_settlement_wins(bench: Bench) -> None:
    inc, task = await running(bench)
    batch = [Settlement(Kind.RETRY, task.id, task.fence), Settlement(Kind.COMPLETE, task.id, task.fence)]
    assert await bench.store.settle(inc, batch) == {1: "already"}
    assert await bench.state(task.id) is State.SCHEDULED


async def test_settlements_of_others_old_fences_and_unknown_tasks_are_stale(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.RELEASE)
    (again,) = await bench.claim(inc)
    stale = [
        Settlement(Kind.COMPLETE, task.id, task.fence),
        Settlement(Kind.COMPLETE, new_task_id(), 1),
        Settlement(Kind.COMPLETE, task.id, again.fence + 1),
    ]
    assert await bench.store.settle(inc, stale) == dict.fromkeys(range(3), "stale")
    good = Settlement(Kind.COMPLETE, again.id, again.fence)
    assert await bench.store.settle(new_incarnation(), [good]) == {0: "stale"}
    assert await bench.store.settle(inc, [*stale, good]) == dict.fromkeys(range(3), "stale")


async def test_data_goes_to_the_item_that_carries_it(bench: Bench) -> None:
    ids = await bench.submit_many(4)
    inc = await bench.worker()
    tasks = await bench.claim(inc, 4)
    data = [b"\x00", None, b"\x02", b"\x03"]
    batch = [Settlement(Kind.COMPLETE, t.id, t.fence, data=d) for t, d in zip(tasks, data, strict=True)]
    batch[0].fence -= 1  # stale: its data must not go to another
    assert await bench.store.settle(inc, batch) == {0: "stale"}
    views = await bench.store.get(ids)
    assert [view.result for view in views if view] == [None, None, b"\x02", b"\x03"]
    await bench.settle(inc, tasks[0], Kind.COMPLETE)


async def test_a_crash_is_counted_apart_and_makes_the_task_suspect(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.RETRY, crashed=True, data=error())
    await bench.store.promote(10)
    (task,) = await bench.claim(inc)
    assert (task.attempt, task.crashes, task.flags & SUSPECT) == (2, 1, SUSPECT)
    await bench.settle(inc, task, Kind.COMPLETE)
    record = (await bench.view(task.id)).record
    assert record is not None and not record.flags & SUSPECT


async def test_only_the_newest_errors_are_kept(bench: Bench) -> None:
    inc, task = await running(bench, max_attempts=9)
    for n in range(4):
        await bench.settle(inc, task, Kind.RETRY, data=error(f"{n}" * 25_000))
        await bench.store.promote(10)
        (task,) = await bench.claim(inc)
    assert [e.message[0] for e in (await bench.view(task.id)).errors] == ["2", "3"]


async def test_settling_and_claiming_are_one_call(any_bench: Bench) -> None:
    bench = any_bench
    ids = await bench.submit_many(3)
    inc = await bench.worker(1)
    (task,) = await bench.claim(inc)
    bench.request += 1
    turn = await bench.store.turn(
        inc, bench.request, 1,
        [Settlement(Kind.COMPLETE, task.id, task.fence), Settlement(Kind.COMPLETE, ids[2], 1)],
    )  # fmt: skip
    assert (turn.status, turn.refused, [t.id for t in turn.tasks]) == ("ok", {1: "stale"}, [ids[1]])
    again = await bench.store.turn(
        inc, bench.request, 1,
        [Settlement(Kind.COMPLETE, task.id, task.fence), Settlement(Kind.COMPLETE, ids[2], 1)],
    )  # fmt: skip
    assert (again.refused, again.tasks) == ({0: "already", 1: "stale"}, turn.tasks)


async def test_a_finished_task_of_a_worker_that_is_gone_still_counts_while_it_holds_it(bench: Bench) -> None:
    inc, task = await running(bench)
    assert (await bench.beat(inc, [task.id], state=3)).state == 3
    turn = await bench.store.turn(inc, 50, 5, [Settlement(Kind.COMPLETE, task.id, task.fence)])
    assert (turn.status, turn.refused) == ("draining", {})
    assert await bench.state(task.id) is State.SUCCEEDED


async def test_extend_answers_for_the_holder_only(bench: Bench) -> None:
    inc, task = await running(bench)
    assert await bench.store.extend(inc, task.id, task.fence) is False
    assert await bench.store.extend(inc, task.id, task.fence + 1) is None
    assert await bench.store.extend(new_incarnation(), task.id, task.fence) is None
    await bench.store.cancel([task.id])
    assert await bench.store.extend(inc, task.id, task.fence) is True
    await bench.settle(inc, task, Kind.CANCEL)
    assert await bench.store.extend(inc, task.id, task.fence) is None


# -- cancellation


async def test_waiting_tasks_are_cancelled_at_once(any_bench: Bench) -> None:
    bench = any_bench
    await bench.configure(tenant=TenantConfig(max=1))
    queued, scheduled = await bench.submit(tenant="x"), await bench.submit(delay_ms=1000.0)
    await bench.submit_many(2, tenant="a")
    inc = await bench.worker()
    assert await bench.store.cancel([queued]) == ["cancelled"]
    (task,) = await bench.claim(inc, 10)
    parked = await bench.submit(tenant="a")
    assert await bench.state(parked) is State.PARKED
    assert await bench.store.cancel([scheduled, parked, new_task_id(), scheduled]) == [
        "cancelled", "cancelled", "unknown", "cancelled",
    ]  # fmt: skip
    assert {await bench.state(id) for id in (queued, scheduled, parked)} == {State.CANCELLED}
    await bench.advance(2000)
    assert (await bench.store.promote(10)).promoted == 0
    await bench.settle(inc, task, Kind.COMPLETE)
    assert len(await bench.claim(inc, 10)) == 1


async def test_a_scheduled_retry_is_cancelled_and_never_runs_again(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=10.0)
    assert await bench.store.cancel([task.id]) == ["cancelled"]
    await bench.advance(100)
    assert (await bench.store.promote(10)).promoted == 0
    assert await bench.claim(inc) == []


async def test_a_running_task_is_asked_to_stop_and_its_worker_confirms(bench: Bench) -> None:
    inc, task = await running(bench)
    assert await bench.store.cancel([task.id]) == ["requested"]
    assert await bench.store.cancel([task.id]) == ["requested"]
    assert await bench.state(task.id) is State.RUNNING
    beat = await bench.beat(inc, [task.id])
    assert beat.cancel == {task.id}
    await bench.settle(inc, task, Kind.CANCEL)
    assert await bench.state(task.id) is State.CANCELLED
    assert (await bench.beat(inc, [])).cancel == frozenset()


async def test_completion_before_the_request_is_seen_wins(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.store.cancel([task.id])
    await bench.settle(inc, task, Kind.COMPLETE)
    assert await bench.state(task.id) is State.SUCCEEDED
    assert await bench.store.cancel([task.id]) == ["ended"]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.SNOOZE, Kind.RELEASE])
async def test_a_task_that_would_run_again_is_cancelled_instead(bench: Bench, kind: Kind) -> None:
    inc, task = await running(bench)
    await bench.store.cancel([task.id])
    await bench.settle(inc, task, kind)
    assert await bench.state(task.id) is State.CANCELLED


async def test_a_dead_workers_cancelled_task_ends_as_cancelled(bench: Bench) -> None:
    _, task = await running(bench)
    await bench.store.cancel([task.id])
    assert (await bench.reap_after_grace()).returned == 1
    assert await bench.state(task.id) is State.CANCELLED


async def test_a_cancelled_tasks_mark_does_not_follow_it_into_a_replay(bench: Bench) -> None:
    inc, task = await running(bench)
    await bench.store.cancel([task.id])
    await bench.settle(inc, task, Kind.CANCEL)
    assert await bench.store.replay([task.id]) == ["queued"]
    (again,) = await bench.claim(inc)
    assert (await bench.beat(inc, [again.id])).cancel == frozenset()
    assert again.attempt == 1


async def test_waiting_for_the_end_returns_when_it_comes(any_bench: Bench) -> None:
    inc, task = await running(any_bench)
    waiting = asyncio.ensure_future(any_bench.store.wait_ended(task.id, 5.0))
    await asyncio.sleep(0)
    await any_bench.settle(inc, task, Kind.COMPLETE, data=b"\x01")
    view = await waiting
    assert view is not None and view.state is State.SUCCEEDED and view.result == b"\x01"
    at_once = await any_bench.store.wait_ended(task.id, 0.0)
    assert at_once is not None and at_once.state is State.SUCCEEDED
    assert await any_bench.store.wait_ended(new_task_id(), 5.0) is None
