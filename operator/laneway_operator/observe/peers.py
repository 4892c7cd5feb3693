"""The servers that queues are on, each with one client, for as long as a queue is on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from laneway.model.servers import KafkaServer, RedisServer
from laneway_operator.engine.fence import Fence
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.observe.limiter import RedisPeer
from laneway_operator.observe.topics import KafkaPeer

#: A client that no pass asked for in so long (s) is closed: its queue is gone, or has other credentials now.
UNUSED_S: Final = 60.0


class Peers:
    """Finds or makes the client of a server. Other credentials are another client, so a rotation reconnects."""

    def __init__(self, fence: Fence, metrics: OperatorMetrics, clock: Callable[[], float]) -> None:
        self._fence = fence
        self._metrics = metrics
        self._clock = clock
        self._redis: dict[RedisServer, RedisPeer] = {}
        self._kafka: dict[KafkaServer, KafkaPeer] = {}
        self._used: dict[RedisServer | KafkaServer, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def redis(self, server: RedisServer) -> RedisPeer:
        """Raises ConfigError when a certificate's file is wrong."""
        self._touch(server)
        peer = self._redis.get(server)
        if peer is None:
            peer = self._redis[server] = RedisPeer(server, self._fence, self._clock, self._count_redis)
        return peer

    def kafka(self, server: KafkaServer) -> KafkaPeer:
        """Raises ConfigError when a certificate's file is wrong."""
        self._touch(server)
        peer = self._kafka.get(server)
        if peer is None:
            peer = self._kafka[server] = KafkaPeer(server, self._fence, self._clock, self._count_kafka)
        return peer

    async def close(self) -> None:
        """Closes all clients."""
        peers: list[RedisPeer | KafkaPeer] = [*self._redis.values(), *self._kafka.values()]
        self._redis.clear()
        self._kafka.clear()
        self._used.clear()
        await asyncio.gather(*(peer.close() for peer in peers), *self._closing)

    def _touch(self, server: RedisServer | KafkaServer) -> None:
        now = self._clock()
        self._used[server] = now
        for old in [old for old, at in self._used.items() if now - at > UNUSED_S]:
            del self._used[old]
            peer = self._redis.pop(old, None) if isinstance(old, RedisServer) else self._kafka.pop(old, None)
            if peer is not None:
                task = asyncio.create_task(peer.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _count_redis(self, operation: str, well: bool) -> None:
        self._metrics.redis_requests.labels(operation, "ok" if well else "failed").inc()

    def _count_kafka(self, operation: str, well: bool) -> None:
        self._metrics.kafka_requests.labels(operation, "ok" if well else "failed").inc()
