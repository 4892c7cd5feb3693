"""A real Redis Cluster of three primaries on loopback."""

import time
from pathlib import Path
from types import TracebackType

from servers.ports import free_port
from servers.process import ServerFailed
from servers.redis import RedisServer

SLOTS = 16_384
_READY_S = 30.0
_POLL_S = 0.02


class RedisCluster:
    """`primaries` servers that share the slots evenly, without replicas. Needs Redis 7 (`cluster-port`)."""

    def __init__(self, binary: Path, *, primaries: int = 3) -> None:
        self.nodes: list[RedisServer] = []
        self._bus_ports: list[int] = []
        for _ in range(primaries):
            bus = free_port()
            extra = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000"]
            extra += ["--cluster-announce-ip", "127.0.0.1"]
            self.nodes.append(RedisServer(binary, extra=extra))
            self._bus_ports.append(bus)

    @property
    def url(self) -> str:
        """The first node; a cluster client finds the others from it."""
        return self.nodes[0].url.removesuffix("/0")

    @property
    def urls(self) -> list[str]:
        """Every node."""
        return [node.url.removesuffix("/0") for node in self.nodes]

    def start(self) -> "RedisCluster":
        """Start the nodes, share out the slots, and return once every node sees the whole cluster as ok."""
        try:
            for node in self.nodes:
                node.start()
            self._join()
            self._wait_ok()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        """Stop every node and delete the temporary folders."""
        for node in self.nodes:
            node.close()

    def flush(self) -> None:
        """Forget all keys and scripts on every node."""
        for node in self.nodes:
            node.flush()

    def _join(self) -> None:
        share = SLOTS // len(self.nodes)
        first = self.nodes[0]
        for index, node in enumerate(self.nodes):
            last = SLOTS - 1 if node is self.nodes[-1] else (index + 1) * share - 1
            # Each node's own epoch must be set while it still knows no other, or they would collide.
            _ok(node, f"CLUSTER SET-CONFIG-EPOCH {index + 1}")
            _ok(node, f"CLUSTER ADDSLOTSRANGE {index * share} {last}")
            if node is not first:
                _ok(node, f"CLUSTER MEET 127.0.0.1 {first.port} {self._bus_ports[0]}")

    def _wait_ok(self) -> None:
        deadline = time.monotonic() + _READY_S
        waiting = list(self.nodes)
        while waiting:
            waiting = [node for node in waiting if not _sees_cluster(node, len(self.nodes))]
            if time.monotonic() > deadline:
                raise ServerFailed(f"the cluster was not ok within {_READY_S:g} s")
            time.sleep(_POLL_S)

    def __enter__(self) -> "RedisCluster":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ok(node: RedisServer, line: str) -> None:
    answer = node.command(line)
    if answer != b"+OK":
        raise ServerFailed(f"{node.process.name} answered {line} with {answer.decode(errors='replace')}")


def _sees_cluster(node: RedisServer, size: int) -> bool:
    lines = node.command("CLUSTER INFO").split(b"\r\n")
    return b"cluster_state:ok" in lines and b"cluster_size:%d" % size in lines
