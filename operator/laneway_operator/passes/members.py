"""The lanes and pools that refer to a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from laneway.errors import ConfigError
from laneway.kit.logs import get_logger
from laneway.model.manifests import WorkerPool
from laneway_operator import names
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.keys import ObjectKey
from laneway_operator.observe.manifests import Manifests
from laneway_operator.plan.lanes import Lanes, SeenLane, settle_owners

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Members:
    """``unreadable`` are names of lanes whose objects can't be read; ``generations`` says which generation of each
    PriorityLane was read."""

    lanes: Lanes
    unreadable: frozenset[str]
    generations: Mapping[str, int]
    pools: tuple[WorkerPool, ...]


class MemberReader:
    """Finds them in the cache."""

    def __init__(self, cache: ObjectCache, manifests: Manifests) -> None:
        self._cache = cache
        self._manifests = manifests

    def of(self, queue: ObjectKey) -> Members:
        """The members of a queue now. Lanes that are being deleted are none any more; pools are, until they are gone:
        their workers still run."""
        seen: list[SeenLane] = []
        unreadable: set[str] = set()
        generations: dict[str, int] = {}
        for body in self._cache.find("queue", queue.namespace, queue.name, names.LANE):
            meta = body["metadata"]
            if meta.get("deletionTimestamp"):
                continue
            try:
                lane = self._manifests.lane(body)
            except ConfigError:
                unreadable.add(str((body.get("spec") or {}).get("laneName") or meta["name"]))
                continue
            on_hold = names.paused(body)
            seen.append(SeenLane(lane, str(meta.get("creationTimestamp", "")), on_hold))
            if not on_hold:
                generations[meta["name"]] = int(meta["generation"])
        return Members(settle_owners(seen), frozenset(unreadable), generations, tuple(self._pools(queue)))

    def _pools(self, queue: ObjectKey) -> list[WorkerPool]:
        found = []
        for body in self._cache.find("queue", queue.namespace, queue.name, names.POOL):
            try:
                found.append(self._manifests.pool(body))
            except ConfigError as error:
                _log.warning("a WorkerPool can't be read", pool=body["metadata"]["name"], error=str(error))
        return found
