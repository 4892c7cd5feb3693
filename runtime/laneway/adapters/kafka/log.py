"""The event log and the dead letters as Kafka topics."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.kafka.names import Topics
from laneway.adapters.kafka.publisher import Publisher
from laneway.errors import Unavailable


class KafkaEventLog:
    """An EventLog on one queue's topics ``events`` and ``dead``."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._publisher = Publisher(bootstrap)
        self._topics = {"events": topics.events, "dead": topics.dead}

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        acknowledged = await self._publisher.publish(
            self._topics[stream], [(None, key, value) for key, value in records]
        )
        if not all(acknowledged):
            raise Unavailable(f"Kafka has not acknowledged {acknowledged.count(False)} records of {stream}", 1.0)

    async def close(self) -> None:
        await self._publisher.close()
