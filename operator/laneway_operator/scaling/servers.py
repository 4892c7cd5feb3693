"""Which Redis a queue is on, for what looks at queues between passes."""

from __future__ import annotations

from typing import Protocol

from laneway.errors import ConfigError
from laneway.model.servers import RedisServer
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.keys import ObjectKey
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.servers import ServerReader


class QueueServers(Protocol):
    """Finds the Redis of queues."""

    async def redis(self, queue: ObjectKey) -> RedisServer:
        """The queue's Redis. Raises an Exception whose message says why there is none."""
        ...

    def generation(self, queue: ObjectKey) -> object:
        """What changes when the queue may have moved to another Redis."""
        ...


class CachedQueueServers:
    """By the TaskQueues in the operator's cache, and the Secrets that they name."""

    def __init__(self, cache: ObjectCache, manifests: Manifests, servers: ServerReader) -> None:
        self._cache = cache
        self._manifests = manifests
        self._servers = servers

    async def redis(self, queue: ObjectKey) -> RedisServer:
        """Raises ConfigError when there is no such TaskQueue or it names no Redis, and as ServerReader does."""
        body = self._cache.get(queue)
        if body is None:
            raise ConfigError(f"there is no TaskQueue {queue.name} in namespace {queue.namespace}")
        return (await self._servers.of_queue(self._manifests.queue(body))).redis

    def generation(self, queue: ObjectKey) -> object:
        """The uid and generation of the TaskQueue."""
        body = self._cache.get(queue)
        return None if body is None else (body["metadata"].get("uid"), body["metadata"].get("generation"))
