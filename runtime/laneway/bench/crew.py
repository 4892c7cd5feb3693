"""The processes of a bench: real workers, pollers and gateways, started and ended by their own handles."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from laneway.errors import LanewayError
from laneway.kit.ports import free_port
from laneway.roles.process import SUPERVISOR_ENV
from laneway.roles.stores import server_env
from laneway.roles.worker_options import WorkerOptions, worker_command

_READY_S = 60.0
_STOP_S = 15.0


class BenchFailed(LanewayError):
    """What was to be measured did not work; the message says what went wrong."""


@dataclass(slots=True)
class Member:
    """One process. ``port`` serves its health and metrics; ``wanted`` is False once it was told to end."""

    name: str
    process: asyncio.subprocess.Process
    port: int
    log: Path
    wanted: bool = True

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def rss_mb(self) -> float:
        """The memory that it has in RAM, in MiB."""
        return round(psutil.Process(self.pid).memory_info().rss / 1_048_576, 1)

    def tail(self) -> str:
        """The last lines of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


class Crew:
    """Starts processes for one queue. ``env`` is added to theirs; settings of Laneway in this process's
    environment are not passed on, so that a bench measures what it says."""

    def __init__(self, redis: str, kafka: str | None, namespace: str, queue: str, folder: Path) -> None:
        self._redis, self._kafka = redis, kafka
        self._namespace, self._queue = namespace, queue
        self._folder = folder
        self.env: Mapping[str, str] = {}
        self.members: list[Member] = []

    async def worker(self, *, slots: int) -> Member:
        """One worker process with metrics on, registered and ready."""
        port = free_port()
        command = worker_command(
            WorkerOptions(
                app="laneway.bench.app:app", redis=self._redis, queue=self._queue, namespace=self._namespace,
                kafka=self._kafka, slots=slots, drain=2.0, metrics_port=port, log_format="json",
            )
        )  # fmt: skip
        return await self._start("worker", command, port)

    async def poller(self) -> Member:
        """One poller process with metrics on, ready."""
        port = free_port()
        command = [*self._role("poller"), "--queue", self._queue, "--metrics-port", str(port)]
        return await self._start("poller", command, port)

    async def gateway(self) -> Member:
        """One gateway process, ready."""
        port = free_port()
        command = [*self._role("gateway"), "--queue", self._queue, "--host", "127.0.0.1", "--port", str(port)]
        return await self._start("gateway", command, port)

    def _role(self, role: str) -> list[str]:
        where = ["--namespace", self._namespace]
        return [sys.executable, "-m", "laneway", role, *where, "--log-format", "json"]

    async def _start(self, role: str, command: list[str], port: int) -> Member:
        name = f"{role}-{len(self.members)}"
        log = self._folder / f"{name}.log"
        plain = {key: value for key, value in os.environ.items() if not key.startswith("LANEWAY_")}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**plain, **self.env, **server_env(self._redis, self._kafka), SUPERVISOR_ENV: str(os.getpid())},
                # A session of its own: Ctrl-C is for the bench, which then ends all in order.
                start_new_session=True,
            )
        member = Member(name, process, port, log)
        self.members.append(member)
        try:
            async with asyncio.timeout(_READY_S):
                while not await _answers(port):
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise BenchFailed(f"{name} was not ready in {_READY_S:g} s:\n{member.tail()}") from None
        return member

    def check(self) -> None:
        """Raises BenchFailed when a process has ended by itself."""
        for member in self.members:
            if member.wanted and member.process.returncode is not None:
                raise BenchFailed(f"{member.name} ended ({member.process.returncode}):\n{member.tail()}")

    async def kill(self, member: Member) -> None:
        """Ends one process as a crash would."""
        self._signal(member, signal.SIGKILL)
        await member.process.wait()

    async def stop(self, *members: Member) -> None:
        """Stops these processes, or all: asks, and kills what does not end."""
        for member in members or tuple(reversed(self.members)):
            self._signal(member, signal.SIGTERM)
        for member in members or self.members:
            try:
                await asyncio.wait_for(member.process.wait(), _STOP_S)
            except TimeoutError:
                await self.kill(member)

    def _signal(self, member: Member, number: signal.Signals) -> None:
        member.wanted = False
        if member.process.returncode is None:
            member.process.send_signal(number)


async def _answers(port: int) -> bool:
    """Whether the process on a port says that it is ready."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in await asyncio.wait_for(reader.readline(), 2.0)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
