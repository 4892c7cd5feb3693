"""What pools need now, computed as the operator does it, from the same depths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from laneway.adapters.redis.depths import DepthReader, QueueName
from laneway.errors import LanewayError, Unavailable
from laneway.model.manifests import WorkerPool
from laneway.model.servers import RedisServer
from laneway.policy.scaling import load
from laneway.ports.store import Depth
from laneway_operator import names
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError
from laneway_operator.keys import Body
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.secrets import SecretForbidden, SecretNotFound
from laneway_operator.observe.servers import SecretInvalid, ServerReader
from laneway_operator.observe.sharing import LIST_PATIENCE_S, SharedRead
from laneway_operator.scaling.rules import SOON_MS, rule_of, share_of, work_of

#: Objects are listed again after so long (s), for all who ask.
_OBJECTS_S: Final = 3.0
#: A depth serves all who ask within so long (s).
_DEPTH_S: Final = 1.0
_NAMESPACES: Final = 500
#: A connection that nobody asked for in so long (s) is closed.
_UNUSED_S: Final = 60.0


class Unreadable(Exception):
    """A pool's load can't be told now; the message says why. It must never pass for 0."""


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """One pool's value: ``load`` is the replicas needed, not rounded; ``at`` when that was read."""

    pool: str
    queue: str
    load: float
    at: datetime


@dataclass(frozen=True, slots=True)
class _Objects:
    pools: dict[str, Body]
    queues: dict[str, Body]


class PoolLoads:
    """Reads on demand, and shares what it read. ``clock`` gives seconds; ``cluster`` needs no fence: nothing is
    written."""

    def __init__(
        self,
        cluster: Cluster,
        servers: ServerReader,
        clock: Callable[[], float],
        *,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._servers = servers
        self._clock = clock
        self._today = today
        self._manifests = Manifests()
        self._objects: dict[str, SharedRead[_Objects]] = {}
        self._readers: dict[RedisServer, DepthReader] = {}
        self._used: dict[RedisServer, float] = {}
        self._depths: dict[tuple[RedisServer, QueueName], tuple[float, Depth, datetime]] = {}

    async def of(self, namespace: str, matches: Callable[[dict[str, str]], bool]) -> list[PoolLoad]:
        """The loads of the scaled pools in a namespace whose labels (``pool`` and ``queue``) match.

        Raises:
            Unreadable: one of them can't be told.
        """
        try:
            objects = await self._read(namespace)
        except (ClusterError, Unavailable) as error:
            raise Unreadable(f"the pools of namespace {namespace} can't be listed: {error}") from error
        found = []
        for name, body in sorted(objects.pools.items()):
            if not (body.get("spec") or {}).get("scaling"):
                continue
            if matches({"pool": name, "queue": names.queue_of(body)}):
                found.append(await self._of_pool(namespace, name, body, objects))
        return found

    async def _of_pool(self, namespace: str, name: str, body: Body, objects: _Objects) -> PoolLoad:
        try:
            pool = self._manifests.pool(body)
            queue = pool.spec.queueRef.name
            if queue not in objects.queues:
                raise Unreadable(f"pool {name}: there is no TaskQueue {queue} in namespace {namespace}")
            server = (await self._servers.of_queue(self._manifests.queue(objects.queues[queue]))).redis
            depth, at = await self._depth(server, QueueName(namespace, queue))
        except (LanewayError, SecretNotFound, SecretForbidden, SecretInvalid, ClusterError) as error:
            raise Unreadable(f"pool {name}: {error}") from error
        return PoolLoad(name, queue, self._load(pool, depth, objects), at)

    def _load(self, pool: WorkerPool, depth: Depth, objects: _Objects) -> float:
        queue = pool.spec.queueRef.name
        siblings = [body for body in objects.pools.values() if names.queue_of(body) == queue]
        return load(rule_of(pool), work_of(depth), share_of(pool, siblings))

    async def _depth(self, server: RedisServer, queue: QueueName) -> tuple[Depth, datetime]:
        known = self._depths.get((server, queue))
        if known is not None and self._clock() - known[0] < _DEPTH_S:
            return known[1], known[2]
        reader = self._readers.get(server)
        if reader is None:
            reader = self._readers[server] = DepthReader(server)
        self._used[server] = self._clock()
        await self._close_unused()
        read = (await reader.read([queue], SOON_MS))[queue]
        if not isinstance(read, Depth):
            raise read
        if len(self._depths) > 10_000:
            self._depths.clear()
        at = self._today()
        self._depths[server, queue] = (self._clock(), read, at)
        return read, at

    async def _close_unused(self) -> None:
        """A server that nobody asked about for a while has no queue any more, or its queues have other credentials."""
        for server in [one for one, used in self._used.items() if self._clock() - used > _UNUSED_S]:
            del self._used[server]
            await self._readers.pop(server).close()

    async def _read(self, namespace: str) -> _Objects:
        shared = self._objects.get(namespace)
        if shared is None:
            if len(self._objects) >= _NAMESPACES:
                await self._forget_objects()

            async def everything() -> _Objects:
                pools = await self._cluster.list(names.POOL, namespace)
                queues = await self._cluster.list(names.QUEUE, namespace)
                return _Objects(_by_name(pools), _by_name(queues))

            shared = self._objects[namespace] = SharedRead(
                everything, _OBJECTS_S, self._clock, of="the API server", patience=LIST_PATIENCE_S
            )
        return await shared()

    async def _forget_objects(self) -> None:
        reads, self._objects = list(self._objects.values()), {}
        for read in reads:
            await read.close()

    async def close(self) -> None:
        """Closes connections."""
        await self._forget_objects()
        for reader in self._readers.values():
            await reader.close()
        self._readers.clear()
        self._used.clear()


def _by_name(bodies: list[Body]) -> dict[str, Body]:
    return {str(body["metadata"]["name"]): body for body in bodies}
