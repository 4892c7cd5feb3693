"""TaskQueue: a queue with its limits, tenants and promises."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from laneway.kit.quantities import DURATION_PATTERN, duration_ms
from laneway.model.manifests.base import API_VERSION, Duration, Model, Rule, Size
from laneway.model.manifests.connections import Kafka, Redis
from laneway.model.manifests.gatewayauth import GatewayAuth
from laneway.model.manifests.parts import LaneName, OwnerMetadata, Rate, TenantName, each_once, list_map
from laneway.model.manifests.pods import Image, PlainVar, PodSettings, Resources


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
        default_factory=list,
        max_length=1_000,
        description="Limits of single tenants, by name.",
        json_schema_extra=list_map("name"),
    )

    @field_validator("overrides")
    @classmethod
    def _each_tenant_once(cls, overrides: list[TenantOverride]) -> list[TenantOverride]:
        each_once([override.name for override in overrides], "tenant")
        return overrides


class Backoff(Model):
    """How long a failed task waits: base, then factor times as long each time, at most cap."""

    RULES = (
        Rule(
            # What is no duration is told by the fields' own rules.
            f"(has(self.base) && !self.base.matches(r'{DURATION_PATTERN}'))"
            f" || (has(self.cap) && !self.cap.matches(r'{DURATION_PATTERN}'))"
            " || duration(has(self.base) ? self.base : '2s') <= duration(has(self.cap) ? self.cap : '1h')",
            "base must be at most cap",
            "'base must be at most cap (' + (has(self.cap) ? self.cap : '1h') + '), not '"
            " + (has(self.base) ? self.base : '2s')",
            at=".base",
        ),
    )

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


_REVIEW_RULE = (
    "auth.tokenReview needs pod.serviceAccountName: a service account that may create tokenreviews (the chart's value"
    " tokenReview grants it)"
)


class Gateway(Model):
    """The pods that take submissions by HTTP, and the Service before them."""

    RULES = (
        Rule(
            "!has(self.auth) || !has(self.auth.tokenReview) || (has(self.pod) && has(self.pod.serviceAccountName)"
            " && self.pod.serviceAccountName != '')",
            _REVIEW_RULE,
            at=".pod",
        ),
    )

    replicas: int = Field(default=1, ge=0, le=100, description="Pods. 0: none, and the Service leads nowhere.")
    resources: Resources | None = Field(default=None, description="What each asks for and may use.")
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="The type of the Service."
    )
    pod: PodSettings | None = Field(default=None, description="Where and as whom they run.")
    env: list[PlainVar] = Field(
        default_factory=list,
        max_length=64,
        description="Environment of the gateways, such as OTEL_EXPORTER_OTLP_ENDPOINT. Only in a cluster.",
        json_schema_extra=list_map("name"),
    )
    auth: GatewayAuth = Field(
        default_factory=GatewayAuth,
        description="Who may use the HTTP API. Absent: who has one of the keys that the operator puts into the Secret"
        " <queue>-gateway-keys.",
    )

    @field_validator("env")
    @classmethod
    def _each_variable_once(cls, env: list[PlainVar]) -> list[PlainVar]:
        each_once([var.name for var in env], "variable")
        return env

    @model_validator(mode="after")
    def _reviews_need_an_account(self) -> Self:
        if self.auth.tokenReview is not None and not (self.pod and self.pod.serviceAccountName):
            raise ValueError(_REVIEW_RULE)
        return self


class Poller(Model):
    """The pods that keep the queue going: they make delayed tasks due, return those of dead workers, publish events,
    and with source Kafka hand tasks out."""

    replicas: int = Field(
        default=1,
        ge=0,
        le=16,
        description="Pods. 0: none, and delayed tasks and retries never become due; with source Kafka nothing starts.",
    )
    resources: Resources | None = Field(default=None, description="What each asks for and may use.")
    pod: PodSettings | None = Field(default=None, description="Where and as whom they run.")


class TaskQueueSpec(Model):
    """What the queue shall be."""

    RULES = (
        Rule(
            "!has(self.source) || self.source != 'Kafka' || has(self.kafka)",
            "source Kafka needs spec.kafka with bootstrapServers; or set source: Direct",
            at=".source",
        ),
        Rule(
            "!has(self.durability) || self.durability != 'Replica' || has(self.ackReplicas)",
            "durability Replica needs ackReplicas: how many replicas must have a submission, 1 to 16",
            at=".ackReplicas",
        ),
        Rule(
            "!has(self.ackReplicas) || (has(self.durability) && self.durability == 'Replica')",
            "ackReplicas means nothing without durability Replica: leave it out, or set durability: Replica",
            at=".ackReplicas",
        ),
    )

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
    image: Image | None = Field(
        default=None,
        description="The image of gateway and pollers. Only in a cluster. Absent: that of the installation.",
    )
    gateway: Gateway = Field(
        default_factory=Gateway, description="The pods that take submissions by HTTP. Only in a cluster."
    )
    poller: Poller = Field(default_factory=Poller, description="The pods that keep the queue going. Only in a cluster.")
    deletionPolicy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the queue's topics and its data in Redis when it is deleted. Retain: they stay. A"
        " queue of the same name goes on with the data, and with the topics if it says kafka.topics: Adopt; without"
        " that they are foreign to it. Delete: they are deleted, tasks included. Only in a cluster.",
    )
    drainTimeout: Annotated[str, Duration("1s", "24h", zero=True)] = Field(
        default="60s",
        description="How long a queue that is deleted waits for the tasks that run. Only in a cluster.",
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
    metadata: OwnerMetadata = Field(description="What Kubernetes knows the object by; the name is the queue's name.")
    spec: TaskQueueSpec = Field(default_factory=TaskQueueSpec, description="What the queue shall be.")

    @property
    def source(self) -> Literal["Direct", "Kafka"]:
        """Where workers take tasks from, with the default filled in."""
        return self.spec.source or ("Kafka" if self.spec.kafka else "Direct")
