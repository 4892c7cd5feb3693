"""Reading one leased partition of the tasks topic, without a consumer group's rebalances."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from laneway.adapters.kafka.connection import AWAY, away, checked, client_options
from laneway.errors import Unavailable
from laneway.model.servers import KafkaServer


class PartitionReader:
    """Assigns itself one partition and reads from its end. Offsets are committed for people who watch the lag; nothing
    rests on them."""

    def __init__(self, server: KafkaServer | str, topic: str, group: str, *, timeout: float = 10.0) -> None:
        self._server, self._topic, self._group, self._timeout = checked(server), topic, group, timeout
        # The group only carries offsets that people look at; what aiokafka calls errors there are no events here.
        logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
        self._consumer: AIOKafkaConsumer | None = None
        self._partition: TopicPartition | None = None

    async def count(self) -> int:
        """How many partitions the topic has.

        Raises:
            Unavailable: Kafka can't be reached, or has no such topic.
        """
        consumer = await self._ready()
        try:
            partitions = await asyncio.wait_for(self._topic_partitions(consumer), self._timeout)
        except AWAY as error:
            raise await away(self._server, error) from error
        if not partitions:
            raise Unavailable(f"topic {self._topic} does not exist yet", 1.0)
        return len(partitions)

    async def _topic_partitions(self, consumer: AIOKafkaConsumer) -> set[int]:
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(self._topic)
        await consumer._client.force_metadata_update()
        if self._topic in consumer._client.cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError(self._topic)
        return set(consumer.partitions_for_topic(self._topic) or ())

    async def _ready(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **client_options(self._server),
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                fetch_max_wait_ms=500,
                fetch_min_bytes=1,
            )
            try:
                await asyncio.wait_for(consumer.start(), self._timeout)
            except AWAY as error:
                await consumer.stop()
                raise await away(self._server, error) from error
            self._consumer = consumer
        return self._consumer

    async def seek_to_end(self, partition: int) -> None:
        """Takes the partition from its end on. The position is known when this returns: records published after are
        surely read.

        Raises:
            Unavailable: the position could not be determined.
        """
        consumer = await self._ready()
        self._partition = TopicPartition(self._topic, partition)
        consumer.assign([self._partition])
        try:
            # aiokafka answers False where it could not seek, instead of raising.
            if await asyncio.wait_for(consumer.seek_to_end(self._partition), self._timeout) is False:
                raise Unavailable(f"could not seek to the end of {self._partition}", 1.0)
            await asyncio.wait_for(consumer.position(self._partition), self._timeout)
        except AWAY as error:
            raise Unavailable(f"could not seek to the end of {self._partition} ({error})", 1.0) from error

    async def records(self) -> AsyncIterator[list[bytes]]:
        """Batches of record values, as they come, for ever; an empty one each second when none does."""
        consumer = await self._ready()
        while True:
            try:
                batches = await consumer.getmany(timeout_ms=1000, max_records=64)
            except KafkaError as error:
                raise Unavailable(f"reading {self._partition} failed ({error})", 1.0) from error
            values = [record.value or b"" for batch in batches.values() for record in batch]
            yield values

    async def commit(self) -> None:
        """Commits how far it has read. A failure is only a stale picture of the lag."""
        if self._consumer is None or self._partition is None:
            return
        try:
            await asyncio.wait_for(self._consumer.commit(), 2.0)
        except AWAY:
            return

    async def close(self) -> None:
        """Stops reading."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
