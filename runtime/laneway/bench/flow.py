"""Filling and draining a queue, as several benches do it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.crew import BenchFailed, Member
from laneway.bench.ground import Ground, redis_offset_ns
from laneway.bench.together import finish_all
from laneway.client.task import Call
from laneway.errors import LanewayError
from laneway.model.states import State

#: Tasks in one call of the SDK.
BATCH = 500
#: Calls under way at once: while Redis takes one batch, the next is made.
CALLERS = 2

MakeCall = Callable[[int], Call[Any]]


def noop_call(n: int) -> Call[Any]:
    """Task ``n`` with nothing to do."""
    return bench_app.noop.call(n=n, pad=bench_app.pad_for(n))


def blank_call(n: int) -> Call[Any]:
    """A task that leaves no mark."""
    return bench_app.blank.call(pad=bench_app.BLANK_PAD)


async def fill(ground: Ground, make: MakeCall, first: int, end: int, what: str) -> float:
    """Submits tasks ``first`` to ``end - 1`` with the SDK, 500 to a call, and returns the seconds that it took:
    making the calls and checking their arguments included, as whoever submits pays for that too.

    Raises:
        BenchFailed: one was refused.
    """
    at = first

    async def submit_on() -> None:
        nonlocal at
        while at < end:
            begin, at = at, min(at + BATCH, end)
            calls = [make(n) for n in range(begin, at)]
            for answer in await bench_app.app.submit_many(calls):
                if isinstance(answer, LanewayError):
                    raise BenchFailed(f"{what}: a submission was refused: {answer}") from answer
            ground.say(what, begin - first, end - first)

    began = time.perf_counter()
    await finish_all([asyncio.create_task(submit_on()) for _ in range(CALLERS)])
    return time.perf_counter() - began


async def drain(ground: Ground, total: int, workers: list[Member], what: str) -> float:
    """Lets the workers take all that waits, and returns the seconds from the first task's start to the last
    settlement that Redis took, when ``total`` tasks of the queue have succeeded. The workers are ready and have
    run nothing yet; the lanes are paused before, and again afterwards."""
    offset = await redis_offset_ns(ground.redis)
    await ground.pause(False)
    await ground.settled(total, what)
    await ground.pause(True)
    pids = {worker.pid for worker in workers}
    begun = [file.first_ns for file in ground.marks.files() if file.pid in pids]
    ((_, last_ms),) = await ground.store.ended(State.SUCCEEDED, 0, 1)
    # The settlement is known to the ms in which it was; the end of that ms is taken.
    return ((last_ms + 1) * 1_000_000 + offset - min(begun)) / 1e9
