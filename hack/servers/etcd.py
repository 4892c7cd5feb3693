"""A real etcd on loopback, for one API server."""

import socket
from pathlib import Path

from servers.ports import free_port
from servers.process import ServerProcess

_READY_S = 30.0


class EtcdServer:
    """One etcd whose data is in the folder `dir`; it does not wait for the disk, so it is for tests only."""

    def __init__(self, binary: Path, dir: Path) -> None:
        dir.mkdir(parents=True, exist_ok=True)
        self.port, peers = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [str(binary), "--name=laneway", f"--data-dir={dir / 'data'}", "--unsafe-no-fsync"]
        argv += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        peer = f"http://127.0.0.1:{peers}"
        argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        argv += [f"--initial-cluster=laneway={peer}", "--logger=zap", "--log-level=warn"]
        # A day of test objects fits by far; the default of 2 GB is reached in a long bench.
        argv += ["--quota-backend-bytes=8000000000", "--auto-compaction-retention=10m"]
        self.process = ServerProcess(f"etcd on port {self.port}", argv, cwd=dir, log=dir / "etcd.log")

    def start(self) -> "EtcdServer":
        """Start it, and return once it listens."""
        self.process.start()
        self.process.wait_ready(self._listens, _READY_S)
        return self

    def stop(self) -> None:
        """SIGTERM."""
        self.process.stop()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
