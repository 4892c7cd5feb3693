"""The JSON bodies of queues, lanes and workers."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from laneway.gateway.bodies import BackoffBody


class QueueBody(msgspec.Struct, rename="camel", kw_only=True):
    """One queue now. ``available``: it can be used (Redis answers, and it is configured). ``tasks`` has the number
    submitted, purged, and in each state; ``slots`` are those of workers that take work. Numbers are left out while it
    is not available, and for credentials that are bound to tenants."""

    name: str
    namespace: str
    available: bool
    paused: bool | UnsetType = UNSET
    tasks: dict[str, int] | UnsetType = UNSET
    lanes: int | UnsetType = UNSET
    workers: int | UnsetType = UNSET
    slots: int | UnsetType = UNSET


class QueuesAnswer(msgspec.Struct):
    """The queues that this gateway serves."""

    items: list[QueueBody]


class RateBody(msgspec.Struct, rename="camel"):
    """A limit of ``perSecond`` tasks, of which ``burst`` may come at once."""

    per_second: float
    burst: float


class KeepBody(msgspec.Struct, rename="camel"):
    """How many tasks are kept, and for how many seconds (null: without bound)."""

    count: int | None
    seconds: float | None


class LimitsBody(msgspec.Struct, rename="camel"):
    """What a queue takes (null: without bound); ``tenant`` limits are those of each tenant that has none of its own."""

    max_depth: int | None
    max_payload_bytes: int
    rate: RateBody | None
    tenant_rate: RateBody | None
    tenant_max_running: int | None


class RetryBody(msgspec.Struct, rename="camel"):
    """Of tasks that say nothing else."""

    max_attempts: int
    backoff: BackoffBody


class ConfigurationBody(msgspec.Struct, rename="camel"):
    """The configuration in force. ``source`` says where workers' tasks come from; ``hash`` changes when any of it
    does."""

    hash: str
    version: int
    source: str
    default_lane: str
    durability: str
    replicas: int
    limits: LimitsBody
    retry: RetryBody
    keep_ended: KeepBody
    keep_dead: KeepBody
    idempotency_seconds: float
    lease_seconds: float
    max_crashes: int


class QueueAnswer(QueueBody, rename="camel", kw_only=True):
    """One queue now, with the configuration in force (left out while it is not available)."""

    configuration: ConfigurationBody | UnsetType = UNSET


class LaneItem(msgspec.Struct, rename="camel"):
    """One lane: its settings (null: without limit) and its numbers now. ``minShare`` is in per cent of the occupied
    slots; rates are tasks per second; ``oldestSeconds`` is the age of the task at its head, null when empty;
    ``etaSeconds`` is when a task submitted now would start, null when that can't be told. ``removed``: it takes nothing
    more, and goes once it is empty."""

    name: str
    priority: int
    paused: bool
    removed: bool
    queued: int
    running: int
    max_running: int | None
    min_share: int | None
    rate: float | None
    dispatch_rate: float | None
    fifo: bool
    oldest_seconds: float | None
    eta_seconds: float | None


class LanesAnswer(msgspec.Struct):
    """A queue's lanes, in the order in which they are served."""

    items: list[LaneItem]


class WorkerItem(msgspec.Struct, rename="camel"):
    """One registered worker. ``id`` is its incarnation, new with each registration; ``mode`` where its tasks come from;
    ``state`` is registered (gets nothing yet), announced, draining, stalled (makes no progress) or dead. ``running`` is
    how many tasks it holds, with Kafka those on their way to it included; ``tasks`` names up to 50 of them.
    ``partition`` is null without Kafka."""

    id: str
    name: str
    mode: str
    state: str
    slots: int
    running: int
    partition: int | None
    last_beat_seconds: float
    started_at: datetime | None
    tasks: list[str]


class WorkersAnswer(msgspec.Struct):
    """The workers registered for a queue, by name."""

    items: list[WorkerItem]


class DrainAnswer(msgspec.Struct):
    """The worker takes nothing new, and leaves when what it runs has ended."""

    id: str
    state: str
