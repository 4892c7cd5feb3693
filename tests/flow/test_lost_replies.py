"""Answers of Redis that are lost: each script is carried out, and its caller hears nothing of it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, until

from laneway.adapters.redis.scripts import load
from laneway.model.states import State
from servers.proxy import Command, Fault, RedisProxy

COMMON = [
    "submit",
    "heartbeat",
    "register",
    "deregister",
    "promote",
    "reap",
    "sweep",
    "purge",
    "relayed",
    "lease",
    "cancel",
]
SCRIPTS = {"direct": [*COMMON, "claim", "turn"], "kafka": [*COMMON, "start", "settle", "dispatch"]}
ROUNDS = 4


def calls_of(name: str) -> Callable[[Command], bool]:
    """Whether a command runs the script of that name."""
    script = load(name)
    known = {script.sha.encode(), script.source.encode()}
    return lambda command: command[0].upper() in (b"EVALSHA", b"EVAL") and command[1] in known


class Losses:
    """Loses replies of scripts again and again: of each the first, then the second, the third ... from there."""

    def __init__(self, proxy: RedisProxy, names: list[str], rounds: int) -> None:
        self._proxy, self._rounds = proxy, rounds
        self.lost: Counter[str] = Counter()
        self._armed: dict[str, Fault] = {name: proxy.drop_reply(1, calls_of(name)) for name in names}

    async def go_on(self) -> None:
        """Arms the next loss of each script whose last one has happened."""
        while True:
            for name, fault in self._armed.items():
                if fault.fired:
                    self.lost[name] += 1
                    if self.lost[name] < self._rounds:
                        self._armed[name] = self._proxy.drop_reply(self.lost[name] + 1, calls_of(name))
                    else:
                        self._armed[name] = Fault(0, lambda command: False, "before-reply")
            await asyncio.sleep(0.01)

    @property
    def without(self) -> set[str]:
        """Scripts of which no reply was lost yet."""
        return {name for name in self._armed if not self.lost[name]}


async def test_lost_replies_of_every_script_lose_and_double_nothing(
    redis_proxy: RedisProxy, redis7_url: str, kafka_or_none: str | None, new_flow: NewFlow
) -> None:
    flow = new_flow(redis_proxy.url, kafka=kafka_or_none, direct_url=redis7_url)
    await flow.configure(**SHORT)
    losses = Losses(redis_proxy, SCRIPTS["kafka" if kafka_or_none else "direct"], ROUNDS)
    losing = asyncio.create_task(losses.go_on())
    try:
        await flow.poller()
        leaving = await flow.worker(slots=10)
        await flow.worker(slots=10)
        load = asyncio.create_task(flow.load("flaky", 120, 3.0))
        delayed = await flow.submit("work", 20, delay=1.0)
        called_off = await flow.submit("work", 10, delay=600.0)
        caller = flow.new_store(redis_proxy.url)
        for id_ in called_off:
            assert await caller.cancel([id_]) == ["cancelled"]
        await caller.close()
        await load
        assert await leaving.stop() == 0

        async def all_lost() -> bool:
            return not losses.without

        await until("a reply of each script was lost", all_lost, 15.0)
    finally:
        losing.cancel()
        await asyncio.gather(losing, return_exceptions=True)
        redis_proxy.clear()
    assert sum(losses.lost.values()) > 2 * len(losses.lost), f"too few replies were lost: {losses.lost}"
    # Work is handed out, and the worker never hears of it: soon it runs all the same.
    fault = redis_proxy.drop_reply(1, calls_of("dispatch" if kafka_or_none else "claim"))
    # (An idle worker's claim waits in Redis already: the next one is the one to lose.)
    await flow.submit("work")
    await until("it is idle again", lambda: _all_ended(flow), 30.0)
    held = await flow.submit("hold", 10)
    await asyncio.to_thread(fault.wait, 15.0)
    await until("the worker runs exactly what it holds", lambda: _held_is_known(flow, held), 5.0)
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 151 and stats.counts["cancelled"] == 10
    assert len(flow.starts(delayed)) == 20, "a delayed task ran more than once"
    assert not flow.starts(called_off)


async def _all_ended(flow: Flow) -> bool:
    counts = (await flow.stats()).counts
    return counts["submitted"] == sum(counts[state.label] for state in State if state.final)


async def _held_is_known(flow: Flow, held: list[bytes]) -> bool:
    """Whether exactly these tasks are held in Redis, and run in handlers that have not ended."""
    stats = await flow.stats()
    return sum(w.held for w in stats.workers) == len(held) == len({run.id for run in flow.starts(held)})


@pytest.mark.parametrize("name", ["claim", "turn"])
async def test_a_claim_whose_reply_is_lost_is_repeated_and_gives_the_same_tasks(
    redis_proxy: RedisProxy, redis7_url: str, new_flow: NewFlow, name: str
) -> None:
    flow = new_flow(redis_proxy.url, direct_url=redis7_url)
    await flow.configure(**SHORT)
    await flow.poller()
    worker = await flow.worker(slots=5)
    lost = 0
    for _ in range(10):
        fault = redis_proxy.drop_reply(1, calls_of(name))
        await flow.submit("work", 10, arguments={"ms": 5})
        try:
            await asyncio.to_thread(fault.wait, 5.0)
            lost += 1
        except TimeoutError:
            redis_proxy.clear()  # (a claim that waits can be taken back before it has a reply)
    # Only a claim can be one that waits; of turns, each one that was meant to be lost must have been.
    assert lost >= (10 if name == "turn" else 5), f"only {lost} replies were lost"
    stats = await flow.check()
    assert stats.counts["succeeded"] == 100
    assert len(flow.starts()) == 100, "a task ran twice because its claim was repeated"
    assert worker.alive


@pytest.mark.parametrize("moment", ["reply", "request"])
async def test_a_settlement_of_which_no_answer_came_counts_once(
    redis_proxy: RedisProxy, redis7_url: str, kafka_or_none: str | None, new_flow: NewFlow, moment: str
) -> None:
    flow = new_flow(redis_proxy.url, kafka=kafka_or_none, direct_url=redis7_url)
    await flow.configure(**SHORT)
    await flow.poller()
    await flow.worker(slots=5)
    settling = calls_of("settle" if kafka_or_none else "turn")
    for _ in range(10):
        lose = redis_proxy.drop_reply if moment == "reply" else redis_proxy.drop_request
        fault = lose(1, settling)
        await flow.submit("work", 5)
        await asyncio.to_thread(fault.wait, 5.0)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 50 and len(flow.starts()) == 50


async def test_what_a_live_worker_holds_without_knowing_it_runs_within_five_seconds(direct_flow: Flow) -> None:
    flow = direct_flow
    await flow.poller()
    worker = await flow.worker(slots=5)
    held = await flow.submit("hold", 2)
    await flow.running(2)
    (registered,) = await flow.workers()
    worker.signal(signal.SIGSTOP)
    lost = await flow.submit("work", 3)
    # A late copy of a claim: the tasks are handed to the worker, on a connection that it has given up long ago.
    got = await flow.store.turn(registered.incarnation, 1_000_000, 3, [])
    worker.signal(signal.SIGCONT)
    assert {task.id for task in got.tasks} == set(lost)

    async def ran() -> bool:
        return len(flow.starts(lost)) == 3

    await until("they run", ran, 5.0)
    flow.release()
    stats = await flow.check()
    assert stats.counts["succeeded"] == 5
    assert len(flow.starts(held)) == 2, "what the worker really ran was not adopted when it registered anew"
    attempts = [view.record.attempts for view in (await flow.views(lost)).values() if view and view.record]
    assert attempts == [1, 1, 1], "an attempt was counted that never was"
