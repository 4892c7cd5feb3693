"""Idle workers go first: before a pool shrinks, each of its pods is told what its deletion would cost.

The controller of ReplicaSets deletes pods of a lower ``controller.kubernetes.io/pod-deletion-cost`` first. The cost is
the number of tasks that the pod's processes hold, by their leases in Redis at this moment. What is chosen then drains:
SIGTERM stops its credits, what runs ends or goes back, and nothing is lost by a task that came in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from laneway.kit.logs import get_logger
from laneway.ports.store import WorkerStats
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError
from laneway_operator.keys import Body, key_of
from laneway_operator.names import DELETION_COST

_log = get_logger(__name__)

_AT_ONCE: Final = 8
_GONE: Final = 5  # the state of a worker that was declared dead: what it held is on its way back


def pod_of(worker: str, pods: Mapping[str, object]) -> str | None:
    """The pod that a worker process runs in, by the worker's name: the pod's own, or that with ``-i`` for process i."""
    if worker in pods:
        return worker
    pod, dash, process = worker.rpartition("-")
    return pod if dash and process.isdecimal() and pod in pods else None


def held_by_pod(pods: Mapping[str, object], workers: Iterable[WorkerStats]) -> dict[str, int]:
    """How many tasks each pod holds; 0 for one that no worker registered from."""
    held = dict.fromkeys(pods, 0)
    for worker in workers:
        pod = pod_of(worker.name, pods)
        if pod is not None and worker.state != _GONE:
            held[pod] += worker.held
    return held


def changed_costs(pods: Iterable[Body], workers: Iterable[WorkerStats]) -> dict[str, int]:
    """The pods, by name, whose annotation says another cost than they have now (none means 0)."""
    by_name = {pod["metadata"]["name"]: pod for pod in pods if not pod["metadata"].get("deletionTimestamp")}
    held = held_by_pod(by_name, workers)
    return {name: cost for name, cost in held.items() if _annotated(by_name[name]) != cost}


async def write_costs(cluster: Cluster, pods: Iterable[Body], workers: Iterable[WorkerStats]) -> int:
    """Annotates the pods whose cost is another now; returns how many. A pod that can't be annotated (it may just be
    gone) is logged and keeps what it had: the order of deletion is a kindness, never a condition.

    Raises:
        NotLeading: nothing more was written.
    """
    there = list(pods)
    costs = changed_costs(there, workers)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def write(pod: Body, cost: int) -> bool:
        change: Body = {"metadata": {"annotations": {DELETION_COST: str(cost)}}}
        async with turn:
            try:
                await cluster.patch(key_of(pod, "Pod"), change)
            except ClusterError as error:
                _log.info("a pod's deletion cost was not written", pod=pod["metadata"]["name"], error=str(error))
                return False
        return True

    named = [(pod, costs[name]) for pod in there if (name := pod["metadata"]["name"]) in costs]
    return sum(await asyncio.gather(*(write(pod, cost) for pod, cost in named)))


def _annotated(pod: Body) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return -1  # somebody wrote nonsense there: ours replaces it
