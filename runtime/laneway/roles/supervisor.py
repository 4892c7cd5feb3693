"""The supervisor: keeps child processes running, restarts those that end, and stops them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from laneway.kit.logs import get_logger

_log = get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
#: A child that lived for so many seconds is restarted at once, with a fresh backoff.
_STEADY = 20.0
#: The exit code of a worker that asks to be replaced (recycling): that is not a failure.
RECYCLE_EXIT = 75
#: The exit code of a role whose settings are wrong.
_REFUSED_EXIT = 2


@dataclass(slots=True)
class Child:
    """One process to keep running. ``grace`` (s) is how long it may take to stop before it is killed."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    grace: float = 30.0
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    started: float = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None

    @property
    def age(self) -> float | None:
        """Seconds since it was started, while it runs."""
        return None if self.pid is None else time.monotonic() - self.started


class Supervisor:
    """Starts children in the order given; :meth:`stop` says in which order they stop. ``refused`` is set when one says
    by its exit code that its settings are wrong."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = list(children)
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.refused = asyncio.Event()

    async def start(self) -> None:
        """Starts every child and keeps it running."""
        for child in self.children:
            await self._launch(child)
            self._keepers.append(asyncio.create_task(self._keep(child), name=f"keep-{child.name}"))

    async def _launch(self, child: Child) -> None:
        child.process = await asyncio.create_subprocess_exec(
            *child.command,
            env={**os.environ, **child.env},
            # Its own session: Ctrl-C at the terminal reaches the supervisor, which then stops children in order.
            start_new_session=True,
        )
        child.started = time.monotonic()
        _log.info("started", child=child.name, pid=child.process.pid)
        if self._stopping:  # (asked to stop while this one was being started: nobody else will tell it)
            self._signal(child, signal.SIGTERM)

    async def _keep(self, child: Child) -> None:
        pause = _FIRST_PAUSE
        while True:
            assert child.process is not None
            began = time.monotonic()
            code = await child.process.wait()
            if self._stopping:
                return
            child.restarts += 1
            if code == _REFUSED_EXIT:
                self.refused.set()
            if code == RECYCLE_EXIT or time.monotonic() - began > _STEADY:
                pause = _FIRST_PAUSE
            if code == RECYCLE_EXIT:
                _log.info("replaced", child=child.name)
            else:
                _log.warning("ended; it starts again", child=child.name, code=code, again_in=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            if not self._going_on():
                return
            await self._launch(child)

    def _going_on(self) -> bool:
        return not self._stopping

    async def stop(self) -> None:
        """Stops the children in order: the gateway, so that nothing new comes in; then the workers, all at once; then
        the rest (pollers), which see the end of what workers leave. Each is asked, waited for, and killed after its
        grace."""
        self._stopping = True
        for group in range(3):
            children = [child for child in self.children if _stop_group(child) == group]
            for child in children:
                self._signal(child, signal.SIGTERM)
            await asyncio.gather(*(self._wait(child) for child in children))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def kill(self) -> None:
        """Ends every child now. :meth:`stop`, also one that waits already, then has nothing left to wait for."""
        self._stopping = True
        for child in self.children:
            self._signal(child, signal.SIGKILL)

    def _signal(self, child: Child, number: int) -> None:
        if child.pid is not None:
            assert child.process is not None
            child.process.send_signal(number)

    async def _wait(self, child: Child) -> None:
        if child.process is None:
            return
        try:
            await asyncio.wait_for(child.process.wait(), child.grace)
        except TimeoutError:
            _log.error("did not stop in time; killing it", child=child.name, grace=child.grace)
            self._signal(child, signal.SIGKILL)
            await child.process.wait()


def _stop_group(child: Child) -> int:
    if child.name.startswith("gateway"):
        return 0
    return 1 if child.name.startswith("worker") else 2
