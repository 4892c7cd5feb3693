"""PodDisruptionBudgets: a drain of nodes takes the pods of a part one after the other."""

from __future__ import annotations

from typing import Any

from laneway_operator.resources.pods import Part


def disruption_budget(part: Part, *, at_once: int | str = 1) -> dict[str, Any]:
    """At most ``at_once`` pods of a part are away by intention. A part of one pod can still be moved: a budget
    that forbids that would hold up every drain of its node for ever."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": part.metadata(),
        "spec": {
            "maxUnavailable": at_once,
            "selector": {"matchLabels": part.selector()},
            # Pods that are not ready protect nothing.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
