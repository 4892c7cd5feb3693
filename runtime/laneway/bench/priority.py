"""Priority: how soon urgent tasks start when all slots are taken and a long queue waits."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.crew import BenchFailed
from laneway.bench.figures import ms, percentile
from laneway.bench.flow import fill
from laneway.bench.ground import Ground, redis_time_us
from laneway.bench.settings import setting
from laneway.model.config import LaneConfig

_LANES = (LaneConfig(n=1, name="high", prio=100), LaneConfig(n=2, name="low", prio=0))


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    backlog: int = setting(10_000, 100, 200_000, "tasks that wait in the lane low")
    task_ms: float = setting(5.0, 1, 1_000, "how long each task takes")
    slots: int = setting(10, 1, 1_000, "tasks at once in the worker process")
    urgent: int = setting(50, 1, 1_000, "tasks for the lane high")
    gap_ms: float = setting(60.0, 1, 10_000, "mean time between two urgent tasks")


@dataclass(slots=True)
class _Urgent:
    """One urgent task: when it was about to be submitted (local ns), acknowledged (Redis us, local ns), and began."""

    n: int
    sent: int
    acked_us: int
    acked: int
    begun: int = 0


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """A backlog keeps all slots busy while urgent tasks come one by one, at random distances.

    * ``inversions_max``: of the low tasks that Redis handed out (claimed, or with Kafka dispatched) *after* an
      urgent one was acknowledged, how many began before it did; the most for any of the urgent ones. When a task
      was handed out says its fence, which for a first attempt is the time of Redis in that script call; Redis is
      asked for the time after the acknowledgement, so clocks are not compared across machines.
    * ``passed_max``: how many low tasks began between an urgent one's acknowledgement and its start, whenever they
      had been handed out: with ``direct`` those of the batch under way, with ``kafka`` what was on its way.
    * ``credits_max``: the most tasks held beyond the worker's slots that was seen (a look each 10 ms).
    """
    backlog = settings.backlog
    ground.expect(backlog + settings.urgent)
    await ground.configure(lanes=_LANES, default_lane="low")
    await bench_app.app.connect(ground.store)
    await ground.crew.poller()
    low = bench_app.nap.options(lane="low")
    await fill(ground, lambda n: low.call(n=n, ms=settings.task_ms), 0, backlog, "backlog")
    await ground.crew.worker(slots=settings.slots)
    await _saturated(ground, min(backlog // 10, settings.slots * 10))

    credits = _CreditWatch(ground)
    watch = asyncio.create_task(credits.run())
    try:
        urgent = await _send_urgent(ground, settings)
        await _begun(ground, urgent)
        waiting = next(lane.queued for lane in (await ground.stats()).lanes if lane.name == "low")
    finally:
        watch.cancel()
        await asyncio.wait([watch])
    if not watch.cancelled() and (error := watch.exception()):
        raise error
    await ground.settled(backlog + settings.urgent, "the backlog ends")

    waits = [one.begun - one.sent for one in urgent]
    inversions, passed = _overtaken(ground, backlog, urgent)
    return {
        "backlog": backlog,
        "task_ms": settings.task_ms,
        "slots": settings.slots,
        "urgent": len(urgent),
        "urgent_start_p50_ms": ms(percentile(waits, 50)),
        "urgent_start_p99_ms": ms(percentile(waits, 99)),
        "inversions_max": max(inversions),
        "passed_max": max(passed),
        "credits_max": credits.most,
        "saturated": waiting > 0,
    }


class _CreditWatch:
    """Looks at what workers hold beyond their slots; ``most`` is the most that was seen."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.most = 0

    async def run(self) -> None:
        """Looks each 10 ms until cancelled."""
        while True:
            workers = (await self._ground.stats()).workers
            self.most = max(self.most, sum(max(0, worker.held - worker.slots) for worker in workers))
            await asyncio.sleep(0.01)


async def _saturated(ground: Ground, tasks: int) -> None:
    """Waits until so many tasks of the backlog have begun."""
    while sum(file.counts[:].tobytes().count(1) for file in ground.marks.files()) < tasks:
        await ground.stats()
        await asyncio.sleep(0.01)


async def _send_urgent(ground: Ground, settings: Settings) -> list[_Urgent]:
    chance = random.Random(7)  # the same distances in each run
    urgent = bench_app.nap.options(lane="high")
    sent = []
    for i in range(settings.urgent):
        call = urgent.call(n=settings.backlog + i, ms=settings.task_ms)
        await asyncio.sleep(settings.gap_ms / 1000 * (0.5 + chance.random()))
        at = time.monotonic_ns()
        await bench_app.app.submit(call)
        acked = time.monotonic_ns()
        sent.append(_Urgent(settings.backlog + i, at, await redis_time_us(ground.redis), acked))
        ground.say("urgent tasks", i + 1, settings.urgent)
    return sent


async def _begun(ground: Ground, urgent: list[_Urgent]) -> None:
    """Waits until each urgent task has begun, and notes when."""
    for one in urgent:
        while not (begun := ground.marks.starts(one.n)):
            await ground.stats()
            await asyncio.sleep(0.005)
        if len(begun) != 1:
            raise BenchFailed(f"an urgent task began {len(begun)} times")
        one.begun = begun[0][1]


def _overtaken(ground: Ground, backlog: int, urgent: list[_Urgent]) -> tuple[list[int], list[int]]:
    """Per urgent task: inversions, and low tasks that began in between."""
    low = [
        (start, fence)
        for file in ground.marks.files()
        for start, fence in zip(file.starts[:backlog], file.fences[:backlog], strict=True)
        if start
    ]
    inversions, passed = [], []
    for one in urgent:
        earlier = [(start, fence) for start, fence in low if start < one.begun]
        inversions.append(sum(fence > one.acked_us for _, fence in earlier))
        passed.append(sum(start > one.acked for start, _ in earlier))
    return inversions, passed
