"""NetworkPolicies: who may talk to the pods of a part.

Only what comes in is restricted. What goes out is not: brokers and Redis nodes are known by names that change
their addresses, and handlers call whatever their work needs.
"""

from __future__ import annotations

from typing import Any

from laneway_operator.resources.pods import Part


def network_policy(part: Part, *ports: int) -> dict[str, Any]:
    """Only these TCP ports of the part's pods can be reached."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": part.metadata(),
        "spec": {
            "podSelector": {"matchLabels": part.selector()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": port} for port in ports]}],
        },
    }
