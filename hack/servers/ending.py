"""Ends processes that are not this one's children, which `subprocess` cannot do."""

import contextlib
import time
from collections.abc import Sequence

import psutil

_POLL_S = 0.02
_CLOCK_S = 2.0


def same_process(pid: int, started: float) -> psutil.Process | None:
    """The process with this pid, if it still runs and is the one that began at `started`."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        # The start time is reckoned from the clock, which may have been set a little since.
        if abs(process.create_time() - started) < _CLOCK_S and not _gone(process):
            return process
    return None


def end(processes: Sequence[psutil.Process], *, grace: float, timeout: float = 10.0) -> list[psutil.Process]:
    """SIGTERM, after `grace` seconds (0: at once) SIGKILL; those that are still there `timeout` seconds later."""
    if grace > 0:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
    left = _wait(processes, grace)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return _wait(left, timeout)


def _wait(processes: Sequence[psutil.Process], timeout: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout
    while left := [process for process in processes if not _gone(process)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    return left


def _gone(process: psutil.Process) -> bool:
    # A zombie has ended: when its parent takes note of that is the parent's affair.
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
