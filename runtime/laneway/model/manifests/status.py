"""What the operator writes into the status of objects: what it saw and decided, never what was asked for.

Fast numbers are metrics, not status: a status is written when something in it changed that somebody acts on.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from laneway.model.manifests.base import Model, Text
from laneway.model.manifests.parts import list_map

_MOST = 2_147_483_647
_MOST_TASKS = 1_000_000_000_000


_TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$"
_TIME = re.compile(_TIME_PATTERN)


def _text(most: int, least: int = 0) -> Text:
    def check(text: str) -> str:
        if least <= len(text) <= most:
            return text
        raise ValueError(f"must have {least} to {most} characters, not {len(text)}")

    return Text(check, "", least, most)


def _time(text: str) -> str:
    if _TIME.fullmatch(text):
        return text
    raise ValueError(f"must be a time in UTC, such as 2026-01-31T12:00:00Z, not {text[:40]!r}")


Time = Annotated[str, Text(_time, _TIME_PATTERN, 20, 30)]


class Condition(Model):
    """One aspect of an object's state, as Kubernetes's own objects have it."""

    type: Annotated[str, _text(316, 1)] = Field(description="Which aspect: Ready, TopicsReady and so on.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: Annotated[str, _text(1_024, 1)] = Field(description="Why, in one word that programs can tell apart.")
    message: Annotated[str, _text(32_768)] = Field(description="Why, for people, and what to do about it.")
    lastTransitionTime: Time = Field(description="Since when status is what it is (RFC 3339, UTC).")
    observedGeneration: int | None = Field(
        default=None, ge=0, le=_MOST_TASKS, description="The metadata.generation that this is about."
    )


class Status(Model):
    """What all kinds have in their status."""

    observedGeneration: int | None = Field(
        default=None, ge=0, le=_MOST_TASKS, description="The newest metadata.generation that the operator worked on."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="The aspects of the object's state, by type.",
        json_schema_extra=list_map("type"),
    )


class TopicStatus(Model):
    """A Kafka topic of the queue."""

    name: Annotated[str, _text(249, 1)] = Field(description="The topic's name.")
    cluster: Annotated[str, _text(2_048, 1)] = Field(
        description="The id of the Kafka cluster that it is in: what is owned there is foreign in any other."
    )
    partitions: int = Field(
        default=0, ge=0, le=100_000, description="Its partitions, as last seen. 0: it is not there yet."
    )
    owned: bool = Field(
        default=False,
        description="Whether the operator made it or took it over, so that it may change it and, with deletionPolicy"
        " Delete, delete it.",
    )


class RedisStatus(Model):
    """Where the queue's data is."""

    address: Annotated[str, _text(2_048, 1)] = Field(
        description="HOST:PORT/DATABASE of the Redis, or the path of a socket, without credentials."
    )
    id: Annotated[str, _text(64, 1)] = Field(
        description="What the queue's data there carries, so that it is known again under another address."
    )


class TaskQueueStatus(Status):
    """What the operator last saw and did."""

    source: Literal["Direct", "Kafka"] | None = Field(default=None, description="Where workers take tasks from.")
    version: Annotated[str, _text(64)] | None = Field(
        default=None, description="The version of Laneway that last worked on the queue."
    )
    configVersion: int | None = Field(
        default=None, ge=0, le=_MOST_TASKS, description="The version of the live configuration in Redis."
    )
    endpoint: Annotated[str, _text(512)] | None = Field(
        default=None, description="The gateway's URL inside the cluster."
    )
    redis: RedisStatus | None = Field(
        default=None,
        description="The Redis that has the queue's data. A spec.redis with other data is refused; see RedisMoved.",
    )
    topics: list[TopicStatus] = Field(
        default_factory=list,
        max_length=64,
        description="The queue's Kafka topics, by name and cluster; also those that it left in another cluster.",
        json_schema_extra=list_map("name", "cluster"),
    )
    lanes: int | None = Field(default=None, ge=0, le=1_000, description="Lanes that the queue has.")
    pools: int | None = Field(default=None, ge=0, le=100_000, description="WorkerPools that refer to the queue.")
    depth: int | None = Field(
        default=None,
        ge=0,
        le=_MOST_TASKS,
        description="Tasks that waited when the status was last written. It is not kept current: see the metrics.",
    )
    selector: Annotated[str, _text(1_024)] | None = Field(
        default=None, description="The labels of the queue's gateway pods, as kubectl -l takes them."
    )


class PriorityLaneStatus(Status):
    """What the operator last saw and did."""

    number: int | None = Field(
        default=None, ge=1, le=250, description="The lane's number in its queue, which its Redis keys have."
    )


class ScalingInputs(Model):
    """What a scaling decision was made of. What could not be read is absent."""

    queued: int | None = Field(default=None, ge=0, le=_MOST_TASKS, description="Tasks that waited and were due.")
    running: int | None = Field(default=None, ge=0, le=_MOST_TASKS, description="Tasks that ran.")
    meanRunMilliseconds: int | None = Field(
        default=None, ge=0, le=_MOST_TASKS, description="How long a task runs, in the mean."
    )
    slotsPerReplica: int | None = Field(
        default=None, ge=0, le=_MOST, description="Tasks that one replica runs at once: processes times concurrency."
    )
    replicas: int | None = Field(default=None, ge=0, le=_MOST, description="Replicas that there were.")


class ScalingStatus(Model):
    """The last scaling decision, so that it can be understood."""

    decidedAt: Time = Field(description="When it was made (RFC 3339, UTC).")
    desired: int = Field(ge=0, le=_MOST, description="Replicas that there shall be.")
    raw: int | None = Field(
        default=None,
        ge=0,
        le=_MOST,
        description="Replicas by the formula, before limits. Absent: nothing was readable.",
    )
    formula: Annotated[str, _text(512)] = Field(description="The formula with its numbers.")
    limitedBy: Literal["Target", "Min", "Max", "Stabilization", "Running", "Unreadable", "Paused"] = Field(
        description="What settled it. Target: the formula alone. Min, Max: these limits. Stabilization: fewer have"
        " not been enough for long enough. Running: fewer would not hold what runs. Unreadable: what it needs could"
        " not be read. Paused: tasks wait in paused lanes, for which there are no replicas."
    )
    inputs: ScalingInputs = Field(default_factory=ScalingInputs, description="What it was made of.")
    shadow: bool = Field(default=False, description="True: it was shown only, and not carried out.")


class WorkerPoolStatus(Status):
    """What the operator last saw and did."""

    replicas: int | None = Field(default=None, ge=0, le=_MOST, description="Pods that there are.")
    readyReplicas: int | None = Field(default=None, ge=0, le=_MOST, description="Pods that are ready.")
    desiredReplicas: int | None = Field(default=None, ge=0, le=_MOST, description="Pods that there shall be.")
    selector: Annotated[str, _text(1_024)] | None = Field(
        default=None, description="The pods' labels, as kubectl -l takes them; an HPA reads it."
    )
    scaling: ScalingStatus | None = Field(default=None, description="The last scaling decision.")
