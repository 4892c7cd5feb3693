"""The base of everything that loops: started, supervised and stopped in one way."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Literal

from laneway.kit.health import Health, Mark
from laneway.kit.logs import get_logger

_log = get_logger(__name__)


class Service:
    """A supervised loop. Subclasses write :meth:`run`, and :meth:`on_start` and :meth:`on_stop` around it.

    An exception that escapes ``run`` is logged with its traceback and counted, and ``run`` is called again
    after a pause that doubles (with jitter) from ``first_pause`` up to ``longest_pause`` seconds; it starts
    anew once a run has made progress for ``longest_pause``. A run that returns ends the service. ``run``
    calls :meth:`touch` whenever it gets somewhere, idle turns included; a loop that keeps breaking makes no
    progress, so health sees it as well. ``trouble`` says what keeps it from its work now, a server that is away say:
    health answers mention it, and stay what they are, since no restart would help.
    """

    def __init__(
        self,
        name: str,
        *,
        health: Health | None = None,
        allowed_silence: float = 10.0,
        grace: float = 5.0,
        first_pause: float = 0.1,
        longest_pause: float = 10.0,
        on_failure: Callable[[str, Exception], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``grace``: seconds that ``run`` gets to return after :meth:`stop`, before it is cancelled."""
        self.name = name
        self.grace = grace
        self.mark = Mark(name, allowed_silence, clock)
        self.trouble: str | None = None
        self._health = health
        self._allowed_silence = allowed_silence
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._on_failure = on_failure
        self._clock = clock
        self._state: Literal["new", "starting", "started", "stopped"] = "new"
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Gets what the loop needs. What it raises, :meth:`start` raises."""

    async def run(self) -> None:
        """The loop: goes on until :attr:`stopping`."""
        raise NotImplementedError

    async def on_stop(self) -> None:
        """Gives back what :meth:`on_start` got; called once, after the loop has ended."""

    async def start(self) -> None:
        """Starts the loop; returns once it runs. Starting twice is fine.

        Raises:
            RuntimeError: it was stopped before; make a new one.
        """
        if self._state in ("starting", "started"):
            return
        if self._state == "stopped":
            raise RuntimeError(f"service {self.name} was stopped; a service is started once")
        self._state = "starting"
        try:
            await self.on_start()
        except BaseException:
            self._state = "stopped"
            self._ended.set()
            raise
        if self._stopping.is_set():  # stop() came while on_start was at work
            await self._finish()
            return
        if self._health is not None:
            self.mark = self._health.watch(self.name, self._allowed_silence)
            self._health.note(self.name, lambda: self.trouble)
        self._state = "started"
        self.touch()
        self._task = asyncio.create_task(self._supervise(), name=self.name)

    @property
    def started(self) -> bool:
        """Whether it was started and has not ended."""
        return self._state == "started"

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopping.is_set()

    @property
    def failures(self) -> int:
        """How often the loop broke."""
        return self.mark.failures

    def touch(self) -> None:
        """Marks progress."""
        self.mark.touch()

    async def pause(self, seconds: float) -> bool:
        """Sleeps, but not past :meth:`stop`. Returns whether to go on."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return not self._stopping.is_set()
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def stop(self) -> None:
        """Asks the loop to end, waits ``grace`` seconds, then cancels it. Twice, or before starting, is fine;
        called by the loop itself, it only asks."""
        self._stopping.set()
        if self._state == "new":
            self._state = "stopped"
            self._ended.set()
        if self._task is asyncio.current_task():
            return
        if self._task is not None and not self._task.done():
            _, late = await asyncio.wait({self._task}, timeout=self.grace)
            if late:
                _log.warning("loop did not end in time; cancelling it", service=self.name, grace=self.grace)
                self._task.cancel()
                await asyncio.wait({self._task})
            if not self._ended.is_set():  # cancelled before its first step, so it could not finish by itself
                await self._finish()
        await self._ended.wait()

    async def wait_ended(self) -> None:
        """Waits until the service has ended, by :meth:`stop` or by itself."""
        await self._ended.wait()

    async def _supervise(self) -> None:
        try:
            await self._run_again_and_again()
        finally:
            await self._finish()

    async def _run_again_and_again(self) -> None:
        pause = self._first_pause
        while not self._stopping.is_set():
            began = self._clock()
            try:
                await self.run()
                return
            except Exception as error:
                self.mark.failures += 1
                if self.mark.last - began > self._longest_pause:
                    pause = self._first_pause
                wait = pause * (0.5 + random.random() / 2)
                pause = min(pause * 2, self._longest_pause)
                _log.error(
                    "loop broke; it starts again",
                    service=self.name,
                    failures=self.mark.failures,
                    again_in=round(wait, 3),
                    exc_info=True,
                )
                if self._on_failure is not None:
                    self._on_failure(self.name, error)
            await self.pause(wait)

    async def _finish(self) -> None:
        try:
            await self.on_stop()
        except Exception:
            _log.exception("stopping failed", service=self.name)
        finally:
            self.trouble = None
            if self._health is not None:
                self._health.unwatch(self.name)
            self._state = "stopped"
            self._ended.set()
