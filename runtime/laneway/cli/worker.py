"""``laneway worker``: runs an app's handlers."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from laneway.cli.options import default_name, kafka_option, metrics_options, one_queue_option, role_options
from laneway.cli.params import APP, SECONDS
from laneway.cli.target import resolve_role


@click.command()
@click.argument("app", type=APP, envvar="LANEWAY_APP", metavar="PACKAGE.MODULE:APP")
@one_queue_option
@kafka_option
@click.option(
    "--slots",
    type=click.IntRange(1, 10_000),
    default=16,
    show_default=True,
    help="Tasks that one process runs at once.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1_000),
    default=16,
    show_default=True,
    help="Threads of one process, for handlers that are not async.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--drain",
    type=SECONDS,
    default=25.0,
    help="How long to wait for running tasks when told to stop.  [default: 25s]",
)
@click.option(
    "--recycle-tasks",
    type=click.IntRange(0, 1_000_000_000),
    default=0,
    show_default=True,
    help="Replace a process after so many tasks; 0: never.",
)
@click.option(
    "--recycle-mb",
    type=click.IntRange(0, 1_048_576),
    default=0,
    show_default=True,
    help="Replace a process that has grown to so many MB; 0: never.",
)
@click.option(
    "--task-logs/--no-task-logs",
    default=True,
    envvar="LANEWAY_TASK_LOGS",
    show_envvar=True,
    help="Keep what handlers log with their tasks: the last 200 lines of each, up to 32 KiB.  [default: task-logs]",
)
@metrics_options
@click.option(
    "--name",
    envvar="LANEWAY_WORKER_NAME",
    show_envvar=True,
    help="The worker's name; of several processes, or from the environment: NAME-0, NAME-1, ...  [default: HOST-PID]",
)
@role_options
@click.pass_context
def worker(ctx: click.Context, /, name: str | None, **options: Any) -> int:
    """Run the tasks of a queue with the handlers of an app.

    SIGTERM or Ctrl-C stops it gently: it takes nothing new, waits for what runs, and hands back the rest.
    Exit code 75: it has done its --recycle-tasks or grown to its --recycle-mb, and wants to be started again
    (with --processes over 1, and as the first process of a container, that is done here).

    \b
    Examples:
      laneway worker orders.tasks:app -q orders
      laneway worker orders.tasks:app -q orders --slots 50 --processes 2 --drain 1m
    """
    from laneway.roles.worker import WorkerOptions, run_worker

    if name is not None and not (1 <= len(name) <= 128 and name.isprintable()):
        raise click.BadParameter("must have 1 to 128 printable characters", param_hint="'--name'")
    options = resolve_role(options)
    # A pod gives its name by the environment; whoever looks for a pod's processes finds NAME-0, NAME-1, ...
    numbered = ctx.get_parameter_source("name") is ParameterSource.ENVIRONMENT
    return run_worker(WorkerOptions(name=name or default_name(), numbered=numbered, **options))
