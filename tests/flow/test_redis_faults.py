"""Redis that restarts, is away, stands still or comes back without its last second, while tasks run."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Member, until

from laneway.errors import Unavailable
from laneway.submit import NewTask
from servers.proxy import RedisProxy
from servers.redis import RedisServer


@pytest.mark.parametrize(
    ("kafka_or_none", "how"),
    [("direct", "kill"), ("direct", "stop"), ("kafka", "kill")],
    indirect=["kafka_or_none"],
)
async def test_workers_adopt_what_they_run_when_redis_restarts_under_load(
    crash_redis: RedisServer, kafka_or_none: str | None, new_flow: NewFlow, how: str
) -> None:
    flow = new_flow(crash_redis.url, kafka=kafka_or_none)
    await flow.configure(**SHORT)
    await flow.poller()
    workers = [await flow.worker(slots=20), await flow.worker(slots=20)]
    held = await flow.submit("hold", 20)
    await flow.running(20)
    load = asyncio.create_task(flow.load("work", 300, 3.0, arguments={"ms": 50}))
    for round_ in (1, 2):
        await flow.running(20 + 50 * round_)
        await asyncio.to_thread(crash_redis.kill if how == "kill" else crash_redis.stop)
        await asyncio.to_thread(crash_redis.start)
        await until("both workers have registered anew", partial(_registered_anew, workers, round_))
    await load
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 320
    runs = Counter(run.id for run in flow.starts())
    twice = [id_ for id_ in held if runs[id_] != 1]
    assert not twice, f"{len(twice)} running tasks were not adopted, and ran again"
    assert max(runs.values()) == 1, "a restart of Redis ran a task again"


async def _registered_anew(workers: list[Member], times: int) -> bool:
    return all(worker.text().count("registered anew") >= times for worker in workers)


@pytest.mark.parametrize(
    ("kafka_or_none", "kind"),
    [("direct", "refuse"), ("direct", "blackhole"), ("direct", "stopped"), ("kafka", "blackhole")],
    indirect=["kafka_or_none"],
)
async def test_redis_away_for_three_leases_runs_nothing_twice(
    redis7: RedisServer,
    redis_proxy: RedisProxy,
    crash_redis: RedisServer,
    kafka_or_none: str | None,
    new_flow: NewFlow,
    kind: str,
) -> None:
    server = crash_redis if kind == "stopped" else redis7
    way = server.url if kind == "stopped" else redis_proxy.url
    flow = new_flow(way, kafka=kafka_or_none, direct_url=server.url)
    await flow.configure(**SHORT)
    await flow.poller()
    workers = [await flow.worker(slots=25), await flow.worker(slots=25)]
    await flow.submit("hold", 50)
    await flow.running(50)
    away = 3 * SHORT["lease_ms"] / 1000
    if kind == "stopped":
        server.pause()
        await asyncio.sleep(away)
        server.resume()
    else:
        with redis_proxy.partition(kind):  # type: ignore[arg-type]
            await asyncio.sleep(away)
    # A reaper that were wrong would act within the lease that follows, and the new lease that all get.
    more = await flow.submit("work", 50, arguments={"ms": 1})
    await asyncio.sleep(1.5 * SHORT["lease_ms"] / 1000)
    assert Counter(run.id for run in flow.starts()).most_common(1)[0][1] == 1, "a task ran twice"
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 100 and len(flow.starts()) == 100 and len(more) == 50
    assert all(worker.alive for worker in workers)


async def test_redis_put_back_to_its_file_of_a_second_ago_repeats_no_fence_and_leaves_nothing_running(
    crash_redis: RedisServer, kafka_or_none: str | None, new_flow: NewFlow, tmp_path: Path
) -> None:
    flow = new_flow(crash_redis.url, kafka=kafka_or_none)
    await flow.configure(**SHORT)
    await flow.poller()
    for _ in range(2):
        await flow.worker(slots=20)
    await flow.submit("work", 600, arguments={"ms": 60})
    await flow.running(100)
    copy = tmp_path / "aof"
    await asyncio.to_thread(shutil.copytree, crash_redis.dir / "appendonlydir", copy)
    kept = set(flow.accepted)
    await asyncio.sleep(1.0)
    late = await flow.submit("work", 20, arguments={"ms": 1})
    before = len(flow.starts())
    await asyncio.to_thread(crash_redis.kill)
    shutil.rmtree(crash_redis.dir / "appendonlydir")
    shutil.copytree(copy, crash_redis.dir / "appendonlydir")
    await asyncio.to_thread(crash_redis.start)
    # Redis knows nothing of what was submitted in the second that is gone (durability: fast says so).
    flow.accepted = kept
    assert not any((await flow.views(late)).values())
    stats = await flow.check(30.0, taken_back=True)
    assert stats.counts["succeeded"] == 600
    assert before > 100, "nothing happened in the second that was taken back"


async def test_a_full_redis_refuses_submissions_plainly_and_lets_work_leave(
    new_redis: Callable[..., RedisServer], kafka_or_none: str | None, new_flow: NewFlow
) -> None:
    flow = new_flow(new_redis(maxmemory="24mb").url, kafka=kafka_or_none)
    await flow.configure(**SHORT, max_payload=400_000, compress_over=10_000_000)
    await flow.poller()
    held = await flow.submit("work", 200, arguments={"ms": 20})
    error: object = None
    padding = b"\x82\xa2ms\x01\xa3pad\xc6" + (100_000).to_bytes(4, "big") + bytes(100_000)
    for _ in range(400):
        (error,) = await flow.submitter.submit_many([NewTask(type="nobody", payload=padding, delay=3600.0)])
        if isinstance(error, Exception):
            break
        flow.accepted.add(error.id)
    assert isinstance(error, Unavailable) and "full" in str(error), f"a full Redis was answered with {error!r}"
    big = flow.accepted - set(held)
    # Taking and settling go on, though not one more task could be submitted.
    await flow.worker(slots=20)

    async def done() -> bool:
        return (await flow.stats()).counts["succeeded"] >= 200

    await until("all that was accepted before is done", done, 20.0)
    assert (await flow.store.cancel(list(big))) == ["cancelled"] * len(big)
    await flow.store.purge(list(big))
    flow.accepted -= big
    await flow.submit("work", 5)

    async def all_done() -> bool:
        return (await flow.stats()).counts["succeeded"] >= 205

    await until("what is submitted after it has room again is done", all_done, 10.0)
    stats = await flow.stats()
    assert stats.drift == 0 and Counter(run.id for run in flow.starts()).most_common(1)[0][1] == 1


async def test_a_redis_that_refuses_every_write_for_a_while_costs_nothing_but_time(
    redis_server: RedisServer, new_flow: NewFlow
) -> None:
    flow = new_flow(redis_server.url)  # (6.2 and 7 word it differently)
    await flow.configure(**SHORT)
    members = [await flow.poller(), await flow.worker(slots=10), await flow.worker(slots=10)]
    await flow.submit("hold", 10)
    await flow.submit("work", 100, arguments={"ms": 50})
    await flow.running(30)
    try:
        await flow.redis.config_set("min-replicas-to-write", 1)
        with pytest.raises(Unavailable, match="can't write now"):
            await flow.submitter.submit(NewTask(type="work"))
        await asyncio.sleep(2 * SHORT["lease_ms"] / 1000)
    finally:
        await flow.redis.config_set("min-replicas-to-write", 0)
    await flow.submit("work", 10)
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 120
    assert all(member.alive for member in members)
    assert len(flow.starts()) == 120, "a task ran again though its worker was alive all the time"
