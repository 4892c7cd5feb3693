"""One tenant with very many parked tasks does not slow the others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from tests.flow.conftest import NewFlow
from tests.flow.harness import Flow, until

from laneway.model.config import TenantConfig
from servers.redis import RedisServer

#: LANEWAY_NOISY_TASKS=1000000 makes the test that of the protocol's list; it takes minutes.
NOISY = int(os.environ.get("LANEWAY_NOISY_TASKS", "50000"))
WORKERS = 4
SLOWEST_MS = 50


async def _waits(flow: Flow, n: int) -> list[float]:
    """Submits tasks of calm tenants one by one, each 15 ms; how long each waited for its start, in ascending order."""
    sent: dict[bytes, float] = {}
    for i in range(n):
        began = time.monotonic()
        (id_,) = await flow.submit("work", tenant=f"calm-{i % 5}", arguments={"ms": 1})
        sent[id_] = began
        await asyncio.sleep(max(0.0, began + 0.015 - time.monotonic()))
    calm = set(sent)

    async def started() -> bool:
        return len(flow.starts(calm)) == n

    await until("all tasks of calm tenants have started", started)
    starts = flow.starts(calm)
    return sorted(run.at - sent[run.id] for run in starts)


async def test_a_tenant_with_very_many_parked_tasks_does_not_hold_up_the_others(
    new_redis: Callable[..., RedisServer], new_flow: NewFlow
) -> None:
    server = new_redis(extra=("--slowlog-log-slower-than", str(SLOWEST_MS * 1000)))
    flow = new_flow(server.url)
    await flow.configure(tenants={"noisy": TenantConfig(max=4)}, overrides=True)
    await flow.poller()
    for _ in range(WORKERS):
        await flow.worker(slots=50)
    alone = await _waits(flow, 200)

    noise: list[bytes] = []
    for _ in range(0, NOISY, 5000):
        noise += await flow.submit("work", 5000, tenant="noisy", arguments={"ms": 2})
    parked = (await flow.stats()).counts["parked"]
    assert parked > NOISY * 0.5, f"only {parked} tasks of the noisy tenant are parked"
    beside = await _waits(flow, 200)
    noisy_ran = len(flow.starts(set(noise)))
    assert noisy_ran > 100, "the noisy tenant got nothing at all"

    p99_alone, p99_beside = alone[197], beside[197]
    print(f"p99 to start: {p99_alone * 1e3:.1f} ms alone, {p99_beside * 1e3:.1f} ms beside {parked} parked")
    bound = max(10 * p99_alone, 0.25)
    assert p99_beside <= bound, (
        f"p99 of the others: {p99_alone * 1e3:.1f} ms alone, {p99_beside * 1e3:.1f} ms beside it"
    )

    for i in range(0, len(noise), 400):
        await flow.store.cancel(noise[i : i + 400])
    slow = await flow.redis.slowlog_get(20)
    scripts = [(entry["duration"], entry["command"][:60]) for entry in slow if entry["command"].startswith(b"EVAL")]
    assert not scripts, f"scripts over {SLOWEST_MS} ms (in us): {scripts}"
    if NOISY <= 50_000:
        await flow.check(30.0)

    # (With more, the oldest that ended are forgotten by now, as a queue does by default.)
    async def all_ended() -> bool:
        counts = (await flow.stats()).counts
        return counts["succeeded"] + counts["cancelled"] + counts["purged"] == 400 + len(noise) == counts["submitted"]

    await until("every task has ended", all_ended, 30.0)
