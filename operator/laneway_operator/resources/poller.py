"""The pollers of a queue: pods that promote, reap, tidy, relay, and with Kafka dispatch."""

from __future__ import annotations

from typing import Any, Final

from laneway.model.manifests.parts import SecretKey
from laneway.model.manifests.taskqueue import TaskQueue
from laneway_operator.resources.connection import connection, variable
from laneway_operator.resources.gateway import common_env
from laneway_operator.resources.pods import METRICS_PORT, Part, Run, deployment

_STOP_S: Final = 30


def poller_deployment(
    queue: TaskQueue, part: Part, *, image: str, default_redis: str | SecretKey, credentials_hash: str
) -> dict[str, Any]:
    """The Deployment of a queue's pollers."""
    spec = queue.spec.poller
    connected = connection(queue, default_redis)
    run = Run(
        image=image,
        command=("laneway", "poller"),
        env=(*common_env(queue), variable("LANEWAY_METRICS_PORT", str(METRICS_PORT)), *connected.env),
        connection=connected,
        ports={"metrics": METRICS_PORT},
        probe_port="metrics",
        stop_s=_STOP_S,
        credentials_hash=credentials_hash,
        resources=spec.resources,
        pod=spec.pod,
    )
    return deployment(part, run, spec.replicas)
