"""The event log and the dead letters as Kafka topics."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.kafka.publisher import Publisher, Sent
from laneway.errors import Unavailable
from laneway.kit.logs import get_logger
from laneway.model.servers import KafkaServer
from laneway.model.topics import Topics

_log = get_logger(__name__)

#: Bytes of events that share one record.
_PER_RECORD = 500_000


def packed(records: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Events, one to a line, several to a record: a record costs far more than a line. The key is the first one's."""
    out: list[tuple[bytes, bytes]] = []
    lines: list[bytes] = []
    first, size = b"", 0
    for key, value in records:
        if lines and size + len(value) > _PER_RECORD:
            out.append((first, b"\n".join(lines)))
            lines, size = [], 0
        if not lines:
            first = key
        lines.append(value)
        size += len(value) + 1
    return [*out, (first, b"\n".join(lines))] if lines else out


class KafkaEventLog:
    """An EventLog on one queue's topics ``events`` (JSON lines) and ``dead`` (a JSON object each)."""

    def __init__(self, server: KafkaServer | str, topics: Topics) -> None:
        self._publisher = Publisher(server)
        self._topics = {"events": topics.events, "dead": topics.dead}

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        if stream == "events":
            records = packed(records)
        sent = await self._publisher.publish(self._topics[stream], [(None, key, value) for key, value in records])
        lost = sent.count(Sent.LOST)
        if lost:
            raise Unavailable(f"Kafka has not acknowledged {lost} records of {stream}", 1.0)
        for (key, value), became in zip(records, sent, strict=True):
            if became is Sent.TOO_LARGE:
                # The dead-letter index in Redis has it; waiting would hold up everything behind it for ever.
                _log.error("a record is larger than its topic takes; left out", stream=stream, key=key, size=len(value))

    async def close(self) -> None:
        await self._publisher.close()
