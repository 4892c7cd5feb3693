"""With the real controllers of Deployments and ReplicaSets: a pool that shrinks keeps the pods that hold tasks."""

from __future__ import annotations

from typing import Any

from tests.operator.running import World, until
from tests.operator.test_scaling import Queue

from servers.redis import RedisServer


def test_the_pods_that_hold_tasks_stay(controlled: World, redis7: RedisServer) -> None:
    redis7.ensure()
    redis7.flush()
    queue = Queue(controlled, redis7.url, "idle")
    queue.pool("wide", stabilization="1s")
    queue.submit(55)
    path = f"/api/v1/namespaces/{controlled.namespace}/pods?labelSelector=laneway.dev/pool%3Dwide"

    def names() -> set[str]:
        items: list[dict[str, Any]] = controlled.client.request("GET", path)["items"]
        return {pod["metadata"]["name"] for pod in items if not pod["metadata"].get("deletionTimestamp")}

    until("six pods", lambda: len(names()) == 6)
    # The names are random, so which of them come first in any order is too.
    busy = sorted(names())[2:4]
    queue.hold(busy[0], 2)
    queue.hold(f"{busy[1]}-0", 3)
    inc, held = queue.hold("elsewhere", 50)
    queue.settle(inc, held)
    queue.size("wide", 2)
    until("two pods", lambda: len(names()) == 2)
    assert names() == set(busy)
