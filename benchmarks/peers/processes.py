"""The processes of a system: started in groups of their own, watched, held still, killed, and never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

_STOP_S = 5.0
_READY_S = 60.0


class Failed(RuntimeError):
    """What was to be measured did not work; the message says what went wrong."""


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all below it, those that have ended included where their parent waited."""
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:4])  # user, system, and both of children that were waited for
    return used


class Running:
    """One process that was started, in a session of its own with all its children."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, **pipes: Any) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=dict(env), cwd=cwd, stdin=pipes.get("stdin", subprocess.DEVNULL),
                stdout=pipes.get("stdout", out), stderr=out, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self.process.pid

    def tail(self, lines: int = 15) -> str:
        """The last of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raises Failed when it has ended by itself."""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended ({self.process.returncode}):\n{self.tail()}")

    def pids(self) -> list[int]:
        """The process and all below it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.pid)
            return [root.pid, *(child.pid for child in root.children(recursive=True))]
        return []

    def signal(self, number: signal.Signals) -> None:
        """To the process and all below it, also those that left its group."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Asks it to end, and kills the whole group when it does not."""
        pids = self.pids()
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """SIGKILL to it and all below it, as when a machine or a pod goes."""
        self.signal(signal.SIGKILL)
        self.process.wait()


def wait_quiet(workers: Sequence[Running], *, most: float = 20.0) -> None:
    """Waits until processes have used little processor time for half a second: they are up and wait for work."""
    deadline = time.monotonic() + most
    before = sum(cpu_seconds(worker.pid) for worker in workers)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        for worker in workers:
            worker.check()
        now = sum(cpu_seconds(worker.pid) for worker in workers)
        if now - before < 0.1:
            return
        before = now


class Producer:
    """A system's submitting process; orders and answers are told in systems/shared/producer.py."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._read(_READY_S)

    def order(self, do: str, kind: str, first: int, count: int, to: Sequence[str], **more: Any) -> dict[str, Any]:
        """Has it submit, and returns its answer.

        Raises:
            Failed: it could not, or has ended.
        """
        order = {"do": do, "kind": kind, "first": first, "count": count, "to": list(to), **more}
        assert self.running.process.stdin is not None
        self.running.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.running.process.stdin.flush()
        return self._read(300.0)

    def _read(self, seconds: float) -> dict[str, Any]:
        out = self.running.process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            raise Failed(f"the producer did not answer in {seconds:g} s:\n{self.running.tail()}")
        line = out.readline()
        if not line:
            self.running.process.wait(_STOP_S)
            raise Failed(f"the producer ended:\n{self.running.tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"the producer: {answer['error']}")
        return answer
