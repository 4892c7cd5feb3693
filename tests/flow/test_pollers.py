"""Pollers: two at once, and one that dies between taking tasks and publishing them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, until
from tests.flow.test_lost_replies import calls_of

from servers.kafka import KafkaServer
from servers.proxy import RedisProxy


async def test_two_pollers_at_once_are_right_and_each_is_enough(flow: Flow) -> None:
    first, second = await flow.poller(), await flow.poller()
    await flow.worker(slots=10)
    load = asyncio.create_task(flow.load("flaky", 200, 4.0))
    await flow.running(40)
    for stopped in (first, second):
        stopped.signal(signal.SIGSTOP)
        # Promotion of retries, dispatch and relaying go on with the other one alone.
        ended = (await flow.stats()).counts["succeeded"]

        async def more(ended: int = ended) -> bool:
            return (await flow.stats()).counts["succeeded"] >= ended + 30

        await until("work goes on while one of the pollers stands still", more)
        stopped.signal(signal.SIGCONT)
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 200
    assert set(Counter(run.id for run in flow.starts()).values()) == {2}, (
        "two pollers made a task run more than it should"
    )


async def test_credits_return_from_a_poller_that_dies_between_claim_and_publish_a_hundred_times(
    kafka_flow: Flow,
) -> None:
    flow = kafka_flow
    await flow.configure(dispatch_ms=300)
    await flow.poller()
    await flow.worker(slots=8)
    dying, taken = flow.new_store(), 0
    deadline = time.monotonic() + 25
    while taken < 100:
        assert time.monotonic() < deadline, f"only {taken} tasks could be taken"
        if not sum(lane.queued for lane in (await flow.stats()).lanes):
            await flow.submit("work", 20, arguments={"ms": 20})
        # A poller that dies here has taken a task in Redis, and nobody will ever publish it.
        taken += len((await dying.dispatch(1)).tasks)
    await dying.close()
    stats = await flow.check()
    assert stats.counts["succeeded"] == len(flow.accepted) == len(flow.starts())
    attempts = Counter(v.record.attempts for v in (await flow.views(list(flow.accepted))).values() if v and v.record)
    assert attempts == {1: len(flow.accepted)}


async def test_tasks_of_a_poller_killed_or_stopped_at_its_dispatch_come_back(
    redis_proxy: RedisProxy, redis7_url: str, kafka: KafkaServer, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url, kafka=kafka.bootstrap)
    await flow.configure(**SHORT)
    await flow.worker(slots=8)
    assert not (await flow.store.dispatch(1)).tasks  # (from here on, Redis knows the script by its hash)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        ids = await flow.submit("work", 8)
        fault = redis_proxy.drop_reply(1, calls_of("dispatch"))
        victim = await flow.poller(redis=redis_proxy.url)
        await asyncio.to_thread(fault.wait, 5.0)
        victim.signal(number)
        assert not flow.starts(ids) and (await flow.stats()).counts["dispatched"] == 8
        other = await flow.poller()
        await flow.ended()
        victim.signal(signal.SIGCONT)
        await other.stop()
        await victim.kill()
    await flow.poller()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 16 and len(flow.starts()) == 16
