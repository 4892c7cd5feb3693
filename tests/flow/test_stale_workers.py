"""A worker that stands still past its lease and goes on: what it then says of its tasks is refused."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest
from tests.flow.harness import Flow, Member, until

from laneway.model.states import State

TASKS = 6


async def _stopped_past_its_lease(flow: Flow) -> tuple[Member, list[bytes]]:
    """A worker stopped in the middle of its tasks, which have been taken from it by now."""
    await flow.poller()
    late = await flow.worker(slots=TASKS, metrics=True)
    ids = await flow.submit("deaf", TASKS)
    await flow.running(TASKS)
    late.signal(signal.SIGSTOP)

    async def taken() -> bool:
        views = await flow.views(ids)
        return all(view is not None and view.record is not None and view.record.crashes == 1 for view in views.values())

    await until("the reaper has taken its tasks", taken)
    return late, ids


async def _refused(late: Member) -> bool:
    """Whether the worker has heard that its results do not count, by their refusal or by the end of its lease."""
    return "outcomes refused" in late.text() or "registered anew" in late.text()


@pytest.mark.parametrize("moment", ["queued", "running again", "finished"])
async def test_the_late_result_of_a_stopped_worker_is_refused(flow: Flow, moment: str) -> None:
    late, ids = await _stopped_past_its_lease(flow)
    fences = {run.id: run.fence for run in flow.starts()}
    if moment == "queued":
        assert {view.state for view in (await flow.views(ids)).values() if view} == {State.QUEUED}
    else:
        await flow.worker(slots=TASKS)
        await flow.running(2 * TASKS)
    flow.release()
    if moment == "finished":
        await flow.ended()
    late.signal(signal.SIGCONT)
    await until("the stopped worker knows", lambda: _refused(late))
    stats = await flow.check()
    assert stats.counts["succeeded"] == TASKS
    for id_, view in (await flow.views(ids)).items():
        assert view is not None and view.record is not None
        assert view.record.fence > fences[id_], "a result of the stopped worker was taken"
    # Its handlers did end, under fences that were void by then.
    wrote = {(run.id, run.fence) for run in flow.runs() if run.what == "end"}
    assert any((id_, fence) in wrote for id_, fence in fences.items())
    assert set(Counter(run.id for run in flow.starts()).values()) == {2}
    assert await late.metric("laneway_outcomes_stale_total") > 0


async def test_a_worker_stopped_past_its_lease_takes_part_again(flow: Flow) -> None:
    late, _ = await _stopped_past_its_lease(flow)
    flow.release()
    late.signal(signal.SIGCONT)
    await flow.ended()  # it is the only worker
    more = await flow.submit("work", 20)
    stats = await flow.check()
    assert stats.counts["succeeded"] == TASKS + 20 and len(flow.starts(more)) == 20


async def test_tasks_dispatched_to_a_stopped_worker_go_elsewhere_and_it_starts_none_of_them(
    kafka_flow: Flow,
) -> None:
    flow = kafka_flow
    await flow.poller()
    late = await flow.worker(slots=4)
    late.signal(signal.SIGSTOP)
    ids = await flow.submit("work", 8, arguments={"ms": 10})

    async def dispatched() -> bool:
        return (await flow.stats()).counts["dispatched"] > 0

    await until("some are dispatched to the worker that stands still", dispatched)
    other = await flow.worker(slots=4)
    await flow.ended()
    late.signal(signal.SIGCONT)
    await asyncio.gather(*(flow.submit("work", 1) for _ in range(4)))
    stats = await flow.check()
    assert stats.counts["succeeded"] == 12
    first = flow.starts(ids)
    assert {run.pid for run in first} == {other.pid} and len(first) == 8
