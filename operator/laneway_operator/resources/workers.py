"""The workers of a pool: pods that run the handlers of the user's app."""

from __future__ import annotations

import math
from typing import Any, Final

from laneway.kit.quantities import duration_ms, size_bytes
from laneway.model.manifests.parts import SecretKey
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.manifests.workerpool import WorkerPool
from laneway_operator.resources.connection import connection, variable
from laneway_operator.resources.gateway import common_env
from laneway_operator.resources.pods import METRICS_PORT, Part, Run, deployment

_MB: Final = 1024 * 1024


def worker_deployment(
    queue: TaskQueue,
    pool: WorkerPool,
    part: Part,
    replicas: int | None,
    *,
    image: str,
    default_redis: str | SecretKey,
    credentials_hash: str,
) -> dict[str, Any]:
    """The Deployment of a pool's workers. ``replicas`` None: somebody else sets their number."""
    spec = pool.spec
    connected = connection(queue, default_redis, kafka=queue.source == "Kafka")
    drain_s = math.ceil(duration_ms(spec.drainTimeout) / 1000)
    run = Run(
        image=image,
        command=_command(pool),
        env=(
            *common_env(queue),
            variable("LANEWAY_APP", spec.app),
            variable("LANEWAY_METRICS_PORT", str(METRICS_PORT)),
            {"name": "LANEWAY_WORKER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *connected.env,
            # Last of all: a variable of Laneway's own can be set here too, by those who know why.
            *(variable(var.name, var.secretRef or var.value or "") for var in spec.env),
        ),
        connection=connected,
        ports={"metrics": METRICS_PORT},
        probe_port="metrics",
        stop_s=drain_s,
        credentials_hash=credentials_hash,
        resources=spec.resources,
        pod=spec.pod,
        pull_policy=spec.imagePullPolicy,
        env_from=_env_from(pool),
        volumes=[volume.model_dump(exclude_none=True) for volume in spec.volumes],
        mounts=[mount.model_dump(exclude_none=True) for mount in spec.volumeMounts],
        strategy={"maxSurge": "25%", "maxUnavailable": "25%"},
    )
    return deployment(part, run, replicas)


def _command(pool: WorkerPool) -> list[str]:
    spec = pool.spec
    command = ["laneway", "worker"]
    command += ["--slots", str(spec.concurrency), "--threads", str(spec.threads), "--processes", str(spec.processes)]
    command += ["--drain", spec.drainTimeout]
    if spec.recycle.maxTasks:
        command += ["--recycle-tasks", str(spec.recycle.maxTasks)]
    if recycle := size_bytes(spec.recycle.maxMemory):
        command += ["--recycle-mb", str(math.ceil(recycle / _MB))]
    return command


def _env_from(pool: WorkerPool) -> list[dict[str, Any]]:
    return [source.model_dump(exclude_none=True) for source in pool.spec.envFrom]
