"""The Service before a queue's gateways."""

from __future__ import annotations

from typing import Any, Final

from laneway_operator.resources.pods import Part

SERVICE_PORT: Final = 80


def gateway_service(gateway: Part, name: str, service_type: str) -> dict[str, Any]:
    """Port 80 of ``name`` leads to the port named http of the gateway's pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": gateway.metadata(name),
        "spec": {
            "type": service_type,
            "selector": gateway.selector(),
            "ports": [
                {"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
            ],
        },
    }
