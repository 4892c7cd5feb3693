"""Latency: from just before a submission to the first line of its handler."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.crew import BenchFailed
from laneway.bench.figures import ms, percentile
from laneway.bench.flow import drain, fill, noop_call
from laneway.bench.ground import LANE, Ground
from laneway.bench.settings import setting
from laneway.bench.together import finish_all
from laneway.client.task import Call

_HALF_LOAD_MOST = 2_000
#: Submissions of the half-load part that may be under way at once.
_IN_FLIGHT = 32
#: Tasks before the first that counts: connections are open, code is loaded.
_WARM_UP = 8 * _IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    tasks: int = setting(400, 10, 10_000, "tasks of the idle part, one each 20 ms")
    seconds: float = setting(5.0, 0.2, 60, "length of the half-load part")
    drained: int = setting(20_000, 100, 500_000, "tasks by which the load that the worker can bear is measured")
    rate: float = setting(0.0, 0, 20_000, "submissions per second of the half-load part; 0: half of what was measured")
    slots: int = setting(256, 1, 10_000, "tasks at once in the worker process")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """One worker: how much it can do, then single tasks on an idle queue, then half of what it can do (at most 2,000
    per second)."""
    most = int((settings.rate or _HALF_LOAD_MOST) * settings.seconds)
    ground.expect(settings.drained + _WARM_UP + settings.tasks + most)
    await ground.configure(lanes=(LANE,))
    await ground.pause(True)
    await bench_app.app.connect(ground.store)
    await ground.crew.poller()
    await fill(ground, noop_call, 0, settings.drained, "submit")
    worker = await ground.crew.worker(slots=settings.slots)
    drained = settings.drained / await drain(ground, settings.drained, [worker], "measure the load it can bear")
    await ground.pause(False)
    await ground.relayed()

    first = settings.drained
    for n in range(first, first + _WARM_UP, _IN_FLIGHT):
        await finish_all([asyncio.create_task(_submit(n + i)) for i in range(_IN_FLIGHT)])
    await ground.settled(first + _WARM_UP, "warm up")
    first += _WARM_UP
    sent = await _idle(ground, first, settings.tasks)
    idle = await _waits(ground, first, sent)

    first += settings.tasks
    rate = settings.rate or min(_HALF_LOAD_MOST, drained / 2)
    sent, late = await _open_loop(ground, first, rate, settings.seconds)
    loaded = await _waits(ground, first, sent)
    return {
        "idle_tasks": len(idle),
        "idle_p50_ms": ms(percentile(idle, 50)),
        "idle_p99_ms": ms(percentile(idle, 99)),
        "half_load_tasks": len(loaded),
        "half_load_p50_ms": ms(percentile(loaded, 50)),
        "half_load_p99_ms": ms(percentile(loaded, 99)),
        "rate": round(rate, 1),
        "rate_reached": round(len(sent) / settings.seconds, 1),
        "sent_late_p99_ms": ms(percentile(late, 99)),
        "drain_per_s": round(drained, 1),
    }


async def _submit(n: int) -> None:
    await bench_app.app.submit(_stamped(n))


def _stamped(n: int) -> Call[None]:
    return bench_app.stamp.call(n=n, pad=bench_app.pad_for(n))


async def _idle(ground: Ground, first: int, tasks: int) -> list[int]:
    """One task each 20 ms; returns when each was about to be submitted (ns)."""
    loop, sent = asyncio.get_running_loop(), []
    due = loop.time()
    for i in range(tasks):
        call = _stamped(first + i)
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))
        sent.append(time.monotonic_ns())
        await bench_app.app.submit(call)
        if i % 50 == 0:
            ground.say("one task each 20 ms", i, tasks)
    return sent


async def _open_loop(ground: Ground, first: int, rate: float, seconds: float) -> tuple[list[int], list[float]]:
    """Submits at a rate whatever the answers take; returns when each was about to be submitted (ns), and by how
    much later than it was due (ns). Who finds all places in flight taken waits, and that time counts."""
    total = int(rate * seconds)
    calls = [_stamped(first + i) for i in range(total)]
    sent, late = [0] * total, [0.0] * total
    places = asyncio.Semaphore(_IN_FLIGHT)
    began = time.monotonic_ns() + 10_000_000

    async def one(i: int) -> None:
        sent[i] = now = time.monotonic_ns()
        late[i] = max(0.0, now - began - i * 1e9 / rate)
        async with places:
            await bench_app.app.submit(calls[i])

    under_way: list[asyncio.Task[None]] = []
    try:
        while (i := len(under_way)) < total:
            due = min(total, int((time.monotonic_ns() - began) * rate / 1e9) + 1)
            under_way += [asyncio.create_task(one(n)) for n in range(i, due)]
            ground.say("half load", i, total)
            await asyncio.sleep(0.001)
    finally:
        await finish_all(under_way)
    return sent, late


async def _waits(ground: Ground, first: int, sent: list[int]) -> list[float]:
    """How long each task waited for its handler (ns)."""
    await ground.settled(first + len(sent), "the last tasks end")
    waits = []
    for i, at in enumerate(sent):
        begun = ground.marks.starts(first + i)
        if len(begun) != 1:
            raise BenchFailed(f"task {first + i} began {len(begun)} times instead of once")
        waits.append(float(begun[0][1] - at))
    return waits
