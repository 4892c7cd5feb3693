"""An API server that stands still for longer than the leader may write: once it goes on, so does all work."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from servers.envtest import Envtest
from servers.redis import RedisServer

#: Longer than the 6 s in which a leader may write, shorter than the 10 s after which another could lead; what a
#: renewal meets in between differs from one try to the next.
_STANDSTILLS_S = (8.0, 8.5, 9.0)
_ANSWER_DELAY_S = 0.3


@pytest.fixture
def slow_redis(redis7: RedisServer) -> Iterator[int]:
    """A port whose Redis takes a while for each request, so that passes are under way when the lease is late."""
    redis7.ensure()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def pump(source: socket.socket, to: socket.socket, delay: float) -> None:
        try:
            while data := source.recv(65_536):
                time.sleep(delay)
                to.sendall(data)
        except OSError:
            return
        finally:
            to.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", redis7.port))
            for source, to, delay in ((client, server, _ANSWER_DELAY_S), (server, client, 0.0)):
                threading.Thread(target=pump, args=(source, to, delay), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.close()


def _checks(world: World) -> dict[str, str]:
    """The loops that /healthz knows, with how they are."""
    with urllib.request.urlopen(f"http://127.0.0.1:{world.operator.port}/healthz", timeout=5) as answer:
        found: dict[str, str] = json.load(answer)["checks"]
    return found


def test_queues_are_looked_after_again_once_a_late_lease_was_renewed(
    world: World, envtest: Envtest, redis7: RedisServer, slow_redis: int
) -> None:
    queues = ("late-a", "late-b", "late-c")
    for name in queues:
        world.create("TaskQueue", name, {"redis": {"url": f"redis://127.0.0.1:{slow_redis}/0"}})
        world.run_queue(name)
    for standstill in _STANDSTILLS_S:
        os.kill(envtest.pid, signal.SIGSTOP)
        try:
            time.sleep(standstill)
        finally:
            os.kill(envtest.pid, signal.SIGCONT)
        until("it leads again", lambda: world.operator.metric("laneway_operator_leader") == 1, timeout=30)
        assert "depth-watch" in _checks(world)
        for name in queues:
            Limiter(redis7.url, world.namespace, name).edit(whole=False, max_depth=3)
        for name in queues:
            limiter = Limiter(redis7.url, world.namespace, name)
            until(f"{name} is repaired after {standstill:g} s", limiter.parts_agree, timeout=30)
