"""Cancelling tasks that wait, are dispatched or run, and races with their completion: the first wins."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.flow.harness import Flow, until

from laneway.model.states import State


async def _states(flow: Flow, ids: list[bytes]) -> Counter[State]:
    return Counter(view.state for view in (await flow.views(ids)).values() if view)


async def test_waiting_and_delayed_tasks_that_are_cancelled_never_run(flow: Flow) -> None:
    await flow.poller()
    waiting = await flow.submit("work", 20)
    delayed = await flow.submit("work", 20, delay=0.5)
    ids = [*waiting, *delayed]
    assert Counter(await flow.store.cancel(ids)) == {"cancelled": 40}
    await flow.worker()
    others = await flow.submit("work", 10, delay=1.0)
    stats = await flow.check()
    assert await _states(flow, ids) == {State.CANCELLED: 40} and await _states(flow, others) == {State.SUCCEEDED: 10}
    assert not flow.starts(ids) and stats.counts["cancelled"] == 40
    assert Counter(await flow.store.cancel(others)) == {"ended": 10}


async def test_running_tasks_are_asked_to_stop_and_keep_their_slots_until_they_do(flow: Flow) -> None:
    await flow.poller()
    await flow.worker(slots=10)
    obedient, deaf = await flow.submit("hold", 5), await flow.submit("deaf", 5)
    await flow.running(10)
    assert set(await flow.store.cancel([*obedient, *deaf])) == {"requested"}
    more = await flow.submit("work", 10)

    async def obeyed() -> bool:
        return await _states(flow, obedient) == {State.CANCELLED: 5}

    await until("those that obey are cancelled", obeyed)

    async def asked() -> bool:
        return {run.id for run in flow.runs() if run.what == "asked"} == set(deaf)

    await until("the others were asked", asked)
    assert await _states(flow, deaf) == {State.RUNNING: 5}
    flow.release()  # a handler that finishes all the same has done its work: that counts
    stats = await flow.check()
    assert await _states(flow, deaf) == {State.SUCCEEDED: 5} and await _states(flow, more) == {State.SUCCEEDED: 10}
    assert stats.counts["cancelled"] == 5


async def test_cancelling_dispatched_tasks_gives_their_credits_back_and_they_do_not_start(kafka_flow: Flow) -> None:
    flow = kafka_flow
    await flow.poller()
    await flow.worker(slots=4)
    await flow.submit("hold", 4)
    await flow.running(4)
    ahead = await flow.submit("work", 200)

    async def dispatched() -> list[bytes]:
        return [id_ for id_, view in (await flow.views(ahead)).items() if view and view.state == State.DISPATCHED]

    ids = await until("some wait at the worker", dispatched)
    answers = dict(zip(ids, await flow.store.cancel(ids), strict=True))
    flow.release()
    await flow.check()
    off = [id_ for id_, answer in answers.items() if answer == "cancelled"]
    assert off, f"nothing was cancelled while dispatched: {Counter(answers.values())}"
    assert await _states(flow, off) == {State.CANCELLED: len(off)}
    assert not flow.starts(off), "a cancelled task was started"


async def test_of_cancel_and_completion_the_first_wins(flow: Flow) -> None:
    await flow.poller()
    await flow.worker(slots=8)
    caller = flow.new_store()
    answers: dict[bytes, str] = {}

    async def call_off(ids: list[bytes], after: float) -> None:
        await asyncio.sleep(after)
        answers.update(zip(ids, await caller.cancel(ids), strict=True))

    racing = []
    for step in range(20):
        ids = await flow.submit("work", 20, arguments={"ms": 20})
        racing.append(asyncio.create_task(call_off(ids, step * 0.004)))
        await asyncio.sleep(0.03)
    await asyncio.gather(*racing)
    await caller.close()
    stats = await flow.check()
    views = await flow.views(list(flow.accepted))
    wrote = {run.id for run in flow.runs() if run.what == "end"}
    for id_, answer in answers.items():
        view = views[id_]
        assert view is not None
        if answer == "cancelled":
            assert view.state == State.CANCELLED and id_ not in wrote
        elif answer == "ended":
            assert view.state == State.SUCCEEDED
        else:
            assert answer == "requested" and view.state in (State.SUCCEEDED, State.CANCELLED)
    assert stats.counts["cancelled"] and stats.counts["succeeded"], "the race had one winner only: it proves nothing"
