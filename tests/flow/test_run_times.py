"""How long handlers run reaches Redis with the heartbeats, for scaling by drain time."""

from __future__ import annotations

from tests.flow.harness import Flow, until

from laneway.ports.store import Depth


async def test_workers_teach_the_queue_how_long_its_tasks_run(flow: Flow) -> None:
    await flow.poller()
    worker = await flow.worker(slots=10)
    await flow.submit("work", 40, arguments={"ms": 50})
    await flow.ended()
    store = flow.new_store()
    try:

        async def learnt() -> Depth | None:
            depth = await store.depth(0)
            return depth if depth.run_ms else None

        depth = await until("the queue knows how long its tasks run", learnt)
        # Not less than the handlers sleep; a busy machine may make it far more.
        assert depth.run_ms >= 50
        await worker.stop()
        after = await store.depth(0)
        assert after.run_ms >= 50 and after.running == 0
    finally:
        await store.close()
