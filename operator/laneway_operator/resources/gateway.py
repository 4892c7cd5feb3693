"""The gateways of a queue: pods that serve its HTTP API."""

from __future__ import annotations

from typing import Any, Final

from laneway.model.manifests.parts import SecretKey
from laneway.model.manifests.taskqueue import TaskQueue
from laneway_operator.resources.connection import connection, variable
from laneway_operator.resources.pods import HTTP_PORT, Part, Run, deployment

_STOP_S: Final = 30
_LINGER_S: Final = 5


def gateway_deployment(
    queue: TaskQueue, part: Part, *, image: str, default_redis: str | SecretKey, credentials_hash: str
) -> dict[str, Any]:
    """The Deployment of a queue's gateways."""
    spec = queue.spec.gateway
    connected = connection(queue, default_redis, kafka=False)
    run = Run(
        image=image,
        command=("laneway", "gateway", "--host", "0.0.0.0", "--port", str(HTTP_PORT)),
        env=(*common_env(queue), *connected.env),
        connection=connected,
        ports={"http": HTTP_PORT},
        probe_port="http",
        stop_s=_STOP_S,
        credentials_hash=credentials_hash,
        resources=spec.resources,
        pod=spec.pod,
        linger_s=_LINGER_S,
    )
    return deployment(part, run, spec.replicas)


def common_env(queue: TaskQueue) -> list[dict[str, Any]]:
    """What all roles are told of the queue they serve."""
    return [
        variable("LANEWAY_QUEUE", queue.metadata.name),
        variable("LANEWAY_NAMESPACE", queue.metadata.namespace),
        variable("LANEWAY_LOG_FORMAT", "json"),
    ]
