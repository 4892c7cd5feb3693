"""Recovery: a worker is killed while it runs tasks, and another takes them over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.crew import BenchFailed
from laneway.bench.ends import final_events
from laneway.bench.flow import fill
from laneway.bench.ground import LANE, Ground
from laneway.bench.settings import setting

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    tasks: int = setting(50, 1, 500, "tasks that run in the worker that is killed")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """kill -9 of a worker whose slots are full while a second one is alive: the time from the signal until each of
    its tasks has begun in another process. Then they may end, and each must have ended once, and well.

    Tasks that were running in a worker that died are suspects: each runs alone in a process of its own.
    """
    tasks = settings.tasks
    ground.expect(tasks)
    await ground.configure(lanes=(LANE,))
    await bench_app.app.connect(ground.store)
    await ground.crew.poller()
    victim = await ground.crew.worker(slots=tasks)
    await fill(ground, lambda n: bench_app.hold.call(n=n), 0, tasks, "submit")
    await _begun(ground, tasks, 1)
    await ground.crew.worker(slots=tasks)

    killed = time.monotonic_ns()
    await ground.crew.kill(victim)
    await _begun(ground, tasks, 2)
    took = [(min(at for pid, at in ground.marks.starts(n) if pid != victim.pid) - killed) / 1e9 for n in range(tasks)]
    ground.marks.release()
    await ground.settled(tasks, "the tasks end")
    await ground.relayed()
    ends = await final_events(ground)
    return {
        "tasks": tasks,
        "recovery_p50_s": round(sorted(took)[len(took) // 2], 3),
        "recovery_p100_s": round(max(took), 3),
        "lost": tasks - sum(1 for kinds in ends.values() if "succeeded" in kinds),
        "settled_twice": sum(len(kinds) > 1 for kinds in ends.values()),
        "ran_more_than_twice": sum(n > 2 for n in ground.marks.runs(0, tasks)),
    }


async def _begun(ground: Ground, tasks: int, times: int) -> None:
    """Waits until every task has begun in so many processes."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        begun = sum(len(ground.marks.starts(n)) >= times for n in range(tasks))
        ground.say("they run" if times == 1 else "they run elsewhere", begun, tasks)
        if begun == tasks:
            return
        if time.monotonic() > deadline:
            counts = (await ground.stats()).counts
            raise BenchFailed(f"{begun} of {tasks} tasks run after {_PATIENCE_S:g} s; the queue has {counts}")
        await ground.stats()
        await asyncio.sleep(0.02)
