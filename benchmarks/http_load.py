"""How long submissions over HTTP take at a steady rate, single and in batches, with everything running.

``python benchmarks/http_load.py [--rate 1000] [--seconds 10] [--batch 100] [--connections 32] [--url URL]``

Without ``--url`` it starts ``laneway up`` in a folder of its own: gateway, poller, a worker that runs what is
submitted, and the embedded Redis with its append-only file. Requests go out at the rate whatever the answers take (open
loop), and each is timed from the moment it was due: what waits for a free connection counts. Afterwards it waits until
every task has ended, so that figures of a queue that only piled up would show. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx
import psutil
import uvloop

from laneway.bench.figures import percentile

TARGET_MS = 20.0
_READY_S = 60.0
_DRAIN_S = 120.0
_APP = '''"""What the load runs."""

from laneway import App

app = App("load", queue="load")


@app.task
async def noop(n: int, text: str = "") -> None:
    """Does nothing."""
'''
_MANIFESTS = """\
apiVersion: laneway.dev/v1alpha1
kind: TaskQueue
metadata: {name: load}
spec: {source: Direct, defaultLane: default}
---
apiVersion: laneway.dev/v1alpha1
kind: PriorityLane
metadata: {name: load-default}
spec: {queueRef: {name: load}, laneName: default, priority: 5}
---
apiVersion: laneway.dev/v1alpha1
kind: WorkerPool
metadata: {name: load}
spec: {queueRef: {name: load}, app: "load_app:app", replicas: 1, processes: 1, concurrency: 64}
"""


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way at most. It parses no more of an answer than its status and
    its length, so that the client takes little of the machine that is measured."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[int] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> asyncio.Future[int]:
        """Sends a request; the future has the answer's status."""
        assert self.transport is not None
        self.answered = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(body) >= length and self.answered is not None and not self.answered.done():
            self.answered.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(ConnectionError("the gateway closed the connection"))


@dataclass
class Load:
    """One round: requests at a rate over a number of connections. Times are in ms."""

    request: bytes
    rate: float
    seconds: float
    times: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    async def run(self, connections: list[Connection]) -> None:
        """Sends them all, and waits for the answers."""
        loop = asyncio.get_running_loop()
        free, waiting = deque(connections), deque[float]()
        total = int(self.rate * self.seconds)
        done = loop.create_future()
        pending = total

        def answered(connection: Connection, due: float, future: asyncio.Future[int]) -> None:
            nonlocal pending
            self.times.append((time.perf_counter() - due) * 1000)
            status = future.result()
            self.statuses[status] = self.statuses.get(status, 0) + 1
            pending -= 1
            if waiting:
                send(connection, waiting.popleft())
            else:
                free.append(connection)
            if not pending:
                done.set_result(None)

        def send(connection: Connection, due: float) -> None:
            connection.send(self.request).add_done_callback(lambda future: answered(connection, due, future))

        began = time.perf_counter()
        for n in range(total):
            due = began + n / self.rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            self.late.append(max(0.0, time.perf_counter() - due) * 1000)
            if free:
                send(free.popleft(), due)
            else:
                waiting.append(due)
        await asyncio.wait_for(done, 60)


def figure(values: list[float], q: float) -> float:
    """A percentile with two decimals; 0 of nothing."""
    return round(percentile(values, q), 2) if values else 0.0


def post(url: str, path: str, body: object) -> bytes:
    """A request as bytes."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


@asynccontextmanager
async def everything() -> AsyncIterator[tuple[str, int]]:
    """``laneway up`` with a queue, a lane, a worker and a gateway; its URL and process id."""
    with tempfile.TemporaryDirectory(prefix="laneway-load-") as folder:
        (Path(folder) / "load_app.py").write_text(_APP)
        (Path(folder) / "manifests.yaml").write_text(_MANIFESTS)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "laneway", "up", "-f", "manifests.yaml", "--port", str(port), "--log-level", "error",
            cwd=folder, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            await _ready(url, process)
            yield url, process.pid
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(_READY_S):
        while True:
            if process.returncode is not None:
                raise SystemExit(f"laneway up ended with exit code {process.returncode}")
            try:
                answer = await client.get(f"{url}/api/v1/queues/load/workers")
                if answer.status_code == 200 and any(w["state"] == "announced" for w in answer.json()["items"]):
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)


def cpu_seconds(up: int) -> dict[str, float]:
    """Processor time that each role under ``laneway up`` has used so far; {} when it is not ours."""
    used: dict[str, float] = {}
    for process in psutil.Process(up).children(recursive=True) if up else []:
        words = " ".join(process.cmdline())
        role = next((name for name in ("gateway", "poller", "worker", "redis") if name in words), "")
        times = process.cpu_times()
        used[role] = used.get(role, 0.0) + times.user + times.system
    return {role: seconds for role, seconds in used.items() if role}


async def _drained(url: str, queue: str) -> float:
    """Seconds until nothing waits or runs any more."""
    began = time.monotonic()
    async with httpx.AsyncClient() as client, asyncio.timeout(_DRAIN_S):
        while True:
            tasks = (await client.get(f"{url}/api/v1/queues/{queue}/stats")).json()["tasks"]
            if not any(tasks[state] for state in ("queued", "running", "dispatched", "parked")):
                return round(time.monotonic() - began, 2)
            await asyncio.sleep(0.05)


async def measure(url: str, up: int, queue: str, args: argparse.Namespace) -> dict[str, object]:
    """Both rounds. ``up``: the process whose children run everything (0: somebody else's)."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    task = {"type": "noop", "payload": {"n": 1, "text": "x" * 60}}
    path = f"/api/v1/queues/{queue}/tasks"
    connections = [
        (await loop.create_connection(Connection, parts.hostname or "127.0.0.1", parts.port or 80))[1]
        for _ in range(args.connections)
    ]
    found: dict[str, object] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    rounds = {
        "single": (post(url, path, task), args.rate, 1),
        "batch": (post(url, f"{path}/batch", [task] * args.batch), max(1.0, args.rate / args.batch), args.batch),
    }
    for name, (request, rate, tasks) in rounds.items():
        await Load(request, min(rate, 200), 1.0).run(connections)  # warms up
        load = Load(request, rate, args.seconds)
        began, before = time.monotonic(), cpu_seconds(up)
        await load.run(connections)
        took = time.monotonic() - began
        drained = await _drained(url, queue)
        after = cpu_seconds(up)
        found |= {
            f"{name}_rate": round(len(load.times) / took, 1),
            f"{name}_tasks_per_s": round(len(load.times) * tasks / took, 1),
            f"{name}_p50_ms": figure(load.times, 50),
            f"{name}_p99_ms": figure(load.times, 99),
            f"{name}_max_ms": figure(load.times, 100),
            f"{name}_sent_late_p99_ms": figure(load.late, 99),
            f"{name}_statuses": load.statuses,
            f"{name}_drained_s": drained,
            f"{name}_cpu_us_per_task": {
                role: round((after[role] - before.get(role, 0.0)) / (len(load.times) * tasks) * 1e6) for role in after
            },
        }
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    return found


async def main(args: argparse.Namespace) -> int:
    """Measures and prints."""
    if args.url:
        found = await measure(args.url, 0, args.queue, args)
    else:
        async with everything() as (url, up):
            found = await measure(url, up, "load", args)
    for name, value in found.items():
        target = f"  (target: under {TARGET_MS:g})" if name == "single_p99_ms" else ""
        print(f"{name:28} {value}{target}")
    print(json.dumps(found))
    wrong = [name for name in ("single", "batch") if set(found[f"{name}_statuses"]) - {200, 201}]  # type: ignore[call-overload]
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0, help="tasks per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    parser.add_argument("--batch", type=int, default=100, help="tasks in one batch")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--url", help="a gateway that runs already")
    parser.add_argument("--queue", default="load")
    sys.exit(uvloop.run(main(parser.parse_args())))
