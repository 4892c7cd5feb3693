"""SIGTERM under load: nothing is lost, and no attempt is burnt."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

from tests.flow.harness import Flow, Member, until


async def test_a_drain_under_load_lets_running_tasks_finish_and_burns_no_attempt(flow: Flow) -> None:
    await flow.poller()
    leaving = await flow.worker(slots=10, drain=5.0)
    load = asyncio.create_task(flow.load("work", 150, 1.5, arguments={"ms": 100}))
    await flow.running(40)
    await _drains(leaving)
    assert not [w for w in await flow.workers() if w.held], "it left something in its hands"
    second = await flow.worker(slots=10, drain=5.0)
    await flow.worker(slots=10)
    await load
    # (only now: on a busy machine the two may take so long to start that all is done by then)
    load = asyncio.create_task(flow.load("work", 150, 1.5, arguments={"ms": 100}))
    await flow.running(max(len(flow.starts()), 150) + 40, 30.0)
    await _drains(second)
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 300
    await _no_attempt_burnt(flow)
    assert set(Counter(run.id for run in flow.starts()).values()) == {1}, "a task ran twice though all could finish"


async def test_a_drain_hands_back_what_runs_longer_than_it_may_and_burns_no_attempt(flow: Flow) -> None:
    await flow.poller()
    leaving = await flow.worker(slots=10, drain=0.5)
    held = await flow.submit("hold", 10)
    await flow.running(10)
    waiting = await flow.submit("work", 30)
    await _drains(leaving)
    views = await flow.views([*held, *waiting])
    assert {view.state.label for view in views.values() if view} == {"queued"}
    await flow.worker(slots=40)
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 40
    await _no_attempt_burnt(flow)


async def test_a_drain_waits_for_no_handler_that_does_not_hear_it_and_its_result_does_not_count(flow: Flow) -> None:
    await flow.poller()
    leaving = await flow.worker(slots=4, drain=0.3)
    ids = await flow.submit("deaf", 2) + await flow.submit("threaded", 2)
    await flow.running(4)
    await _drains(leaving)
    flow.release()
    await flow.worker(slots=4)

    async def again() -> bool:
        return len(flow.starts(ids)) == 8

    await until("they run elsewhere", again)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 4
    await _no_attempt_burnt(flow)


async def test_a_second_sigterm_does_not_cut_a_drain_short(direct_flow: Flow) -> None:
    flow = direct_flow
    await flow.poller()
    leaving = await flow.worker(slots=4, drain=10.0)
    ids = await flow.submit("hold", 4)
    await flow.running(4)
    leaving.signal(signal.SIGTERM)

    async def draining() -> bool:
        return any(w.state == 3 for w in await flow.workers())

    await until("it drains", draining)
    leaving.signal(signal.SIGTERM)
    flow.release()
    await _drains(leaving)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 4 and len(flow.starts(ids)) == 4


async def test_a_worker_that_is_drained_from_outside_ends_by_itself_and_burns_no_attempt(flow: Flow) -> None:
    await flow.poller()
    leaving = await flow.worker(slots=4, drain=10.0)
    ids = await flow.submit("hold", 4)
    await flow.running(4)
    (worker,) = await flow.workers()
    assert await flow.store.workers.drain(worker.incarnation)
    later = await flow.submit("work", 10)

    async def draining() -> bool:
        return any(w.state == 3 for w in await flow.workers())

    await until("it drains", draining)
    flow.release()

    async def gone() -> bool:
        return not leaving.alive and not await flow.workers()

    await until("it has left", gone, timeout=20.0)
    assert leaving.process.returncode == 0
    assert len(flow.starts(ids)) == 4 and not flow.starts(later), "it took something after it was asked to leave"
    await flow.worker(slots=4)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 14
    await _no_attempt_burnt(flow)


async def _drains(worker: Member) -> None:
    """Stops it, and sees that it knew when it was done."""
    assert await worker.stop() == 0
    assert "not everything could be settled" not in worker.text(), "it waited in vain for its last outcomes"


async def _no_attempt_burnt(flow: Flow) -> None:
    views = await flow.views(list(flow.accepted))
    attempts = Counter(view.record.attempts for view in views.values() if view and view.record)
    assert attempts == {1: len(flow.accepted)}, f"attempts counted: {attempts}"
    assert not any(view.errors or (view.record and view.record.crashes) for view in views.values() if view)
