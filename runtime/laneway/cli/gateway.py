"""``laneway gateway``: the HTTP API."""

from __future__ import annotations

from typing import Any

import click

from laneway.cli.options import log_format, role_options
from laneway.cli.params import NAME, PORT
from laneway.cli.target import resolve_role


@click.command()
@click.option(
    "--queue", "-q", "queues", type=NAME, multiple=True, required=True, envvar="LANEWAY_QUEUE",
    show_envvar=True, help="A queue to serve; may be given several times (in the environment: by spaces).",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0: all of them.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="The port to listen on.")
@role_options
def gateway(queues: tuple[str, ...], **options: Any) -> int:
    """Serve the HTTP API of queues.

    \b
    Examples:
      laneway gateway -q orders
      laneway gateway -q orders -q mail --redis redis://redis:6379 --port 8000
    """
    from laneway.roles.gateway import GatewayOptions, run_gateway

    options |= resolve_role(options["redis"], options["namespace"])
    options["log_format"] = log_format(options["log_format"])
    return run_gateway(GatewayOptions(queues=tuple(dict.fromkeys(queues)), **options))
