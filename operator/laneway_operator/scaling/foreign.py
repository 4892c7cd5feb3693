"""Finds HorizontalPodAutoscalers of others that scale a pool, or its Deployment behind its back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from laneway_operator import names
from laneway_operator.engine.cluster import Cluster
from laneway_operator.keys import Body
from laneway_operator.observe.sharing import LIST_PATIENCE_S, SharedRead

_FRESH_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ForeignAutoscaler:
    """One that is not ours. ``on_deployment``: it scales the Deployment rather than the WorkerPool."""

    name: str
    on_deployment: bool


def foreign_autoscaler(bodies: Iterable[Body], pool: str) -> ForeignAutoscaler | None:
    """The first of ``bodies`` (HPAs of the pool's namespace) that scales the pool and was not made for it."""
    for body in sorted(bodies, key=lambda body: str(body["metadata"]["name"])):
        if body["metadata"].get("labels", {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY:
            continue
        target = body.get("spec", {}).get("scaleTargetRef", {})
        if target.get("kind") == names.POOL and target.get("name") == pool:
            return ForeignAutoscaler(body["metadata"]["name"], False)
        if target.get("kind") == "Deployment" and target.get("name") == names.worker_name(pool):
            return ForeignAutoscaler(body["metadata"]["name"], True)
    return None


class ForeignAutoscalers:
    """Lists the HPAs of a namespace at most twice a minute, for all of its pools together."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._reads: dict[str, SharedRead[list[Body]]] = {}

    async def of_pool(self, namespace: str, pool: str) -> ForeignAutoscaler | None:
        """Raises ClusterError when they can't be listed."""
        read = self._reads.get(namespace)
        if read is None:

            async def everything() -> list[Body]:
                return await self._cluster.list("HorizontalPodAutoscaler", namespace)

            read = self._reads[namespace] = SharedRead(
                everything, _FRESH_S, self._clock, of="the API server", patience=LIST_PATIENCE_S
            )
        return foreign_autoscaler(await read(), pool)

    async def close(self) -> None:
        """Ends the reads under way."""
        for read in self._reads.values():
            await read.close()
