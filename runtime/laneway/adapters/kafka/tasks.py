"""Publishing dispatched tasks: several to a record, bounded by bytes, one record or more per worker."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.kafka.publisher import MAX_RECORD, Publisher, Sent
from laneway.adapters.kafka.records import encode_record
from laneway.errors import Unavailable
from laneway.model.servers import KafkaServer
from laneway.model.topics import Topics
from laneway.ports.log import Unpublished
from laneway.ports.store import Claimed

_PER_RECORD = 200


class KafkaTaskPublisher:
    """A TaskPublisher on one queue's tasks topic."""

    def __init__(self, server: KafkaServer | str, topics: Topics) -> None:
        self._publisher = Publisher(server)
        self._topic = topics.tasks

    async def publish(self, tasks: Sequence[tuple[bytes, int, Claimed]]) -> list[Unpublished]:
        groups = _pack(tasks)
        records = [(partition, None, encode_record(inc, batch)) for inc, partition, batch in groups]
        try:
            sent = await self._publisher.publish(self._topic, records)
        except Unavailable:
            return [Unpublished(inc, task, False) for inc, _, task in tasks]
        return [
            # (only a record of one task can be too large: others are bounded far below)
            Unpublished(inc, task, became is Sent.TOO_LARGE and len(batch) == 1)
            for (inc, _, batch), became in zip(groups, sent, strict=True)
            if became is not Sent.DONE
            for task in batch
        ]

    async def close(self) -> None:
        await self._publisher.close()


def _pack(tasks: Sequence[tuple[bytes, int, Claimed]]) -> list[tuple[bytes, int, list[Claimed]]]:
    """Groups neighbours for the same worker, bounded by count and bytes (one larger task goes alone)."""
    groups: list[tuple[bytes, int, list[Claimed]]] = []
    size = 0
    for inc, partition, task in tasks:
        cost = len(task.envelope) + 64
        if not groups or groups[-1][0] != inc or len(groups[-1][2]) >= _PER_RECORD or size + cost > MAX_RECORD:
            groups.append((inc, partition, []))
            size = 0
        groups[-1][2].append(task)
        size += cost
    return groups
