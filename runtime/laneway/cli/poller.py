"""``laneway poller``: promotion, reaping, relaying, and dispatch to Kafka."""

from __future__ import annotations

from typing import Any

import click

from laneway.cli.options import kafka_option, metrics_options, one_queue_option, role_options
from laneway.cli.target import resolve_role


@click.command(short_help="Run the poller of a queue.")
@one_queue_option
@kafka_option
@metrics_options
@role_options
def poller(**options: Any) -> int:
    """Run the poller of a queue: due tasks, dead workers, the log of events.

    Several pollers of one queue may run at once.

    \b
    Examples:
      laneway poller -q orders
      laneway poller -q orders --redis redis://redis:6379 --kafka kafka:9092
    """
    from laneway.roles.poller import PollerOptions, run_poller

    options = resolve_role(options)
    return run_poller(PollerOptions(**options))
