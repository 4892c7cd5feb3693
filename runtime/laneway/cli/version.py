"""``laneway version``."""

from __future__ import annotations

import platform

import click

from laneway import __version__
from laneway.cli.output import Output
from laneway.cli.where import Format, output_options


@click.command()
@output_options
def version(format: Format) -> int:
    """Say which Laneway this is.

    \b
    Examples:
      laneway version
      laneway version --json
    """
    from laneway.model.envelope import SCHEMA

    python = platform.python_version()
    Output(format).write(
        {"version": __version__, "schema": SCHEMA, "python": python},
        lambda: click.echo(f"laneway {__version__} (Python {python})"),
    )
    return 0
