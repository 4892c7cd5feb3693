"""Free loopback ports that stay free while their server is down."""

import random
import socket
from pathlib import Path

_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000


def _ephemeral_start() -> int:
    try:
        return int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def free_port() -> int:
    """A TCP port that nothing listens on, outside the range the kernel gives to outgoing connections.

    Inside that range a client that keeps dialling a stopped server can be given the server's own port and
    connect to itself, so that a restarted server would find its port taken.
    """
    above = range(max(_LOWEST, 1024), _ephemeral_start())
    candidates = above if len(above) > 100 else range(61_000, 65_000)
    for port in random.sample(candidates, k=min(200, len(candidates))):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on 127.0.0.1")
