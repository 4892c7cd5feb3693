"""Processes that die by kill -9 under load, and tasks that kill their process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter

import httpx
import pytest
from tests.flow.conftest import NewFlow
from tests.flow.harness import Flow, until

from laneway.kit.ids import id_bytes
from laneway.model.states import State


async def test_a_worker_killed_under_load_costs_no_task_and_its_tasks_run_again_within_five_seconds(
    redis7_url: str, kafka_or_none: str | None, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url, kafka=kafka_or_none)
    await flow.configure()  # with the lease that a queue has by default
    await flow.poller()
    victim = await flow.worker(slots=20)
    mine = set(await flow.submit("hold", 10))
    await flow.running(10)
    await flow.worker(slots=20)
    load = asyncio.create_task(flow.load("work", 400, 4.0, arguments={"ms": 100}))
    await flow.running(60)
    killed = time.monotonic()
    await victim.kill()

    async def elsewhere() -> bool:
        return {run.id for run in flow.starts(mine) if run.pid != victim.pid} == mine

    await until("what ran in the killed worker runs elsewhere", elsewhere)
    again = max(run.at for run in flow.starts(mine)) - killed
    assert again <= 5.0, f"recovered only {again:.2f} s after the crash"
    flow.release()
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 410


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside a second one"])
async def test_a_poller_killed_under_load_loses_and_doubles_nothing(flow: Flow, others: int) -> None:
    for _ in range(others):
        await flow.poller()
    victim = await flow.poller()
    await flow.worker(slots=10)
    load = asyncio.create_task(flow.load("flaky", 150, 2.5))
    for round_ in range(2):
        await flow.running(30 * (round_ + 1))
        await victim.kill()
        # Without another one, nothing is promoted, reaped or dispatched until it is back.
        await asyncio.sleep(0.3)
        victim = await flow.poller()
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 150
    assert Counter(len(view.errors) for view in (await flow.views(list(flow.accepted))).values() if view) == {1: 150}


async def test_a_gateway_killed_under_load_doubles_nothing_when_clients_send_again_with_their_key(
    direct_flow: Flow,
) -> None:
    flow = direct_flow
    await flow.poller()
    await flow.worker(slots=10)
    gateway = await flow.gateway()
    url = f"http://127.0.0.1:{gateway.port}/api/v1/queues/{flow.queue}/tasks"
    ids: dict[str, set[str]] = {}
    repeated = 0

    async def client(number: int) -> None:
        """Sends its tasks one after the other, each until it is answered; and one in five once more, as clients do."""
        nonlocal repeated
        async with httpx.AsyncClient(timeout=3.0) as http:
            for i in range(40):
                key = f"client-{number}-{i}"
                body: dict[str, object] = {"type": "work", "payload": {"ms": 1}}
                for _ in range(1 + (i % 5 == 0)):
                    ids.setdefault(key, set()).add(await send(http, key, body))

    async def send(http: httpx.AsyncClient, key: str, body: dict[str, object]) -> str:
        nonlocal repeated
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = await http.post(url, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                repeated += 1
            else:
                if answer.status_code in (200, 201):
                    return str(answer.json()["id"])
                assert answer.status_code in (503, 504), answer.text
            assert time.monotonic() < deadline, f"no answer for {key}"
            await asyncio.sleep(0.05)

    clients = [asyncio.create_task(client(number)) for number in range(6)]
    for round_ in range(2):

        async def submitted(n: int = 50 * (round_ + 1)) -> bool:
            return len(ids) >= n

        await until("clients are at work", submitted)
        await gateway.kill()
        gateway = await flow.gateway(gateway.port)
    await asyncio.gather(*clients)
    assert repeated, "no request was in flight when the gateway was killed: it proves nothing"
    assert len(ids) == 240 and all(len(found) == 1 for found in ids.values()), "a key stands for two tasks"
    flow.accepted = {id_bytes(id_) for found in ids.values() for id_ in found}
    stats = await flow.check()
    assert stats.counts["succeeded"] == 240 == len(flow.starts())


async def test_a_supervisor_replaces_a_killed_worker_and_its_workers_drain_when_it_is_killed_itself(
    direct_flow: Flow,
) -> None:
    flow = direct_flow
    await flow.poller()
    supervisor = await flow.worker(slots=5, processes=2)
    load = asyncio.create_task(flow.load("work", 300, 5.0, arguments={"ms": 50}))
    await flow.running(20)
    before = {worker.incarnation for worker in await flow.workers()}
    os.kill(flow.starts()[-1].pid, signal.SIGKILL)

    async def replaced() -> bool:
        now = await flow.workers()
        return len({w.incarnation for w in now if w.state == 2} - before) == 1 and len(now) == 2

    await until("the killed worker is gone and another one is there", replaced, 15.0)
    await supervisor.kill()

    async def gone() -> bool:
        return not await flow.workers()

    await until("the workers have drained and left", gone, 15.0)
    burnt = sum(
        view.record.crashes for view in (await flow.views(list(flow.accepted))).values() if view and view.record
    )
    assert burnt <= 5, "more than the slots of one worker crashed"
    await flow.worker(slots=10)
    await load
    stats = await flow.check()
    assert stats.counts["succeeded"] == 300


@pytest.mark.parametrize("type", ["poison", "exiting"])
async def test_a_task_that_kills_its_process_dies_alone_and_the_innocents_beside_it_succeed(
    flow: Flow, type: str
) -> None:
    await flow.poller()
    first = await flow.worker(slots=50)
    innocents = await flow.submit("hold", 49)
    await flow.running(49)
    poison = await flow.submit(type)
    await until("the poison has killed the worker", lambda: _dead(first), 10.0)
    await flow.worker(slots=50)
    # The innocents ran beside it: they are suspects now, and each runs in a process of its own.
    await flow.running(49 * 2 + 3)
    flow.release()
    stats = await flow.check(30.0)
    assert stats.counts["succeeded"] == 49 and stats.counts["dead"] == 1
    dead = (await flow.views(poison))[poison[0]]
    assert dead is not None and dead.record is not None and dead.state == State.DEAD
    assert dead.record.attempts == 3 == len(flow.starts(poison)), "dead after as many attempts as it may have"
    hit = Counter(run.id for run in flow.starts(innocents))
    assert set(hit.values()) == {2}, "an innocent was hit more than by the one crash that nobody could foresee"


async def _dead(member: object) -> bool:
    return not member.alive  # type: ignore[attr-defined]
