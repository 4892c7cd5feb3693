"""What became of all tasks that were acknowledged: from their records, from the sets, and from the log of events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from laneway.adapters.kafka.admin import TopicAdmin
from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import connect
from laneway.kit.ids import id_text
from laneway.model.topics import Topics
from laneway.ports.store import TaskView
from laneway.tend.relay import DeadLetter, Event

_FINAL = frozenset({"succeeded", "dead", "cancelled", "expired"})
_event = msgspec.json.Decoder(Event).decode
_dead = msgspec.json.Decoder(DeadLetter).decode


async def read_ledger(
    store: RedisStore, redis: str, kafka: str, namespace: str, queue: str, accepted: Sequence[bytes]
) -> dict[str, Any]:
    """The account of one queue. All is well when `lost`, `open`, `twice`, `untold`, `letters_differ`, `strangers`,
    `drift`, `held` and `untold_events` are 0."""
    views = await views_of(store, accepted)
    lost = [id_text(id_) for id_, view in views.items() if view is None]
    states = {id_text(id_): view.state.label for id_, view in views.items() if view is not None}
    open_ = {id_: state for id_, state in states.items() if state not in _FINAL}
    if kafka:
        topics = Topics.of(namespace, queue)
        events = await _topic(kafka, topics.events)
        letters = await _topic(kafka, topics.dead)
    else:
        events = await _stream(redis, store.keys.log("events"))
        letters = await _stream(redis, store.keys.log("dead"))
    ends = final_events(events)
    twice = {id_: kinds for id_, kinds in ends.items() if len(kinds) > 1}
    untold = {id_: (state, ends.get(id_)) for id_, state in states.items() if state not in ends.get(id_, ())}
    dead_by_record = {id_ for id_, state in states.items() if state == "dead"}
    dead_by_letter = {_dead(line).id for line in letters}
    stats = await store.stats()
    return {
        "submitted": len(accepted),
        "final": sum(state in _FINAL for state in states.values()),
        "by_state": dict(Counter(states.values())),
        "lost": len(lost),
        "open": len(open_),
        "twice": len(twice),
        "untold": len(untold),
        "letters_differ": len(dead_by_record ^ dead_by_letter),
        "strangers": stats.counts["submitted"] - len(accepted),
        "drift": stats.drift,
        "held": sum(worker.held for worker in stats.workers),
        "untold_events": stats.outbox_entries + stats.outbox_gap,
        "samples": {
            "lost": lost[:5],
            "open": dict(list(open_.items())[:5]),
            "twice": dict(list(twice.items())[:5]),
            "untold": dict(list(untold.items())[:5]),
        },
    }


async def views_of(store: RedisStore, ids: Sequence[bytes]) -> dict[bytes, TaskView | None]:
    """What the queue knows of each task."""
    found: dict[bytes, TaskView | None] = {}
    for at in range(0, len(ids), 500):
        page = ids[at : at + 500]
        found.update(zip(page, await store.get(page), strict=True))
    return found


def final_events(lines: Iterable[bytes]) -> dict[str, list[str]]:
    """Per task, the kinds of its final events. One that was published twice, which its sequence shows, counts once."""
    seen: set[tuple[str, str]] = set()
    ends: dict[str, list[str]] = defaultdict(list)
    for event in map(_event, lines):
        if event.kind not in _FINAL:
            continue
        for task in (id_ for group in event.tasks for id_ in group.ids):
            if (task, event.sequence) not in seen:
                seen.add((task, event.sequence))
                ends[task].append(event.kind)
    return ends


async def _stream(redis: str, key: str) -> list[bytes]:
    client = connect(redis)
    try:
        return [fields[b"r"] for _, fields in await client.xrange(key)]
    finally:
        await client.aclose()


async def _topic(kafka: str, topic: str) -> list[bytes]:
    admin = TopicAdmin(kafka)
    try:
        count = (await admin.describe([topic]))[topic].partitions
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in range(count)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        lines: list[bytes] = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, ()):
                    lines += record.value.splitlines()
        return lines
    finally:
        await consumer.stop()
