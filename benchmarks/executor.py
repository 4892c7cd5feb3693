"""No-op tasks per second through the executor alone, without Redis. The last line is one JSON object.

``python benchmarks/executor.py [--tasks 100000] [--slots 200] [--timeout 30] [--plain-loop] [--profile]``
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import time
from typing import Any

import msgspec
import uvloop

from laneway.execute.executor import Executor
from laneway.kit.ids import new_task_ids
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Settlement
from laneway.model.task import HandlerKind, TaskDef
from laneway.ports.store import Claimed


async def noop(data: str) -> None:
    """Does nothing."""


def noop_blocking(data: str) -> None:
    """Does nothing, in a thread."""


def _claims(count: int, task: str) -> list[Claimed]:
    payload = msgspec.msgpack.encode({"data": "x" * 90})
    sent = encode_envelope(Envelope(1, 4, 4, "", Body(task, payload)))
    stored = (time.time_ns() // 1_000_000).to_bytes(6, "big") + sent
    return [Claimed(id, 1, 1, 0, 0, stored) for id in new_task_ids(count)]


async def measure(count: int, slots: int, limit: float, kind: HandlerKind) -> dict[str, Any]:
    """Keeps ``slots`` tasks in the executor until ``count`` are settled."""
    fn = noop if kind is HandlerKind.ASYNC else noop_blocking
    task = TaskDef("noop", fn, kind, msgspec.msgpack.decode, msgspec.msgpack.encode, timeout=limit)
    settled: list[Settlement] = []
    news = asyncio.Event()

    def on_settled(settlement: Settlement) -> None:
        if not settled:
            news.set()
        settled.append(settlement)

    seen: list[Any] = []
    executor = Executor(
        {"noop": task},
        worker_name="bench",
        threads=8,
        on_settled=on_settled,
        on_dropped=lambda id: None,
        may_start=lambda: True,
        lane_name=lambda n: "default",
        observe=seen.append,
    )
    claims = _claims(count, "noop")
    now_ms = time.time_ns() // 1_000_000
    done = given = 0
    started, cpu = time.perf_counter(), time.process_time()
    while done < count:
        for claimed in claims[given : given + slots - executor.busy]:
            executor.start(claimed, now_ms)
            given += 1
        news.clear()
        if not settled:
            await news.wait()
        done += len(settled)
        settled.clear()
        seen.clear()
    seconds, busy = time.perf_counter() - started, time.process_time() - cpu
    await executor.stop(1.0)
    return {
        "kind": kind.value,
        "tasks": count,
        "per_s": round(count / seconds),
        "us_per_task": round(seconds / count * 1e6, 2),
        "cpu_us_per_task": round(busy / count * 1e6, 2),
    }


def main() -> None:
    """Measures async handlers, then handlers in threads (a tenth as many)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=30.0, help="of each task, seconds; 0: none")
    parser.add_argument("--plain-loop", action="store_true", help="asyncio's own loop instead of uvloop")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    run: Any = asyncio.run if args.plain_loop else uvloop.run
    profile = cProfile.Profile()
    if args.profile:
        profile.enable()
    result = run(measure(args.tasks, args.slots, args.timeout, HandlerKind.ASYNC))
    if args.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    threads = run(measure(args.tasks // 10, args.slots, args.timeout, HandlerKind.THREAD))
    print(json.dumps({"async": result, "thread": threads}))


if __name__ == "__main__":
    main()
