"""What every role's process shares: its event loop, its signals, and the wait for a configured queue."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from laneway.errors import ConfigError, LanewayError, ServerRefused
from laneway.kit.logs import get_logger
from laneway.model.config import QueueConfig
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

#: Set by a supervisor to its own process id: when that process is gone, the child stops too.
SUPERVISOR_ENV = "LANEWAY_SUPERVISOR_PID"

#: How long what is left of a process's handlers may take to end after everything else has (s).
_STUCK_S = 0.5

Main = Callable[[asyncio.Event], Awaitable[int]]


def run_role(main: Main) -> int:
    """Runs ``main(stop)`` on uvloop; ``stop`` is set by SIGTERM, SIGINT, or the supervisor's death."""

    async def run() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        watch = asyncio.create_task(_watch_supervisor(stop))
        try:
            code = await main(stop)
        finally:
            watch.cancel()
        await _leave_stuck_handlers(code)
        return code

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


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


async def configured(store: TaskStore, stop: asyncio.Event) -> QueueConfig | None:
    """Waits until the queue is configured and its Redis is fit for it; None when told to stop before.

    Raises:
        ServerRefused: Redis is set up so that promises could not be kept.
    """
    said = ""
    while not stop.is_set():
        try:
            config = await store.config(reload=True)
            for warning in await store.check_server():
                _log.warning(warning)
            return config
        except ServerRefused:
            raise
        except LanewayError as error:
            if str(error) != said:
                said = str(error)
                _log.warning("waiting for the queue", reason=said)
            try:
                await asyncio.wait_for(stop.wait(), 1.0)
            except TimeoutError:
                continue
    return None


def refuse(error: ConfigError) -> int:
    """Says why a role does not start; the exit code is that of wrong usage."""
    _log.error("does not start", reason=str(error))
    return 2
