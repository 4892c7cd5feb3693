"""Every store: settlements and wake tokens where the protocol's model says that care is needed."""

from __future__ import annotations

from tests.contract.stores import Bench

from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State


async def test_a_task_whose_start_was_forgotten_cannot_be_settled_and_goes_back_by_its_deadline(
    bench: Bench,
) -> None:
    inc = await bench.worker(1, mode="kafka", window=1, partitions=1)
    id = await bench.submit()
    ((_, _, task),) = (await bench.store.dispatch(1)).tasks
    assert await bench.store.settle(inc, [Settlement(Kind.COMPLETE, id, task.fence)]) == {0: "stale"}
    await bench.check()
    assert await bench.state(id) is State.DISPATCHED
    await bench.advance(501)
    assert (await bench.store.reap(10_000, 100)).overdue == 1
    assert await bench.state(id) is State.QUEUED


async def test_a_paused_queue_wakes_nobody(bench: Bench) -> None:
    await bench.submit()
    direct, kafka = await bench.worker(1), await bench.worker(1, mode="kafka", window=1, partitions=1)
    await bench.configure(paused=True)
    await bench.quiet()
    assert await bench.claim(direct) == []
    assert (await bench.store.dispatch(10)).tasks == []
    assert not await bench.woken()
    await bench.configure(paused=False)
    assert await bench.woken()
    assert len(await bench.claim(direct)) == 1
    assert (await bench.store.deregister(direct), await bench.store.deregister(kafka)) == (1, 0)
