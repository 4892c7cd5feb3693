"""``laneway gateway``: the HTTP API."""

from __future__ import annotations

import os
from typing import Any

import click

from laneway.cli.options import kafka_option, role_options
from laneway.cli.params import NAME, PORT, SECONDS
from laneway.cli.target import resolve_role


@click.command()
@click.option(
    "--queue", "-q", "queues", type=NAME, multiple=True, required=True, envvar="LANEWAY_QUEUE",
    show_envvar=True, help="A queue to serve; may be given several times (in the environment: by spaces).",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0: all of them.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="The port to listen on.")
@click.option(
    "--linger",
    type=SECONDS,
    envvar="LANEWAY_LINGER",
    show_envvar=True,
    help="How long to go on answering once told to stop, while /readyz says no.  [default: 5s in a cluster, else 0s]",
)
@click.option(
    "--auth", metavar="FILE|none", envvar="LANEWAY_AUTH", show_envvar=True,
    help="Who may use the API: a file of YAML or JSON (docs/reference/auth.md); none: everybody."
    "  [default: none on loopback; elsewhere it must be said]",
)  # fmt: skip
@kafka_option
@role_options
def gateway(queues: tuple[str, ...], **options: Any) -> int:
    """Serve the HTTP API of queues.

    \b
    Examples:
      laneway gateway -q orders
      laneway gateway -q orders -q mail --redis redis://redis:6379 --port 8000
      laneway gateway -q orders --host 0.0.0.0 --auth auth.yaml
      laneway gateway -q orders --kafka kafka:9092   (where its poller tells events)
    """
    from laneway.roles.gateway import GatewayOptions, run_gateway

    if options["linger"] is None:
        # Endpoints of a Service follow a pod's end with some delay; elsewhere nobody is waited for.
        options["linger"] = 5.0 if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0
    options = resolve_role(options)
    return run_gateway(GatewayOptions(queues=tuple(dict.fromkeys(queues)), **options))
