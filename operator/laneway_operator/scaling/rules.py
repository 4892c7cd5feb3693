"""What a pool's manifest and a queue's depth mean to the pure decision."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from laneway.kit.quantities import duration_ms
from laneway.model.manifests import WorkerPool
from laneway.policy.scaling import SOON_S, ScalingRule, Work, share
from laneway.ports.store import Depth
from laneway_operator.keys import Body

#: Scheduled tasks count when they are due within so many ms.
SOON_MS: Final = int(SOON_S * 1000)


def rule_of(pool: WorkerPool) -> ScalingRule:
    """The rule of a pool that has ``spec.scaling``."""
    spec = pool.spec
    scaling = spec.scaling
    assert scaling is not None
    drain = scaling.target.drainTime
    return ScalingRule(
        min=scaling.min,
        max=scaling.max,
        stabilization_s=duration_ms(scaling.stabilization) / 1000,
        slots=spec.processes * spec.concurrency,
        tasks_per_replica=scaling.target.tasksPerReplica,
        drain_s=duration_ms(drain) / 1000 if drain is not None else None,
    )


def work_of(depth: Depth) -> Work:
    """What the queue has to do, by its depth."""
    return Work(
        queued=depth.ready + depth.soon,
        running=depth.dispatched + depth.running,
        parked=depth.parked,
        stopped=depth.stopped,
        run_s=depth.run_ms / 1000,
    )


def share_of(pool: WorkerPool, bodies: Iterable[Body]) -> Fraction:
    """The pool's part of its queue's tasks. ``bodies`` are all WorkerPools of the queue.

    Only pools whose size follows the queue count: those of a fixed size, in shadow mode or with controller None do
    not make the others smaller. A pool in shadow mode is told what it would get if it were live.
    """
    scaling = pool.spec.scaling
    assert scaling is not None
    own = pool.spec.processes * pool.spec.concurrency * scaling.max
    others = [most for body in bodies if body["metadata"]["name"] != pool.metadata.name and (most := _most_slots(body))]
    return share(own, others) if own else Fraction(1)


def _most_slots(body: Body) -> int:
    """The most slots that a live scaled pool may have; 0 for any other pool."""
    spec = body.get("spec", {})
    scaling = spec.get("scaling")
    if not scaling or scaling.get("shadow") or scaling.get("controller", "Operator") == "None":
        return 0
    if body["metadata"].get("deletionTimestamp"):
        return 0
    return int(spec.get("processes", 1)) * int(spec.get("concurrency", 16)) * int(scaling.get("max", 0))
