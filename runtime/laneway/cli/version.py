"""``laneway version``."""

from __future__ import annotations

import platform

import click

from laneway import __version__
from laneway.cli.options import json_option
from laneway.cli.output import print_json


@click.command()
@json_option
def version(as_json: bool) -> int:
    """Say which Laneway this is.

    \b
    Examples:
      laneway version
      laneway version --json
    """
    if as_json:
        from laneway.model.envelope import SCHEMA

        print_json({"version": __version__, "schema": SCHEMA, "python": platform.python_version()})
    else:
        click.echo(f"laneway {__version__} (Python {platform.python_version()})")
    return 0
