"""What the pass of a WorkerPool asks of scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from laneway.model.manifests import WorkerPool
from laneway_operator.conditions import Condition
from laneway_operator.keys import Body


@dataclass(frozen=True, slots=True)
class ScalingResult:
    """How many replicas a pool shall have, and what to say of it.

    ``replicas`` None: an HPA owns the Deployment's number, and it is left out of what is applied (what is there
    stays). ``status`` becomes ``status.scaling`` (None: none); ``condition`` is ScalingActive (None: none).
    ``objects`` are applied as the pool's own, such as an HPA; ones of earlier passes that are not among them go.
    """

    replicas: int | None
    status: Mapping[str, Any] | None = None
    condition: Condition | None = None
    objects: tuple[Body, ...] = ()


class PoolScaler(Protocol):
    """Decides on the sizes of pools. Never waits long: what it needs was read before."""

    async def wanted(self, pool: WorkerPool, body: Body, current: int | None) -> ScalingResult:
        """The size for a pool. ``body`` is its object (uid, generation); ``current`` is the number that its Deployment
        asks for now, or None when there is no Deployment yet."""
        ...

    def forget(self, namespace: str, name: str) -> None:
        """The pool is gone."""
        ...
