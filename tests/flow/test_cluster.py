"""A Redis Cluster of three primaries, end to end."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.flow.conftest import SHORT, NewFlow


async def test_a_burst_on_a_redis_cluster_ends_exactly(cluster_url: str, new_flow: NewFlow) -> None:
    flows = [new_flow(cluster_url, cluster=True) for _ in range(2)]
    for flow in flows:  # two queues, in two slots
        await flow.configure(**SHORT)
        await flow.poller()
        await flow.worker(slots=10)
        await flow.submit("flaky", 100)
        await flow.submit("failing", 5)
        await flow.submit("work", 50, delay=0.5)
        assert set(await flow.store.cancel(await flow.submit("work", 5, delay=600.0))) == {"cancelled"}
    for flow in flows:
        stats = await flow.check()
        ends = {name: n for name, n in stats.counts.items() if n}
        assert ends == {"submitted": 160, "succeeded": 150, "dead": 5, "cancelled": 5}


async def test_a_worker_killed_on_a_redis_cluster_costs_no_task(cluster_url: str, new_flow: NewFlow) -> None:
    flow = new_flow(cluster_url, cluster=True)
    await flow.configure(**SHORT)
    await flow.poller()
    victim = await flow.worker(slots=10)
    await flow.submit("hold", 10)
    await flow.running(10)
    load = asyncio.create_task(flow.load("work", 50, 1.0))
    await victim.kill()
    await flow.worker(slots=15)
    flow.release()
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 60
    assert max(Counter(run.id for run in flow.starts()).values()) == 2
