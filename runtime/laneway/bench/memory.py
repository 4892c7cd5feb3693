"""Memory: of a waiting task in Redis, and of each kind of process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from laneway.bench import app as bench_app
from laneway.bench.flow import drain, fill, noop_call
from laneway.bench.ground import LANE, Ground
from laneway.bench.settings import setting


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    tasks: int = setting(100_000, 1_000, 1_000_000, "tasks that wait")
    slots: int = setting(256, 1, 10_000, "tasks at once in the worker process")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """What Redis holds more with all tasks queued and their events published than before; the log of events is
    capped and not part of a task, so the streams that keep it where there is no Kafka are left out and shown
    apart. Then a worker runs them all, and the processes' memory in RAM is read.
    """
    tasks = settings.tasks
    ground.expect(tasks)
    await ground.configure(lanes=(LANE,))
    await ground.pause(True)
    await bench_app.app.connect(ground.store)
    poller = await ground.crew.poller()
    gateway = await ground.crew.gateway()

    empty = await _used(ground)
    await fill(ground, noop_call, 0, tasks, "submit")
    await ground.relayed()
    log = await _log_bytes(ground)
    per_task = (await _used(ground) - empty - log) / tasks

    worker = await ground.crew.worker(slots=settings.slots)
    await drain(ground, tasks, [worker], "drain")
    return {
        "tasks": tasks,
        "payload_bytes": bench_app.PAYLOAD,
        "bytes_per_queued_task": round(per_task, 1),
        "log_bytes_per_task": round(log / tasks, 1),
        "worker_rss_mb": worker.rss_mb(),
        "poller_rss_mb": poller.rss_mb(),
        "gateway_rss_mb": gateway.rss_mb(),
    }


async def _used(ground: Ground) -> int:
    return int((await ground.redis.info("memory"))["used_memory"])


async def _log_bytes(ground: Ground) -> int:
    keys = [ground.store.keys.log(stream) for stream in ("events", "dead")]
    return sum([int(await ground.redis.memory_usage(key, samples=0) or 0) for key in keys])
