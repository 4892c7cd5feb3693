"""Depth: whether a task costs the same at a thousand and at a million queued tasks."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil
from redis.exceptions import ResponseError

from laneway.bench import app as bench_app
from laneway.bench.cpu import redis_cpu
from laneway.bench.crew import BenchFailed, Member
from laneway.bench.figures import rate
from laneway.bench.flow import BATCH, blank_call, fill
from laneway.bench.ground import LANE, Ground
from laneway.bench.settings import setting
from laneway.errors import ConfigError, LanewayError
from laneway.kit.ids import id_bytes
from laneway.model.config import Keep, Kept

_LEVELS = (1_000, 100_000, 1_000_000)
_NAMES = {1_000: "1k", 100_000: "100k", 1_000_000: "1m"}
#: Each takes about six commands a task, and a hash of a million moves half a million buckets.
_UNCOUNTED = 120
#: With copies of pages while Redis rewrites its append-only file.
_BYTES_PER_TASK = 900


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    max_depth: int = setting(1_000_000, 1_000, 1_000_000, "levels deeper than this are left out")
    rounds: int = setting(40, 1, 1_000, "bursts of 1,000 tasks by which submitting is measured at each level")
    seconds: float = setting(5.0, 0.2, 60, "how long draining is measured at each level")
    slots: int = setting(256, 1, 10_000, "tasks at once in the worker process")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """At each level: bursts are submitted and taken out again (only submitting is timed); then a worker drains
    for some seconds while the bench refills, so that the depth stays what it is."""
    levels = [level for level in _LEVELS if level <= settings.max_depth]
    free = psutil.virtual_memory().available
    if levels[-1] * _BYTES_PER_TASK > free:
        raise ConfigError(
            f"bench depth needs about {levels[-1] * _BYTES_PER_TASK >> 20} MiB, and {free >> 20} MiB are free: "
            f"--set max_depth={max((lv for lv in _LEVELS if lv * _BYTES_PER_TASK <= free), default=1_000)}"
        )
    ground.expect(1)
    # Few ended tasks are kept, so that each level pays alike for forgetting them.
    await ground.configure(lanes=(LANE,), keep=Kept(ended=Keep(n=1_000, ms=3_600_000)))
    await ground.pause(True)
    await bench_app.app.connect(ground.store)
    await ground.crew.poller()
    found: dict[str, Any] = {"levels": levels}
    for level in levels:
        queued = (await ground.stats()).counts["queued"]
        await fill(ground, blank_call, queued, level, f"fill to {level:,}")
        await ground.relayed()
        await _rewritten(ground)
        found |= await _enqueue(ground, level, settings.rounds)
        found |= await _flow(ground, level, settings)
    ratios = {
        what: round(found[f"{what}_{_NAMES[levels[-1]]}_per_s"] / found[f"{what}_1k_per_s"], 3)
        for what in ("enqueue", "drain")
    }
    found |= {f"{what}_ratio": ratio for what, ratio in ratios.items()}
    found["ratio_1m_to_1k"] = min(ratios.values()) if levels[-1] == _LEVELS[-1] else None
    return found


async def _rewritten(ground: Ground) -> None:
    """Has Redis rewrite its append-only file, so that it does not while something is measured."""
    with suppress(ResponseError):  # (one is under way, or whoever asks may not)
        await ground.redis.bgrewriteaof()
    while True:
        told = await ground.redis.info("persistence")
        if not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(0.05)


async def _enqueue(ground: Ground, level: int, rounds: int) -> dict[str, float]:
    """Submissions per second on top of ``level`` queued tasks, and what one costs Redis (us of processor time)."""
    spent: list[float] = []
    cpu: list[float] = []
    # A hash that has doubled on the way here is moved by Redis bit by bit, with each command that touches it; the
    # bursts that are not counted move it whole.
    for i in range(-_UNCOUNTED, rounds):
        ground.say(f"submit at {level:,}", max(0, i), rounds)
        calls = [blank_call(n) for n in range(2 * BATCH)]
        used = await redis_cpu(ground)
        began = time.perf_counter()
        answers = await bench_app.app.submit_many(calls)
        if i >= 0:
            spent.append(time.perf_counter() - began)
            cpu.append(await redis_cpu(ground) - used)
        ids = []
        for answer in answers:
            if isinstance(answer, LanewayError):
                raise BenchFailed(f"a submission was refused: {answer}") from answer
            ids.append(id_bytes(answer.id))
        for at in range(0, len(ids), 250):
            await ground.store.cancel(ids[at : at + 250])
            await ground.store.purge(ids[at : at + 250])
    # Medians of bursts: what else a machine does (other work, pages written back) hits some of them, at any depth.
    name, tasks = _NAMES[level], 2 * BATCH
    return {
        f"enqueue_{name}_per_s": rate(tasks, median(spent)),
        f"enqueue_{name}_redis_us": round(median(cpu) * 1e6 / tasks, 1),
    }


async def _flow(ground: Ground, level: int, settings: Settings) -> dict[str, float]:
    """Tasks settled per second by one worker process while ``level`` tasks are queued, and what one costs Redis
    (us of processor time, refilling included)."""
    worker = await ground.crew.worker(slots=settings.slots)
    await ground.pause(False)
    start = await _moving(ground, worker)
    begun: tuple[float, int, float] | None = None
    loop = asyncio.get_running_loop()
    began_at = loop.time() + min(1.0, settings.seconds / 4)
    while True:
        stats = await ground.stats()
        done, now = stats.counts["succeeded"] + stats.counts["purged"], loop.time()
        if begun is None and now >= began_at:
            begun = (now, done, await redis_cpu(ground))
        if begun is not None and now - begun[0] >= settings.seconds and done > begun[1]:
            break
        ground.say(f"drain at {level:,}", done - start, 0)
        lacking = level - stats.counts["queued"]
        if lacking >= BATCH // 2:
            await fill(ground, blank_call, 0, lacking, f"drain at {level:,}")
        else:
            await asyncio.sleep(0.002)
    tasks, cpu, name = done - begun[1], await redis_cpu(ground) - begun[2], _NAMES[level]
    await ground.pause(True)
    await ground.crew.stop(worker)
    return {
        f"drain_{name}_per_s": rate(tasks, now - begun[0]),
        f"drain_{name}_redis_us": round(cpu * 1e6 / tasks, 1),
    }


async def _moving(ground: Ground, worker: Member) -> int:
    """Waits until the worker has begun to settle; returns how many tasks had ended by then."""
    first = None
    while True:
        counts = (await ground.stats()).counts
        done = counts["succeeded"] + counts["purged"]
        first = done if first is None else first
        if done > first:
            return done
        await asyncio.sleep(0.005)
