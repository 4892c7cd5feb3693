"""What a worker is started with, and the command line that starts one with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields

from laneway.model.servers import KafkaServer, RedisServer

#: They go into the environment: see :func:`laneway.roles.stores.server_env`.
_NOT_IN_COMMAND = frozenset({"app", "redis", "kafka", "cluster", "numbered"})


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """``app`` is ``package.module:app``. Times in seconds; 0 for ``recycle_*`` (tasks, MiB) means never and for
    ``metrics_port`` none; ``metrics_host`` may be ``unix:PATH``, which needs no port. ``numbered``: ``name`` is
    that of a pod, and its processes are NAME-0, NAME-1, ... also when there is only one; else one alone is NAME.
    ``task_logs``: what handlers log is kept with their tasks."""

    app: str
    redis: RedisServer | str
    queue: str
    namespace: str = "default"
    kafka: KafkaServer | str | None = None
    slots: int = 16
    threads: int = 16
    processes: int = 1
    drain: float = 25.0
    recycle_tasks: int = 0
    recycle_mb: int = 0
    metrics_port: int = 0
    metrics_host: str = "0.0.0.0"
    log_format: str = "console"
    log_level: str = "info"
    name: str = ""
    numbered: bool = False
    cluster: bool = False
    task_logs: bool = True


def worker_command(options: WorkerOptions) -> list[str]:
    """The command line of one worker process with these options. Where Redis and Kafka are is not in it: that goes
    into the environment (:func:`laneway.roles.stores.server_env`)."""
    command = [sys.executable, "-m", "laneway", "worker", options.app]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in _NOT_IN_COMMAND or value in (None, ""):
            continue
        if isinstance(value, bool):
            command.append(f"--{'' if value else 'no-'}{field.name.replace('_', '-')}")
            continue
        command += [f"--{field.name.replace('_', '-')}", str(value)]
    return command
