"""Options that several commands share."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from laneway.cli.params import KAFKA, NAME, PORT, REDIS_URL

DEFAULT_REDIS = "redis://127.0.0.1:6379"
DEFAULT_NAMESPACE = "default"

_F = TypeVar("_F", bound=Callable[..., Any])


def _all(*options: Callable[[Any], Any]) -> Callable[[_F], _F]:
    def decorate(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


cluster_option = click.option(
    "--cluster",
    is_flag=True,
    envvar="LANEWAY_CLUSTER",
    show_envvar=True,
    help="The server is a Redis Cluster.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON on standard output.")

yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")

log_options = _all(
    click.option(
        "--log-format", type=click.Choice(["auto", "json", "console"]), default="auto", show_default=True,
        envvar="LANEWAY_LOG_FORMAT", show_envvar=True, help="auto: console on a terminal, else json.",
    ),
    click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error", "critical"]), default="info",
        show_default=True, envvar="LANEWAY_LOG_LEVEL", show_envvar=True, help="The least that is logged.",
    ),
)  # fmt: skip

kafka_option = click.option(
    "--kafka", type=KAFKA, envvar="LANEWAY_KAFKA", show_envvar=True, help="Kafka's brokers: HOST:PORT,..."
)

optional_redis_option = click.option(
    "--redis", type=REDIS_URL, envvar="LANEWAY_REDIS_URL", show_envvar=True,
    help="A real Redis.  [default: an embedded one]",
)  # fmt: skip

role_options = _all(
    click.option(
        "--redis", type=REDIS_URL, envvar="LANEWAY_REDIS_URL", show_envvar=True,
        help=f"Where Redis is.  [default: that of the laneway up in this folder, else {DEFAULT_REDIS}]",
    ),
    click.option(
        "--namespace", type=NAME, envvar="LANEWAY_NAMESPACE", show_envvar=True,
        help=f"The queue's namespace.  [default: {DEFAULT_NAMESPACE}]",
    ),
    cluster_option,
    log_options,
)  # fmt: skip

one_queue_option = click.option(
    "--queue", "-q", type=NAME, required=True, envvar="LANEWAY_QUEUE", show_envvar=True, help="The queue."
)


metrics_options = _all(
    click.option(
        "--metrics-port", type=PORT, default=0, show_default=True, envvar="LANEWAY_METRICS_PORT", show_envvar=True,
        help="Where to serve metrics and health; 0: nowhere.",
    ),
    click.option(
        "--metrics-host", default="0.0.0.0", show_default=True, envvar="LANEWAY_METRICS_HOST", show_envvar=True,
        help="The address to serve them on.",
    ),
)  # fmt: skip


def log_format(choice: str) -> str:
    """The format that ``auto`` means here."""
    if choice != "auto":
        return choice
    return "console" if sys.stderr.isatty() else "json"


def default_name() -> str:
    """A worker's name when none is given: that of its host and process."""
    return f"{socket.gethostname()}-{os.getpid()}"
