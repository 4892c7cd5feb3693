"""The HorizontalPodAutoscaler of a pool with ``scaling.controller: HorizontalPodAutoscaler``."""

from __future__ import annotations

from typing import Any, Final

from laneway.kit.quantities import duration_ms
from laneway.model.manifests import WorkerPool
from laneway_operator import names
from laneway_operator.resources.pods import Part

#: The metric that Laneway's adapter serves: the replicas that a pool needs, not rounded.
METRIC: Final = "laneway_pool_load"
#: The label that says of which pool.
POOL_SELECTOR: Final = "pool"


def autoscaler(pool: WorkerPool, part: Part) -> dict[str, Any]:
    """Scales the WorkerPool itself, by its scale subresource, so that the Deployment has one owner.

    The metric is the replicas needed, so its target is 1 per replica. An HPA begins at 1: zero is up to the operator,
    which leaves the Deployment empty while the queue is.
    """
    scaling = pool.spec.scaling
    assert scaling is not None
    # (an HPA knows whole seconds, up to an hour)
    window = min(3600, -(-duration_ms(scaling.stabilization) // 1000))
    metric = {"name": METRIC, "selector": {"matchLabels": {POOL_SELECTOR: pool.metadata.name}}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": part.metadata(),
        "spec": {
            "scaleTargetRef": target_of(pool.metadata.name),
            "minReplicas": max(1, scaling.min),
            "maxReplicas": max(1, scaling.max),
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1"}},
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    # Up at once, as the operator does it.
                    "policies": [{"type": "Pods", "value": max(1, scaling.max), "periodSeconds": 15}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": window,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
            },
        },
    }


def target_of(pool: str) -> dict[str, str]:
    """What the pool's HPA scales."""
    return {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.POOL, "name": pool}
