"""One server process: started, watched and ended by its own handle."""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_S = 0.01
_LIVE: "weakref.WeakSet[ServerProcess]" = weakref.WeakSet()


class ServerFailed(RuntimeError):
    """A server ended, or did not become ready; the message carries the end of its log."""


class ServerProcess:
    """Runs `argv` in the folder `cwd`, with its output appended to the file `log`."""

    def __init__(self, name: str, argv: Sequence[str], *, cwd: Path, log: Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.cwd = cwd
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; an error when it was never started."""
        if self._popen is None:
            raise ServerFailed(f"{self.name} was not started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """True while the process runs (stopped by SIGSTOP counts as running)."""
        return self._popen is not None and self._popen.poll() is None

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the process, in a session of its own so that a terminal's Ctrl-C does not reach it."""
        if self.alive:
            return
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env={**os.environ, **env} if env else None,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _LIVE.add(self)

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready()` is true; raise with the log's end if the process ends or time runs out."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.alive:
                raise ServerFailed(f"{self.name} ended while starting:\n{self.log_tail()}")
            if ready():
                return
            if time.monotonic() > deadline:
                tail = self.log_tail()
                self.kill()
                raise ServerFailed(f"{self.name} was not ready within {timeout:g} s:\n{tail}")
            time.sleep(_POLL_S)

    def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM, and SIGKILL if it still runs after `timeout` seconds. Stopping twice is fine."""
        if self._popen is None or not self.alive:
            return
        self.resume()
        self._popen.terminate()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for the process to be gone."""
        if self._popen is not None and self.alive:
            self._popen.kill()
            self._popen.wait()

    def pause(self) -> None:
        """SIGSTOP: the process stays, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def detach(self) -> None:
        """Leave the process running when this interpreter ends."""
        _LIVE.discard(self)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def _signal(self, number: int) -> None:
        if self._popen is not None and self.alive:
            self._popen.send_signal(number)


class DataFolder:
    """A server's data folder: the caller's own, kept, or a temporary one, removed by `remove()`."""

    def __init__(self, path: Path | None, prefix: str) -> None:
        self.temporary = path is None
        self.path = Path(tempfile.mkdtemp(prefix=prefix)) if path is None else path
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the folder if it is a temporary one."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)


@atexit.register
def _end_what_is_left() -> None:
    for process in list(_LIVE):
        with contextlib.suppress(OSError):
            process.kill()
