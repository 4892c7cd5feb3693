"""Reads the topic of events (see :mod:`laneway.adapters.kafka.log`), without a consumer group: each reader sees all,
and nobody's offsets are kept.

Which record has an event is looked up by time: a record is published within moments of what it tells, so looking from
some seconds before finds it though the publisher's clock differs from that of Redis.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from laneway.adapters.kafka.connection import AWAY, away, checked, client_options
from laneway.errors import Unavailable
from laneway.model.events import Position
from laneway.model.servers import KafkaServer
from laneway.model.topics import Topics

_T = TypeVar("_T")

#: How far the clock of who publishes may be ahead of Redis's for a resumed reader to miss nothing (ms).
_MARGIN_MS = 10_000
_WAIT_MS = 1000
#: Records, of which each has many events, that are read for the newest ones.
_LAST_RECORDS = 10
#: Bytes that are fetched at once: a reader that is slow holds no more than about twice that.
_FETCH = 1_048_576


class KafkaFeed:
    """An EventFeed on one queue's topic of events. Each reader has a connection of its own."""

    def __init__(self, server: KafkaServer | str, topics: Topics, *, timeout: float = 10.0) -> None:
        """``timeout`` (s) bounds each exchange. Raises ConfigError when a certificate's file is missing or wrong."""
        self._server = checked(server)
        self._topic = topics.events
        self._timeout = timeout

    async def latest(self, most: int) -> list[bytes]:
        """The newest events, oldest first."""
        consumer = await self._connected()
        try:
            parts = await self._assign(consumer)
            ends = await self._within(consumer.end_offsets(parts))
            begins = await self._within(consumer.beginning_offsets(parts))
            wanted = {part: ends[part] for part in parts if ends[part] > begins[part]}
            for part in parts:
                consumer.seek(part, max(begins[part], ends[part] - min(most, _LAST_RECORDS)))
            lines: list[bytes] = []
            while wanted:
                for part, records in (await self._within(consumer.getmany(timeout_ms=_WAIT_MS))).items():
                    lines = (lines + _lines(records))[-most:]
                    if records[-1].offset + 1 >= wanted.get(part, 0):
                        wanted.pop(part, None)
            return lines
        finally:
            await consumer.stop()

    async def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        """Batches of events from before the first one after ``after`` on."""
        consumer = await self._connected()
        try:
            parts = await self._assign(consumer)
            since = max(0, after[0] - _MARGIN_MS)
            # The ends first: what is told between the two questions is after them, and so is read.
            ends = await self._within(consumer.end_offsets(parts))
            found = await self._within(consumer.offsets_for_times(dict.fromkeys(parts, since)))
            for part in parts:
                at = found.get(part)
                consumer.seek(part, at.offset if at is not None else ends[part])
            while True:
                batches = await self._within(consumer.getmany(timeout_ms=_WAIT_MS, max_records=16))
                yield [line for records in batches.values() for line in _lines(records)]
        finally:
            await consumer.stop()

    async def _connected(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **client_options(self._server),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # (where a record that it stood at was deleted meanwhile)
            fetch_max_wait_ms=500,
            fetch_min_bytes=1,
            fetch_max_bytes=_FETCH,
            max_partition_fetch_bytes=_FETCH,
            request_timeout_ms=math.ceil(self._timeout * 1000),
        )
        try:
            await asyncio.wait_for(consumer.start(), self._timeout)
        except AWAY as error:
            await consumer.stop()
            raise await away(self._server, error) from error
        return consumer

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        consumer._client.add_topic(self._topic)
        await self._within(consumer._client.force_metadata_update())
        if self._topic in consumer._client.cluster.unauthorized_topics:
            raise Unavailable(
                f"Kafka does not allow reading {self._topic}: the ACLs of {self._server.username or 'this client'} "
                "lack Read on it",
                5.0,
            )
        parts = [TopicPartition(self._topic, n) for n in sorted(consumer.partitions_for_topic(self._topic) or ())]
        if not parts:
            raise Unavailable(f"topic {self._topic} does not exist yet", 1.0)
        consumer.assign(parts)
        return parts

    async def _within(self, call: Awaitable[_T]) -> _T:
        try:
            return await asyncio.wait_for(call, self._timeout)
        except (KafkaError, *AWAY) as error:
            raise await away(self._server, error) from error

    async def close(self) -> None:
        """Readers close their own."""


def _lines(records: list[ConsumerRecord]) -> list[bytes]:
    return [line for record in records if record.value for line in record.value.split(b"\n")]
