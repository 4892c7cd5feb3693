"""``laneway up``: the manifests' queues and workers on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from laneway.cli.options import (
    DEFAULT_NAMESPACE,
    kafka_option,
    log_format,
    log_options,
    optional_redis_option,
)
from laneway.cli.params import NAME, PORT
from laneway.cli.target import named_servers


@click.command(short_help="Run queues, workers and gateway on this machine.")
@click.option(
    "-f",
    "--file",
    "paths",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A file or folder of manifests; may be given several times.",
)
@optional_redis_option
@kafka_option
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder that the embedded Redis keeps its data in.  [default: .laneway]",
)
@click.option("--port", type=PORT, default=8080, show_default=True, help="The gateway's port; 0: any free one.")
@click.option(
    "--namespace",
    type=NAME,
    default=DEFAULT_NAMESPACE,
    show_default=True,
    envvar="LANEWAY_NAMESPACE",
    show_envvar=True,
    help="The namespace of manifests that name none.",
)
@log_options
def up(
    paths: tuple[Path, ...],
    redis: str | None,
    kafka: str | None,
    data: Path | None,
    port: int,
    namespace: str,
    **logs: str,
) -> int:
    """Run the queues, workers and gateway of manifests on this machine, until Ctrl-C.

    Without --redis it starts a Redis of its own. Client commands in the same folder find it by themselves.
    SIGHUP reads the manifests again, and applies what can change live.

    \b
    Examples:
      laneway up -f examples/quickstart
      laneway up -f queue.yaml -f workers.yaml --redis redis://127.0.0.1:6379
    """
    from laneway.roles.up import UpOptions, run_up

    return run_up(
        UpOptions(
            paths, *named_servers(redis, kafka), data=data, port=port, namespace=namespace,
            log_format=log_format(logs["log_format"]), log_level=logs["log_level"],
        )
    )  # fmt: skip
