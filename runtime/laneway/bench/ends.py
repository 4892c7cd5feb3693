"""What the event log says of how tasks ended: one entry per settlement that was accepted."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from laneway.bench.ground import NAMESPACE, Ground
from laneway.model.topics import Topics
from laneway.tend.relay import Event

_FINAL = frozenset({"succeeded", "dead", "cancelled", "expired"})
_decode = msgspec.json.Decoder(Event).decode


async def final_events(ground: Ground) -> dict[str, list[str]]:
    """Per task id, the kinds of its final events. An event that was published twice counts once."""
    seen: set[tuple[str, str]] = set()
    ends: dict[str, list[str]] = defaultdict(list)
    for raw in await (_from_kafka(ground.kafka, ground.queue) if ground.kafka else _from_stream(ground)):
        event = _decode(raw)
        if event.kind in _FINAL:
            for task in [id_ for group in event.tasks for id_ in group.ids]:
                if (task, event.sequence) not in seen:
                    seen.add((task, event.sequence))
                    ends[task].append(event.kind)
    return ends


async def _from_stream(ground: Ground) -> list[bytes]:
    rows = await ground.redis.xrange(ground.store.keys.log("events"))
    return [fields[b"r"] for _, fields in rows]


async def _from_kafka(kafka: str, queue: str) -> list[bytes]:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    topic = TopicPartition(Topics.of(NAMESPACE, queue).events, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([topic])
        await consumer.seek_to_beginning(topic)
        end = (await consumer.end_offsets([topic]))[topic]
        values: list[bytes] = []
        while await consumer.position(topic) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                values += [line for record in records for line in record.value.splitlines()]
        return values
    finally:
        await consumer.stop()
