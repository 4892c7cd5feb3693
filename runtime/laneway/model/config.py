"""The live configuration of a queue: one msgpack document in Redis that scripts and runtimes read.

The operator or ``laneway up`` writes it; its hash stands beside it, and every script compares that hash with the
caller's, so a stale runtime is told to reload. Times are in ms, rates in tasks per second, sizes in bytes.
"""

from __future__ import annotations

import hashlib

import msgspec

from laneway.model.envelope import Backoff

DEFAULT_LANE = "default"
MAX_LANES = 64
MAX_PRIORITY = 9
DEFAULT_PRIORITY = 4


class LaneConfig(msgspec.Struct, kw_only=True, frozen=True):
    """One lane. ``n`` is its number in envelopes and records (1 to 250), never given to another lane while the
    first has tasks; ``gone`` marks a lane that was removed and is kept until it is empty."""

    n: int
    name: str
    prio: int = 0
    paused: bool = False
    max: int = 0  # running tasks at most; 0: unlimited
    share: int = 0  # per cent of the occupied slots that it gets before better lanes
    rate: float = 0.0  # submissions per second; 0: unlimited
    burst: float = 0.0
    drate: float = 0.0  # dispatches per second; 0: unlimited
    dburst: float = 0.0
    fifo: bool = False  # first in first out over all tenants, instead of fair shares by weight
    gone: bool = False


class TenantConfig(msgspec.Struct, kw_only=True, frozen=True):
    """Limits of each tenant: weight (1 to 256), running tasks at most (0: unlimited), submission rate."""

    w: int = 1
    max: int = 0
    rate: float = 0.0
    burst: float = 0.0


class Keep(msgspec.Struct, kw_only=True, frozen=True):
    """How many ended tasks are kept, and how long (0: without bound)."""

    n: int
    ms: int


class Kept(msgspec.Struct, kw_only=True, frozen=True):
    """What is kept of tasks that ended well or were called off, and of dead letters."""

    ended: Keep = Keep(n=100_000, ms=3_600_000)
    dead: Keep = Keep(n=1_000_000, ms=0)


class QueueConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The whole of it. ``lanes`` are in dispatch order: best first."""

    lanes: tuple[LaneConfig, ...] = (LaneConfig(n=1, name=DEFAULT_LANE),)
    version: int = 1
    source: str = "direct"  # direct | kafka
    paused: bool = False
    default_lane: str = DEFAULT_LANE
    durability: str = "fast"  # fast | fsync | replica
    replicas: int = 0  # how many must acknowledge with durability replica
    max_depth: int = 0
    max_payload: int = 1_048_576
    compress_over: int = 4_096
    rate: float = 0.0
    burst: float = 0.0
    tenant: TenantConfig = TenantConfig()
    overrides: bool = False
    tenants: str = ""  # a digest of the tenants' own settings, so that a change of theirs is a change of this
    shares: bool = False
    idem_ms: int = 86_400_000
    keep: Kept = Kept()
    keep_bytes: int = 268_435_456
    keep_least_ms: int = 15_000  # an ended task stays this long, whatever else is said: its id stops late resubmissions
    max_attempts: int = 4
    backoff: Backoff = Backoff()  # of tasks that say nothing else
    lease_ms: int = 2_500
    beat_ms: int = 500
    dispatch_ms: int = 2_000
    max_crashes: int = 3
    wake_cap: int = 64
    outbox_soft: int = 67_108_864
    outbox_hard: int = 100_663_296

    def lane(self, name: str) -> LaneConfig | None:
        """The lane of that name, or None."""
        for lane in self.lanes:
            if lane.name == name:
                return lane
        return None

    def lane_number(self, n: int) -> LaneConfig | None:
        """The lane with that number, or None."""
        for lane in self.lanes:
            if lane.n == n:
                return lane
        return None


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(QueueConfig).decode


def encode_config(config: QueueConfig) -> bytes:
    """The document as stored; the same configuration always gives the same bytes."""
    return _encode(config)


_NOT_FOR_SCRIPTS = frozenset({
    "backoff", "compress_over", "default_lane", "durability", "keep", "max_payload", "name", "prio", "replicas",
    "source", "tenants", "version",
})  # fmt: skip


def encode_for_scripts(config: QueueConfig) -> bytes:
    """What the scripts read on each call, as small as it can be: what is 0, false or empty is left out."""

    def lean(value: object) -> object:
        if isinstance(value, dict):
            return {k: lean(v) for k, v in value.items() if v and k not in _NOT_FOR_SCRIPTS}
        return [lean(item) for item in value] if isinstance(value, list | tuple) else value

    return _encode(lean(msgspec.to_builtins(config)))


def decode_config(raw: bytes) -> QueueConfig:
    """The configuration in a stored document."""
    return _decode(raw)


def config_hash(raw: bytes) -> str:
    """The hash that scripts compare: 16 hexadecimal digits."""
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def encode_tenant(tenant: TenantConfig) -> bytes:
    """One tenant's own limits as stored."""
    return _encode(tenant)
