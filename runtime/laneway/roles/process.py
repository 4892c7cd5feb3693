"""What every role's process shares: its event loop, its signals, and the wait for a configured queue."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from laneway.errors import LanewayError, Refused, ServerRefused
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.model.config import QueueConfig
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

#: Set by a supervisor to its own process id: when that process is gone, the child stops too.
SUPERVISOR_ENV = "LANEWAY_SUPERVISOR_PID"

#: How long what is left of a process's handlers may take to end after everything else has (s).
_STUCK_S = 0.5

#: How often the log says again what is waited for (s).
_SAY_AGAIN_S = 60.0


class Stop(asyncio.Event):
    """Set when the process is to stop. ``waits_for`` says what is waited for then, and ``now`` is called by every
    further Ctrl-C: by default it ends the process at once, with code 130."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_for: Callable[[], str] | None = None
        self.now: Callable[[], None] = _exit_now
        self.hurried = False

    def interrupt(self) -> None:
        """Ctrl-C: the first asks to stop, the second to stop now."""
        if self.is_set():
            self.hurried = True
            self.now()
        else:
            self.ask("; Ctrl-C again stops now")

    def ask(self, hint: str = "") -> None:
        """Asks to stop, and says what that waits for."""
        if not self.is_set() and self.waits_for is not None:
            _log.info(f"stopping: waiting for {self.waits_for()}{hint}")
        self.set()


def _exit_now() -> None:
    _log.warning("stopped at once: what ran here is handed on when the lease has run out")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


Main = Callable[[Stop], Awaitable[int]]


def run_role(main: Main) -> int:
    """Runs ``main(stop)`` on uvloop; ``stop`` is set by SIGTERM, SIGINT, or the supervisor's death. A second
    SIGINT stops now (``stop.now``)."""
    _spare_the_collector()

    async def run() -> int:
        stop = Stop()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.ask)
        loop.add_signal_handler(signal.SIGINT, stop.interrupt)
        watch = asyncio.create_task(_watch_supervisor(stop))
        try:
            code = await main(stop)
        finally:
            watch.cancel()
        await _leave_stuck_handlers(code)
        return code

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _spare_the_collector() -> None:
    """What is loaded by now stays for good, and what tasks leave behind is hardly ever a cycle: to look for cycles
    after each 700 objects, as is the default, takes a quarter of the time of a worker with small tasks."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _leave_stuck_handlers(code: int) -> None:
    """Ends the process now if a handler swallows its cancellation: the end of an event loop would wait for it for ever.
    By now all is settled, closed and handed back, so such a handler works for nobody."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    _, stuck = await asyncio.wait(tasks, timeout=_STUCK_S) if tasks else (set(), set())
    if stuck:
        _log.warning("the process ends without waiting for these", stuck=sorted(task.get_name() for task in stuck))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _watch_supervisor(stop: asyncio.Event) -> None:
    supervisor = os.environ.get(SUPERVISOR_ENV)
    if not supervisor:
        return
    while os.getppid() == int(supervisor):  # noqa: ASYNC110  (nothing tells of a parent's death but this)
        await asyncio.sleep(0.5)
    _log.warning("the supervisor is gone; stopping")
    stop.set()


async def configured(store: TaskStore, stop: asyncio.Event, health: Health | None = None) -> QueueConfig | None:
    """Waits until the queue is configured and its Redis is fit for it; None when told to stop before. Until then
    ``health`` is not ready, and says why; the log says it when it changes, and once a minute.

    Raises:
        ServerRefused: Redis is set up so that promises could not be kept.
    """
    said, said_at = "not asked yet", 0.0
    if health is not None:
        health.require("queue", lambda: said)
    while not stop.is_set():
        try:
            config = await store.config(reload=True)
            for warning in await store.check_server():
                _log.warning(warning)
            if health is not None:
                health.forget("queue")
            return config
        except ServerRefused:
            raise
        except LanewayError as error:
            now = time.monotonic()
            if str(error) != said or now - said_at >= _SAY_AGAIN_S:
                said, said_at = str(error), now
                _log.warning("waiting for the queue", reason=said)
            # A refused password is not cured by asking often, and each time is in Redis's log.
            pause = error.retry_after if isinstance(error, Refused) else 1.0
            try:
                await asyncio.wait_for(stop.wait(), pause * (0.8 + random.random() * 0.4))
            except TimeoutError:
                continue
    return None


def refuse(error: LanewayError) -> int:
    """Says why a role does not start; the exit code is that of wrong usage."""
    _log.error("does not start", reason=str(error))
    return 2
