"""From a queue's manifest to its topics. Pure, so that the operator and ``laneway up`` make the same ones."""

from __future__ import annotations

from typing import Final

from laneway.kit.quantities import duration_ms
from laneway.model.manifests.bundle import QueueManifests
from laneway.model.manifests.connections import Kafka
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.topics import BROKERS_DEFAULT, MAX_REQUEST, Topics, TopicSpec

#: How long dispatched tasks stay in their topic. One that is not started within seconds goes back to the queue, so this
#: is for people who look.
TASKS_RETENTION_MS: Final = 3_600_000


def plan_topics(manifest: QueueManifests | TaskQueue) -> tuple[TopicSpec, ...]:
    """The topics that a queue needs, or none when its manifest has no spec.kafka. Events and dead letters are there
    with source Direct too; the topic of tasks only with source Kafka."""
    queue = manifest if isinstance(manifest, TaskQueue) else manifest.queue
    kafka = queue.spec.kafka
    if kafka is None:
        return ()
    return topic_specs(Topics.of(queue.metadata.namespace, queue.metadata.name), kafka, tasks=queue.source == "Kafka")


def topic_specs(topics: Topics, kafka: Kafka, *, tasks: bool = True) -> tuple[TopicSpec, ...]:
    """The topics of these names with the settings of spec.kafka; ``tasks``: that of dispatched tasks as well."""
    replication = BROKERS_DEFAULT if kafka.replicationFactor is None else kafka.replicationFactor
    common = {"cleanup.policy": "delete"}
    if kafka.minInsyncReplicas is not None:
        common["min.insync.replicas"] = str(kafka.minInsyncReplicas)
    # A task's payload is in its record and in its dead letter.
    large = {**common, "max.message.bytes": str(MAX_REQUEST)}
    events = TopicSpec(topics.events, 1, replication, {**common, "retention.ms": _ms(kafka.eventRetention)})
    dead = TopicSpec(topics.dead, 1, replication, {**large, "retention.ms": _ms(kafka.deadRetention)})
    if not tasks:
        return events, dead
    return (
        TopicSpec(topics.tasks, kafka.partitions, replication, {**large, "retention.ms": str(TASKS_RETENTION_MS)}),
        events,
        dead,
    )


def _ms(duration: str) -> str:
    return str(duration_ms(duration))
