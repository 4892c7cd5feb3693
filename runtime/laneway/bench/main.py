"""The list of benches, and how one is run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import uvloop

from laneway.adapters.embedded import EmbeddedRedis, MissingServer
from laneway.bench import depth, latency, limiter, memory, priority, recovery, throughput
from laneway.bench.crew import BenchFailed
from laneway.bench.ground import Ground, Say, stand
from laneway.bench.settings import load_settings
from laneway.bench.show import print_figures, progress
from laneway.bench.targets import broken
from laneway.errors import ConfigError
from laneway.kit.logs import setup_logging


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench. ``limit`` (s) bounds it: a bench that takes longer has failed."""

    says: str
    settings: type[Any]
    measure: Callable[[Ground, Any], Awaitable[dict[str, Any]]]
    limit: float = 180.0


_BENCHES: dict[str, Bench] = {
    "throughput": Bench("tasks per second in and done, each exactly once", throughput.Settings, throughput.measure),
    "latency": Bench("from a submission to its handler, idle and at half load", latency.Settings, latency.measure),
    "priority": Bench("how soon urgent tasks start before a long queue", priority.Settings, priority.measure),
    "limiter": Bench("what rate limits cost, and whether they are exact", limiter.Settings, limiter.measure),
    "recovery": Bench("how soon a killed worker's tasks run elsewhere", recovery.Settings, recovery.measure),
    "memory": Bench("bytes per waiting task, and RAM of each kind of process", memory.Settings, memory.measure),
    "depth": Bench("rates at 1,000, 100,000 and 1,000,000 queued", depth.Settings, depth.measure, limit=900.0),
}

#: Each bench and what it measures.
NAMES: dict[str, str] = {name: bench.says for name, bench in _BENCHES.items()}


def run(name: str, *, redis: str | None, kafka: str | None, json: bool, options: Mapping[str, Any]) -> int:
    """Runs one bench and prints what it found; the last line of standard output is one JSON object, and with
    ``json`` the only one. Without ``redis`` a Redis is started for it, and ended with it.

    Returns 0, or 1 when a figure contradicts a promise (a task lost or run twice); speed is no reason to fail.

    Raises:
        ConfigError: there is no such bench or setting, or no Redis to embed.
        Unavailable: Redis or Kafka is away.
        BenchFailed: it could not be measured.
    """
    if name not in _BENCHES:
        raise ConfigError(f"there is no bench {name!r}; the benches are {', '.join(_BENCHES)}")
    settings = load_settings(name, _BENCHES[name].settings, options)
    setup_logging("error", "console")
    with ExitStack() as stack:
        if redis is None:
            try:
                redis = stack.enter_context(EmbeddedRedis()).url
            except MissingServer as error:
                raise ConfigError(str(error)) from error
        say = stack.enter_context(progress(name, shown=not json))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        try:
            found = runner.run(_measure(name, settings, redis, kafka, say))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM, which is told of as Ctrl-C is
    if not json:
        print_figures(found)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()
    return 1 if broken(name, found) else 0


async def _measure(name: str, settings: Any, redis: str, kafka: str | None, say: Say) -> dict[str, Any]:
    bench = _BENCHES[name]
    task = asyncio.current_task()
    assert task is not None
    # Told to end, it ends its processes and empties its queue like any other way out.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    began = time.monotonic()
    async with stand(redis, kafka, say) as ground:
        try:
            async with asyncio.timeout(bench.limit):
                found = await bench.measure(ground, settings)
        except TimeoutError as error:
            raise BenchFailed(f"bench {name} did not end within {bench.limit:g} s") from error
        server = await ground.redis.info("server")
    return {
        "bench": name,
        "transport": ground.transport,
        **found,
        "cores": os.cpu_count() or 1,
        "redis_version": server["redis_version"],
        "seconds": round(time.monotonic() - began, 1),
    }
