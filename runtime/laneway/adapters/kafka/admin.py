"""Topics made and grown, for ``laneway up`` and the operator."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from laneway.adapters.kafka.names import Topics
from laneway.adapters.kafka.publisher import MAX_REQUEST
from laneway.errors import Unavailable


async def ensure_topics(bootstrap: str, topics: Topics, *, partitions: int, replication: int = 1) -> None:
    """Creates the queue's topics when missing, and grows the partitions of the tasks topic. Never shrinks.

    Raises:
        Unavailable: Kafka can't be reached, or refused.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await asyncio.wait_for(admin.start(), 10)
        known = set(await admin.list_topics())
        hour = str(3_600_000)
        large = {"max.message.bytes": str(MAX_REQUEST)}
        wanted = [
            NewTopic(topics.tasks, partitions, replication, topic_configs={"retention.ms": hour, **large}),
            NewTopic(topics.events, 1, replication),
            NewTopic(topics.dead, 1, replication, topic_configs={"retention.ms": "-1", **large}),
        ]
        missing = [topic for topic in wanted if topic.name not in known]
        if missing:
            try:
                await admin.create_topics(missing)
            except TopicAlreadyExistsError:
                missing = []  # somebody else was faster
        if topics.tasks in known:
            (described,) = await admin.describe_topics([topics.tasks])
            if len(described["partitions"]) < partitions:
                await admin.create_partitions({topics.tasks: NewPartitions(partitions)})
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {bootstrap} is away or refused ({error})", 1.0) from error
    finally:
        await admin.close()
