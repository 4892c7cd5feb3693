"""Throughput: how fast tasks go in, and how fast they are done."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.cpu import CpuMeter
from laneway.bench.figures import rate
from laneway.bench.flow import drain, fill, noop_call
from laneway.bench.ground import LANE, Ground
from laneway.bench.settings import setting


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    tasks: int = setting(100_000, 500, 1_000_000, "tasks of one round")
    processes: int = setting(0, 0, 64, "worker processes; 0: one, and then as many as processors")
    slots: int = setting(256, 1, 10_000, "tasks at once in one worker process")
    singles: int = setting(5_000, 1, 100_000, "tasks submitted one at a time")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """Per number of processes: fills the queue, starts the workers, lets them go, and counts each task's runs.

    The workers of a round start when its tasks are in and its lane is paused, so that neither their start nor
    their waiting is measured.
    """
    cores = os.cpu_count() or 1
    rounds = [settings.processes] if settings.processes else sorted({1, cores})
    total = settings.tasks * len(rounds) + settings.singles
    ground.expect(total)
    await ground.configure(lanes=(LANE,))
    await ground.pause(True)
    await bench_app.app.connect(ground.store)
    poller = await ground.crew.poller()

    one_by_one = await _submit_singles(ground, settings.singles)
    drains: list[float] = []
    done, drained, filling = settings.singles, 0, 0.0
    cpu: dict[str, float] = {}
    for processes in rounds:
        meter = CpuMeter(ground, [poller])
        await meter.begin()
        filling += await fill(ground, noop_call, done, done + settings.tasks, "submit in batches")
        cpu = cpu or await meter.per_task(settings.tasks, "enqueue_cpu")
        done += settings.tasks
        workers = [await ground.crew.worker(slots=settings.slots) for _ in range(processes)]
        await ground.relayed()
        meter = CpuMeter(ground, [poller, *workers])
        await meter.begin()
        seconds = await drain(ground, done, workers, f"drain with {processes} worker processes")
        if not drains:
            cpu |= await meter.per_task(done - drained, "drain_cpu")
        drains.append(rate(done - drained, seconds))
        drained = done
        await ground.crew.stop(*workers)
    await ground.crew.stop(poller)

    counts = (await ground.stats()).counts
    exact = all(n == 1 for n in ground.marks.runs(0, total)) and counts["submitted"] == total
    found: dict[str, Any] = {
        "tasks": settings.tasks,
        "processes": rounds[0],
        "slots": settings.slots,
        "enqueue_per_s": rate(settings.tasks * len(rounds), filling),
        "enqueue_one_per_s": rate(settings.singles, one_by_one),
        "drain_per_s": drains[0],
        "exact": exact,
    }
    if len(rounds) > 1:
        found |= {"all_processes": rounds[1], "drain_all_per_s": drains[1]}
    return {**found, **cpu}


async def _submit_singles(ground: Ground, tasks: int) -> float:
    """One client, one task after the other, each acknowledged before the next; returns the seconds."""
    calls = [noop_call(n) for n in range(tasks)]
    began = time.perf_counter()
    for n, call in enumerate(calls):
        await bench_app.app.submit(call)
        if n % 500 == 0:
            ground.say("submit one at a time", n, tasks)
    return time.perf_counter() - began
