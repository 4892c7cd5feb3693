"""From manifests to what runs: a queue's live configuration, and what a worker pool starts.

Pure, so that the operator and ``laneway up`` decide alike: the same manifests and the same current
configuration give the same plan, and planning again from the plan changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from laneway.errors import ConfigError
from laneway.kit.quantities import duration_ms, size_bytes
from laneway.model.config import (
    DEFAULT_LANE,
    MAX_LANES,
    Keep,
    Kept,
    LaneConfig,
    QueueConfig,
    TenantConfig,
    encode_tenant,
)
from laneway.model.envelope import Backoff
from laneway.model.manifests.bundle import QueueManifests
from laneway.model.manifests.parts import Rate
from laneway.model.manifests.prioritylane import PriorityLane
from laneway.model.manifests.taskqueue import KeptDead, KeptEnded, Tenants
from laneway.model.manifests.workerpool import WorkerPool

MAX_LANE_NUMBER: Final = 250


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one worker pool runs on one machine.

    ``processes`` counts all of them (replicas times processes); ``slots`` and ``threads`` are of each.
    Sizes are in bytes, times in seconds; 0 means never for ``recycle_tasks`` and ``recycle_bytes``. ``env``
    is set for the handlers; ``env_required`` are variables that a Secret holds in a cluster and that must
    be set here.
    """

    namespace: str
    name: str
    queue: str
    app: str
    processes: int
    slots: int
    threads: int
    drain_s: float
    recycle_tasks: int = 0
    recycle_bytes: int = 0
    env: tuple[tuple[str, str], ...] = ()
    env_required: tuple[str, ...] = ()


def plan_config(
    current: QueueConfig | None,
    manifests: QueueManifests,
    *,
    empty_lanes: frozenset[str] = frozenset(),
    source: str | None = None,
) -> tuple[QueueConfig, dict[str, TenantConfig]]:
    """The live configuration of a queue, and the settings of tenants that have their own.

    A lane keeps its number for as long as it is in ``current``. One that is no longer wanted stays as
    ``gone``: it accepts nothing and is worked off. ``empty_lanes`` names lanes that have no task in any
    state, ended ones included, as was seen while ``current`` was in force: of these, those already ``gone``
    are dropped, and only then can their numbers be given away. ``source`` (direct or kafka) is used in place of
    the manifest's, by those who run it where there is no Kafka. The version is that of ``current``, or one
    more if anything differs.

    Raises:
        ConfigError: the manifests do not fit together (see :func:`problems`), or all lane numbers are taken.
    """
    found = problems(manifests)
    if found:
        raise ConfigError(f"TaskQueue {manifests.name}: " + "; ".join(found))
    spec = manifests.queue.spec
    lanes = _plan_lanes(current, manifests, empty_lanes)
    tenants = _plan_tenants(spec.tenants)
    rate, burst = _rate(spec.limits.rate)
    backoff = spec.retry.backoff
    planned = QueueConfig(
        lanes=lanes,
        version=current.version if current else 1,
        source=source or manifests.queue.source.lower(),
        paused=spec.paused,
        default_lane=default_lane(manifests),
        durability=spec.durability.lower(),
        replicas=spec.ackReplicas or 0,
        max_depth=spec.limits.maxDepth,
        max_payload=size_bytes(spec.limits.maxPayload),
        compress_over=size_bytes(spec.limits.compressOver),
        rate=rate,
        burst=burst,
        tenant=_tenant_defaults(spec.tenants),
        overrides=bool(tenants),
        tenants=_digest(tenants),
        shares=any(lane.share for lane in lanes),
        idem_ms=duration_ms(spec.idempotency.ttl),
        keep=Kept(ended=_keep(spec.retention.ended), dead=_keep(spec.retention.dead)),
        keep_bytes=size_bytes(spec.retention.maxBytes),
        max_attempts=spec.retry.maxAttempts,
        max_crashes=spec.retry.maxCrashes,
        backoff=Backoff(
            base=duration_ms(backoff.base) / 1000,
            factor=float(backoff.factor),
            cap=duration_ms(backoff.cap) / 1000,
            jitter=backoff.jitterPercent / 100,
        ),
    )
    if current is not None and planned != current:
        planned = msgspec.structs.replace(planned, version=current.version + 1)
    return planned, tenants


def plan_pool(pool: WorkerPool) -> PoolPlan:
    """What a pool runs on one machine. ``image`` and ``scaling`` are for clusters and play no part."""
    spec = pool.spec
    return PoolPlan(
        namespace=pool.metadata.namespace,
        name=pool.metadata.name,
        queue=spec.queueRef.name,
        app=spec.app,
        processes=spec.replicas * spec.processes,
        slots=spec.concurrency,
        threads=spec.threads,
        drain_s=duration_ms(spec.drainTimeout) / 1000,
        recycle_tasks=spec.recycle.maxTasks,
        recycle_bytes=size_bytes(spec.recycle.maxMemory),
        env=tuple((var.name, var.value) for var in spec.env if var.value is not None),
        env_required=tuple(var.name for var in spec.env if var.value is None),
    )


def problems(manifests: QueueManifests) -> list[str]:
    """What is wrong with a queue and its lanes taken together; empty when they fit."""
    found: list[str] = []
    lanes = manifests.lanes
    owners: dict[str, str] = {}
    for lane in lanes:
        name = lane.metadata.name
        if lane.lane in owners:
            found.append(
                f"PriorityLanes {owners[lane.lane]} and {name} both name the lane {lane.lane!r}: give one of"
                " them another spec.laneName"
            )
        owners.setdefault(lane.lane, name)
    if len(lanes) > MAX_LANES:
        found.append(f"a queue has at most {MAX_LANES} lanes, not {len(lanes)}")
    shares = [lane for lane in lanes if lane.spec.minSharePercent]
    total = sum(lane.spec.minSharePercent for lane in shares)
    if total > 100:
        each = ", ".join(f"{lane.lane} {lane.spec.minSharePercent}" for lane in shares)
        found.append(f"minSharePercent of all lanes together is at most 100, not {total} ({each})")
    wanted = manifests.queue.spec.defaultLane
    known = sorted(owners) or [DEFAULT_LANE]
    if wanted is not None and wanted not in known:
        found.append(f"spec.defaultLane: there is no lane {wanted!r}; the lanes are: {', '.join(known)}")
    return found


def default_lane(manifests: QueueManifests) -> str:
    """The lane of tasks that name none."""
    if manifests.queue.spec.defaultLane is not None:
        return manifests.queue.spec.defaultLane
    if not manifests.lanes or any(lane.lane == DEFAULT_LANE for lane in manifests.lanes):
        return DEFAULT_LANE
    # The last to be served: work that says nothing of itself never gets ahead of work that does.
    return max(manifests.lanes, key=lambda lane: (-lane.spec.priority, lane.lane)).lane


def _plan_lanes(
    current: QueueConfig | None, manifests: QueueManifests, empty: frozenset[str]
) -> tuple[LaneConfig, ...]:
    before = current.lanes if current else ()
    wanted = {lane.lane: lane for lane in manifests.lanes}
    names = set(wanted) or {DEFAULT_LANE}
    leaving = [
        # Nobody can unpause a lane that is gone, or release what a share of it holds back.
        msgspec.structs.replace(lane, gone=True, paused=False, share=0)
        for lane in before
        if lane.name not in names and not (lane.gone and lane.name in empty)
    ]
    numbers = {lane.name: lane.n for lane in before if lane.name in names}
    taken = {lane.n for lane in leaving} | set(numbers.values())
    last = max((lane.n for lane in before), default=0)
    for name in sorted(names - set(numbers), key=lambda name: _order(_prio(wanted.get(name)), name)):
        # A number never used is better than one given back: nothing is left over of a lane before it.
        free = last + 1 if last < MAX_LANE_NUMBER else _lowest_free(taken)
        numbers[name] = free
        taken.add(free)
        last = max(last, free)
    planned = [_lane(name, numbers[name], wanted.get(name)) for name in names]
    return tuple(sorted([*planned, *leaving], key=lambda lane: _order(lane.prio, lane.name)))


def _prio(lane: PriorityLane | None) -> int:
    return lane.spec.priority if lane else 0


def _order(prio: int, name: str) -> tuple[int, str]:
    """The dispatch order: higher priorities first, then by name."""
    return -prio, name


def _lowest_free(taken: set[int]) -> int:
    for n in range(1, MAX_LANE_NUMBER + 1):
        if n not in taken:
            return n
    raise ConfigError(
        f"all {MAX_LANE_NUMBER} lane numbers of the queue are taken, most by lanes that were removed and"
        " still have tasks: let these end or purge them, and try again"
    )


def _lane(name: str, n: int, manifest: PriorityLane | None) -> LaneConfig:
    if manifest is None:
        return LaneConfig(n=n, name=name)
    spec = manifest.spec
    rate, burst = _rate(spec.submitRate)
    drate, dburst = _rate(spec.dispatchRate)
    return LaneConfig(
        n=n,
        name=name,
        prio=spec.priority,
        paused=spec.paused,
        max=spec.maxRunning,
        share=spec.minSharePercent,
        rate=rate,
        burst=burst,
        drate=drate,
        dburst=dburst,
        fifo=spec.ordering == "Fifo",
    )


def _tenant_defaults(tenants: Tenants) -> TenantConfig:
    rate, burst = _rate(tenants.defaults.rate)
    return TenantConfig(w=tenants.defaults.weight, max=tenants.defaults.maxRunning, rate=rate, burst=burst)


def _plan_tenants(tenants: Tenants) -> dict[str, TenantConfig]:
    defaults = _tenant_defaults(tenants)
    planned: dict[str, TenantConfig] = {}
    for override in sorted(tenants.overrides, key=lambda override: override.name):
        rate, burst = _rate(override.rate) if override.rate is not None else (defaults.rate, defaults.burst)
        planned[override.name] = TenantConfig(
            w=defaults.w if override.weight is None else override.weight,
            max=defaults.max if override.maxRunning is None else override.maxRunning,
            rate=rate,
            burst=burst,
        )
    return planned


def _digest(tenants: Mapping[str, TenantConfig]) -> str:
    if not tenants:
        return ""
    whole = hashlib.blake2b(digest_size=8)
    for name, tenant in tenants.items():
        for part in (name.encode(), encode_tenant(tenant)):
            whole.update(len(part).to_bytes(4, "big") + part)
    return whole.hexdigest()


def _rate(rate: Rate | None) -> tuple[float, float]:
    """Tasks per second and burst; 0, 0 for unlimited."""
    if rate is None or rate.perSecond == 0:
        return 0.0, 0.0
    return float(rate.perSecond), float(rate.perSecond if rate.burst is None else rate.burst)


def _keep(kept: KeptEnded | KeptDead) -> Keep:
    return Keep(n=kept.count, ms=duration_ms(kept.age))
