"""The queue's source changes under load: workers and pollers follow, and every task still ends exactly once."""

from __future__ import annotations

import asyncio

from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, Member, until

from servers.kafka import KafkaServer


async def switch(flow: Flow, source: str) -> None:
    """Tells the queue where its tasks come from."""
    await flow.configure(source=source)


async def all_take(flow: Flow, mode: str, count: int) -> None:
    """Waits until there are so many workers, and all take their tasks in this way."""

    async def follow() -> bool:
        workers = [worker for worker in await flow.workers() if worker.state == 2]
        return [worker.mode for worker in workers] == [mode] * count

    await until(f"{count} workers take tasks by {mode}", follow, 40.0)


async def says(member: Member, words: str, times: int = 1) -> None:
    """Waits until a process has logged some words so often."""

    async def said() -> bool:
        assert member.alive, member.text()[-3000:]
        return member.text().count(words) >= times

    await until(f"{member.name} says {words!r}", said, 20.0)


async def test_from_direct_to_kafka_and_back_with_tasks_waiting_and_running_nothing_is_lost_or_done_twice(
    redis7_url: str, kafka: KafkaServer, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url, kafka=kafka.bootstrap)
    await flow.configure(**{**SHORT, "source": "direct"})
    poller = await flow.poller()
    crew = await flow.start_worker(slots=6, drain=10.0, processes=2)
    await all_take(flow, "direct", 2)
    ids: list[bytes] = []
    for number, (source, mode) in enumerate([("kafka", "kafka"), ("direct", "direct")], 1):
        load = asyncio.create_task(flow.load("work", 120, 2.0, arguments={"ms": 200}))
        await flow.running(len(flow.starts()) + 12, 30.0)
        assert crew.alive
        await switch(flow, source)
        await all_take(flow, mode, 2)
        await says(poller, f'"source": "{source}"', number)
        ids += await load
        # Whatever the new ones get, they get in the new way.
        ids += await flow.submit("work", 30)
    stats = await flow.check(40.0)
    assert stats.counts["succeeded"] == len(ids) == 300
    assert len(flow.starts()) == 300, "a task ran twice though all could finish"
    assert {run.attempt for run in flow.starts()} == {1}, "a change of source burns no attempt"


async def test_an_idle_queue_follows_its_source_too(redis7_url: str, kafka: KafkaServer, new_flow: NewFlow) -> None:
    flow = new_flow(redis7_url, kafka=kafka.bootstrap)
    await flow.configure(**{**SHORT, "source": "direct"})
    await flow.poller()
    await flow.start_worker(processes=2)
    await all_take(flow, "direct", 2)
    await switch(flow, "kafka")
    await all_take(flow, "kafka", 2)
    await flow.submit("work", 20)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 20


async def test_a_worker_without_brokers_says_so_and_goes_on_until_it_is_given_some(
    redis7_url: str, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url)
    await flow.configure(**SHORT)
    poller, worker = await flow.poller(), await flow.worker()
    await flow.configure(source="kafka")
    for member in (poller, worker):
        await says(member, "start it with --kafka HOST:PORT")
    # Its pod is being replaced by one that has them; until then it works.
    await flow.submit("work", 5)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 5
