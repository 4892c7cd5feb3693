"""What the first process of a container owes the others.

The kernel gives process 1 only the signals that it handles, and every process whose parent has died becomes its
child. So as process 1 the program forks at once: the child is what was started, the parent passes signals on, buries
the dead and ends as the child does.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

#: By this exit code a worker asks to be started again. A container that ended would be, but later each time.
_RECYCLE_EXIT = 75
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def become_init() -> None:
    """As process 1: returns in a child that runs the program, and ends with it. Else it does nothing."""
    if os.getpid() != 1:
        return
    while True:
        # Held back until there is somebody to pass them on to.
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            return
        nurse = _Nurse(pid)
        code = nurse.attend()
        if code != _RECYCLE_EXIT or nurse.told_to_end:
            # Whatever else runs is ended by the kernel, with this process.
            os._exit(code)


class _Nurse:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.told_to_end = False

    def attend(self) -> int:
        """Passes signals on until the child ends; returns its exit code as a shell would."""
        before = [(number, signal.signal(number, self._pass_on)) for number in _PASSED_ON]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        while True:
            pid, status = os.wait()
            if pid == self._pid:
                break
        for number, handler in before:
            signal.signal(number, handler)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.told_to_end = self.told_to_end or number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        # (It is not waited for before it ends, so its id is nobody else's.)
        os.kill(self._pid, number)
