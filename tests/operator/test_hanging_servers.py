"""One tenant's servers that give no answer keep nobody else's queues waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from servers.redis import RedisServer

#: Three times as many as passes run at once.
_HANGING = 50


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken, and nothing is ever said."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        yield int(listener.getsockname()[1])


def _configured(world: World, redis: RedisServer, name: str) -> float:
    """How long it takes, in seconds, until a new queue of this name is configured."""
    began = time.monotonic()
    world.create("TaskQueue", name, {"redis": {"url": redis.url}})
    until(f"{name} is configured", Limiter(redis.url, world.namespace, name).config)
    return time.monotonic() - began


def test_fifty_servers_that_hang_keep_no_other_queue_waiting(
    world: World, redis7: RedisServer, silent_port: int
) -> None:
    redis7.ensure()
    alone = _configured(world, redis7, f"alone-{silent_port}")
    # Each is a server of its own to the operator: none learns from another that it gives no answer.
    hanging = [f"silent-{silent_port}-{n}" for n in range(_HANGING)]
    for n, name in enumerate(hanging):
        url = f"redis://127.0.0.1:{silent_port}/{n}"
        world.create("TaskQueue", name, {"redis": {"url": url}, "drainTimeout": "0s"})
    took = _configured(world, redis7, f"healthy-{silent_port}")
    # (With one pass waiting for another it is 50 / 16 passes of 3 s each, and with the driver's own time 5 s.)
    assert took - alone < 6, f"the healthy queue was configured after {took:.1f} s, and one alone after {alone:.1f} s"
    for name in hanging[::10]:
        told = world.told("TaskQueue", name, "LimiterReady", "False", "DependencyUnavailable")
        assert str(silent_port) in told["message"]
    for name in hanging:
        world.delete("TaskQueue", name)
    until("they are gone", lambda: all(world.find("TaskQueue", name) is None for name in hanging), timeout=60)
    assert world.operator.metric("laneway_operator_reconciles_total", result="timeout") == 0
