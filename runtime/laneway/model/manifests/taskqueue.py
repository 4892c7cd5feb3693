"""TaskQueue: a queue with its limits, tenants and promises."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from laneway.kit.quantities import duration_ms
from laneway.model.manifests.base import API_VERSION, Duration, Model, Size, Text
from laneway.model.manifests.parts import LaneName, Metadata, Rate, SecretKey, TenantName

REDIS_SCHEMES = ("redis", "rediss", "unix")
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?):([0-9]{1,5})")


def _redis_url(url: str) -> str:
    rule = "must be redis://HOST:PORT[/DB], rediss://HOST:PORT[/DB] (TLS) or unix:///PATH"
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"{rule}; this one can't be read") from None
    if parts.password is not None:
        raise ValueError("must hold no password: put the whole URL into a Secret and name it in secretRef")
    if parts.scheme not in REDIS_SCHEMES:
        raise ValueError(f"{rule}, not {url[:80]!r}")
    where_ok = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname)
    if len(url) > 512 or not port_ok or not where_ok or re.search(r"\s", url):
        raise ValueError(f"{rule}, at most 512 characters, not {url[:80]!r}")
    return url


def _server(server: str) -> str:
    match = _SERVER.fullmatch(server)
    if match and 0 < int(match[3]) < 65_536:
        return server
    raise ValueError(f"must be HOST:PORT, such as kafka:9092, not {server[:80]!r}")


class Redis(Model):
    """Where the queue's state is: exactly one of url and secretRef."""

    url: Annotated[str, Text(_redis_url, r"^(redis|rediss|unix)://\S+$", 8, 512)] | None = Field(
        default=None,
        description="The server's URL, without a password: redis://HOST:PORT/DB, or rediss:// for TLS.",
    )
    secretRef: SecretKey | None = Field(
        default=None, description="The Secret that holds the whole URL, password included."
    )
    topology: Literal["Standalone", "Cluster"] = Field(
        default="Standalone",
        description="Standalone: one primary, with or without replicas. Cluster: a Redis Cluster.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.url is None) == (self.secretRef is None):
            raise ValueError("must have exactly one of url and secretRef")
        return self


class Kafka(Model):
    """Where dispatched tasks, events and dead letters are published."""

    bootstrapServers: list[Annotated[str, Text(_server, r"^\S+:[0-9]{1,5}$", 3, 262)]] = Field(
        min_length=1, max_length=16, description="Brokers to ask first, each HOST:PORT."
    )
    partitions: int = Field(
        default=12,
        ge=1,
        le=1_000,
        description="Partitions of the topic of tasks; workers beyond that number share them. It can only grow.",
    )
    replicationFactor: int | None = Field(
        default=None, ge=1, le=16, description="Copies of each partition. Absent: the brokers' default."
    )
    minInsyncReplicas: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Copies that must acknowledge a record; at most replicationFactor. Absent: the brokers' default.",
    )
    eventRetention: Annotated[str, Duration("1m", "8760h")] = Field(
        default="168h", description="How long the topic of events keeps them."
    )
    deadRetention: Annotated[str, Duration("1m", "87600h")] = Field(
        default="720h", description="How long the topic of dead letters keeps them."
    )

    @model_validator(mode="after")
    def _fewer_in_sync_than_copies(self) -> Self:
        if self.replicationFactor and self.minInsyncReplicas and self.minInsyncReplicas > self.replicationFactor:
            raise ValueError(
                f"minInsyncReplicas must be from 1 to replicationFactor ({self.replicationFactor}), not"
                f" {self.minInsyncReplicas}"
            )
        return self


class Limits(Model):
    """What a queue accepts."""

    maxDepth: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Tasks that may wait; further ones are refused. 0: unlimited.",
    )
    maxPayload: Annotated[int | str, Size("1Ki", "16Mi")] = Field(
        default="1Mi", description="Largest payload of one task."
    )
    compressOver: Annotated[int | str, Size("128", "16Mi", zero=True)] = Field(
        default="4Ki", description="Payloads over this size are compressed. 0: never."
    )
    rate: Rate | None = Field(default=None, description="Submissions to the whole queue. Absent: unlimited.")


class TenantDefaults(Model):
    """Limits that hold for each tenant on its own, unless it has an override."""

    weight: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Share in a lane where several tenants wait: one with weight 2 gets twice as much.",
    )
    maxRunning: int = Field(default=0, ge=0, le=1_000_000, description="Tasks that may run at once. 0: unlimited.")
    rate: Rate | None = Field(default=None, description="Submissions. Absent: unlimited.")


class TenantOverride(Model):
    """Limits of one tenant. What is absent is as in the defaults."""

    name: TenantName = Field(description='The tenant; "" is that of tasks which name none.')
    weight: int | None = Field(default=None, ge=1, le=256, description="Share in a lane where several tenants wait.")
    maxRunning: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Tasks that may run at once. 0: unlimited, whatever the default.",
    )
    rate: Rate | None = Field(default=None, description="Submissions. perSecond 0: unlimited, whatever the default.")


class Tenants(Model):
    """How tenants share the queue."""

    defaults: TenantDefaults = Field(default_factory=TenantDefaults, description="Limits of each tenant.")
    overrides: list[TenantOverride] = Field(
        default_factory=list, max_length=1_000, description="Limits of single tenants, by name."
    )

    @field_validator("overrides")
    @classmethod
    def _each_tenant_once(cls, overrides: list[TenantOverride]) -> list[TenantOverride]:
        seen: set[str] = set()
        for override in overrides:
            if override.name in seen:
                raise ValueError(f"must name each tenant once; {override.name!r} is there twice")
            seen.add(override.name)
        return overrides


class Backoff(Model):
    """How long a failed task waits: base, then factor times as long each time, at most cap."""

    base: Annotated[str, Duration("10ms", "24h")] = Field(default="2s", description="Wait after the first failure.")
    factor: int = Field(default=2, ge=1, le=10, description="How many times longer each further wait is.")
    cap: Annotated[str, Duration("10ms", "168h")] = Field(default="1h", description="Longest wait.")
    jitterPercent: int = Field(
        default=25,
        ge=0,
        le=100,
        description="Share of each wait that is taken off at random, so that failures spread out.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if duration_ms(self.base) > duration_ms(self.cap):
            raise ValueError(f"base must be at most cap ({self.cap}), not {self.base!r}")
        return self


class Retry(Model):
    """What happens to a task that fails, unless the task itself says otherwise."""

    maxAttempts: int = Field(default=4, ge=1, le=255, description="Attempts in all; after the last the task is dead.")
    maxCrashes: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How often a task's worker may die while it runs before the task is dead; it has to have used up"
        " maxAttempts as well.",
    )
    backoff: Backoff = Field(default_factory=Backoff, description="How long a failed task waits.")


class KeptEnded(Model):
    """How many tasks that ended well or were called off are kept, and how long; the oldest go first."""

    count: int = Field(default=100_000, ge=0, le=100_000_000, description="At most so many. 0: without bound.")
    age: Annotated[str, Duration("1s", "87600h", zero=True)] = Field(
        default="1h", description="At most so long after their end. 0s: without bound."
    )


class KeptDead(Model):
    """How many dead letters are kept, and how long; the oldest go first."""

    count: int = Field(default=1_000_000, ge=0, le=100_000_000, description="At most so many. 0: without bound.")
    age: Annotated[str, Duration("1s", "87600h", zero=True)] = Field(
        default="0s", description="At most so long after their end. 0s: without bound."
    )


class Retention(Model):
    """What is kept of tasks that ended."""

    ended: KeptEnded = Field(default_factory=KeptEnded, description="Tasks that succeeded, were cancelled or expired.")
    dead: KeptDead = Field(default_factory=KeptDead, description="Dead letters.")
    maxBytes: Annotated[int | str, Size("1Mi", "1Ti")] = Field(
        default="256Mi", description="All of them together take at most so much of Redis."
    )


class Idempotency(Model):
    """Idempotency keys: the same key and payload is the same task."""

    ttl: Annotated[str, Duration("1s", "8760h")] = Field(
        default="24h", description="How long a key is remembered after its task has ended."
    )


class TaskQueueSpec(Model):
    """What the queue shall be."""

    redis: Redis | None = Field(
        default=None,
        description="Where the queue's state is. Absent: the Redis that the installation or command line names.",
    )
    kafka: Kafka | None = Field(
        default=None, description="Kafka for tasks, events and dead letters. Absent: none is used."
    )
    source: Literal["Direct", "Kafka"] | None = Field(
        default=None,
        description="Where workers take tasks from. Direct: from Redis. Kafka: from a topic, to which"
        " pollers publish. Absent: Kafka if spec.kafka is there, else Direct.",
    )
    durability: Literal["Fast", "Fsync", "Replica"] = Field(
        default="Fast",
        description="What an acknowledged submission survives. Fast: the death of any process; a host's"
        " crash may cost its last 2 s. Fsync: a host's crash too. Replica: the loss of the primary, once"
        " ackReplicas have it.",
    )
    ackReplicas: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Redis replicas that must have a submission; only with durability Replica.",
    )
    defaultLane: LaneName | None = Field(
        default=None,
        description="Lane of tasks that name none. Absent: the lane named default, or else the one with"
        " the lowest priority.",
    )
    limits: Limits = Field(default_factory=Limits, description="What the queue accepts.")
    tenants: Tenants = Field(default_factory=Tenants, description="How tenants share the queue.")
    retry: Retry = Field(default_factory=Retry, description="What happens to tasks that fail.")
    retention: Retention = Field(default_factory=Retention, description="What is kept of tasks that ended.")
    idempotency: Idempotency = Field(default_factory=Idempotency, description="Idempotency keys.")
    paused: bool = Field(
        default=False,
        description="While true, tasks are accepted and wait; those that run go on, and no others start.",
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.source == "Kafka" and self.kafka is None:
            raise ValueError("source Kafka needs spec.kafka with bootstrapServers; or set source: Direct")
        if self.durability == "Replica" and self.ackReplicas is None:
            raise ValueError("durability Replica needs ackReplicas: how many replicas must have a submission, 1 to 16")
        if self.durability != "Replica" and self.ackReplicas is not None:
            raise ValueError(
                f"ackReplicas means nothing with durability {self.durability}: leave it out, or set durability: Replica"
            )
        return self


class TaskQueue(Model):
    """A queue of tasks. One without any PriorityLane has a single lane, named default."""

    apiVersion: Literal["laneway.dev/v1alpha1"] = Field(default=API_VERSION, description="Always laneway.dev/v1alpha1.")
    kind: Literal["TaskQueue"] = Field(default="TaskQueue", description="Always TaskQueue.")
    metadata: Metadata = Field(description="What Kubernetes knows the object by; the name is the queue's name.")
    spec: TaskQueueSpec = Field(default_factory=TaskQueueSpec, description="What the queue shall be.")

    @property
    def source(self) -> Literal["Direct", "Kafka"]:
        """Where workers take tasks from, with the default filled in."""
        return self.spec.source or ("Kafka" if self.spec.kafka else "Direct")
