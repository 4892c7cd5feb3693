"""``laneway demo``: the main job, run and checked on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from laneway.cli.options import kafka_option, optional_redis_option
from laneway.cli.target import named_servers


@click.command(short_help="Run real work over three lanes, and check it.")
@optional_redis_option
@kafka_option
@click.option("--json", "json_only", is_flag=True, help="Write the JSON of the result alone.")
@click.option(
    "--examples", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with the examples.  [default: the one of this project]",
)  # fmt: skip
def demo(redis: str | None, kafka: str | None, json_only: bool, examples: Path | None) -> int:
    """Run a burst of tasks and real work over three lanes, and check that each ran exactly once.

    Without --redis it starts a Redis of its own and needs nothing else. The last line is one JSON object.

    \b
    Examples:
      laneway demo
      laneway demo --redis redis://127.0.0.1:6379 --kafka 127.0.0.1:9092 --json
    """
    from laneway.roles.demo import DemoOptions, run_demo

    return run_demo(DemoOptions(*named_servers(redis, kafka), json_only=json_only, examples=examples))
