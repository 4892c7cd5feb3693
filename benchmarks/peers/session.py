"""One workload of one system: a fresh Redis with its append-only file, fresh processes, gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers.install import Installed
from benchmarks.peers.processes import Failed, Producer, Running, cpu_seconds, wait_quiet
from benchmarks.peers.reading import Marks
from benchmarks.peers.settings import WARM_UP
from benchmarks.peers.system import SYSTEMS, Crew, System
from redis import Redis

from servers.kafka import KafkaServer
from servers.redis import RedisServer, find_redis7

_LOOK_S = 0.002


class Session:
    """Starts what the system needs; ``tasks`` is how many the workload numbers, from 0.

    ``state`` is the system's own, for what it prepares once and needs again.
    """

    def __init__(self, system: System, installed: Installed, plan: str, tasks: int, kafka: KafkaServer | None) -> None:
        binary = find_redis7()
        if binary is None:
            raise Failed("redis-server 7 or newer is not on PATH (Debian: apt-get install redis-server)")
        self.system, self.installed, self.plan, self.kafka = system, installed, plan, kafka
        self.tasks = tasks
        self.state: dict[str, Any] = {}
        self.queue = f"peer-{os.urandom(4).hex()}"
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="laneway-peers-"))
        self.marks = Marks(self.folder, tasks + WARM_UP)
        self.server = RedisServer(binary, dir=self.folder / "redis")
        self.workers: list[Running] = []
        self.background: list[Running] = []
        self._warm = tasks
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """Of this session's Redis."""
        return self.server.url

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            undo.callback(self.loop.close)
            self.server.start()
            undo.callback(self.server.kill)
            self.redis = Redis(host=self.server.host, port=self.server.port)
            undo.callback(self.redis.close)
            if self.system.prepare:
                self.system.prepare(self)
                undo.callback(lambda: self.state.get("close", lambda: None)())
            undo.callback(self._stop_all)
            if self.system.background:
                self.background = [self._start(command, 0, "background") for command in self.system.background(self)]
            self.producer_process = self._start(
                list(self.installed.produce), 0, "producer", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self.producer = Producer(self.producer_process)
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _stop_all(self) -> None:
        producer = getattr(self, "producer_process", None)
        for running in (*self.workers, *([producer] if producer else []), *self.background):
            running.stop()

    def _start(self, command: list[str], slots: int, role: str, **pipes: Any) -> Running:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LANEWAY_", "PEER_", "PYTHONPATH"))}
        shared = f"{SYSTEMS / 'shared'}{os.pathsep}{self.system.path}"
        if self.system.ours:
            shared = os.pathsep.join((shared, os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep)
            env |= {"LANEWAY_REDIS_URL": self.url, "LANEWAY_QUEUE": self.queue}
            env |= {"LANEWAY_KAFKA": self.kafka.bootstrap} if self.system.kafka and self.kafka else {}
        env |= {
            "PYTHONPATH": shared, "PYTHONDONTWRITEBYTECODE": "1", "PEER_REDIS": self.url, "PEER_QUEUE": self.queue,
            "PEER_PLAN": self.plan, "PEER_MARKS": str(self.folder), "PEER_TASKS": str(self.tasks + WARM_UP),
            "PEER_SLOTS": str(slots),
        }  # fmt: skip
        return Running(command, env, self.installed.folder, self.folder / f"{role}.log", **pipes)

    # -- workers

    def start_workers(self, processes: int, slots: int | None = None, *, ready: str = "warm") -> list[Running]:
        """Starts worker processes; returns when each has run tasks (``ready`` warm), when they are at rest (rest), or
        at once (started)."""
        crew = Crew(self.plan, processes, slots or self.system.slots, self.installed.bin)
        started = [self._start(command, crew.slots, "worker") for command in self.system.workers(crew)]
        self.workers += started
        if ready == "warm":
            self._warm_up(self.system.files(crew))
        elif ready == "rest":
            wait_quiet(started)
        return started

    def _warm_up(self, files: int) -> None:
        """No-op tasks until each process has run some; then until nothing is left to settle."""
        deadline = time.monotonic() + 45.0
        while True:
            first = self._warm
            batch = min(100, self.tasks + WARM_UP - first)
            if batch <= 0:
                raise Failed(f"only {len(self.marks.files())} of {files} worker processes take tasks")
            self._warm += batch
            self.producer.order("bulk", "noop", first, batch, ["normal"])
            self.wait(
                lambda first=first, batch=batch: not self.marks.missing(first, first + batch), deadline, "warm up"
            )
            if len(self.marks.files()) >= files:
                break
            time.sleep(0.05)
        self.wait(lambda: not self.system.pending(self), deadline, "settling of the tasks that warm up")

    def check(self) -> None:
        """Raises Failed when something that should run has ended."""
        for running in (*self.workers, *self.background):
            running.check()

    def wait(self, done: Any, deadline: float, what: str) -> None:
        """Looks each 2 ms until ``done()``.

        Raises:
            Failed: the deadline (monotonic seconds) passed, or a process ended.
        """
        looks = 0
        while not done():
            looks += 1
            if looks % 100 == 0:
                self.check()
            if time.monotonic() > deadline:
                tails = "\n".join(running.tail(5) for running in self.workers[:1])
                raise Failed(f"{what}: not done in time\n{tails}".strip())
            time.sleep(_LOOK_S)

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time used so far, by role."""
        used = {
            "worker": sum(cpu_seconds(worker.pid) for worker in self.workers),
            "redis": cpu_seconds(self.server.pid),
            "producer": cpu_seconds(self.producer_process.pid),
        }
        if self.background:
            used["background"] = sum(cpu_seconds(each.pid) for each in self.background)
        if self.system.kafka and self.kafka:
            used["kafka"] = cpu_seconds(self.kafka.pid)
        return used

    def cpu_us(self, before: dict[str, float], tasks: int, roles: Iterable[str] = ()) -> dict[str, float]:
        """Microseconds of processor time per task since ``before``, by role, of all or some roles."""
        after = self.cpu()
        wanted = set(roles) or after.keys()
        return {role: (after[role] - before[role]) * 1e6 / tasks for role in after if role in wanted}
