"""``laneway bench``: measurements of this machine and these servers."""

from __future__ import annotations

from typing import Any

import click

from laneway.cli.options import json_option, kafka_option, optional_redis_option
from laneway.cli.output import print_json, print_table
from laneway.cli.params import KEY_VALUE


@click.command(short_help="Measure throughput, latency and more.")
@click.argument("name", required=False)
@click.option(
    "--set", "settings", type=KEY_VALUE, multiple=True, metavar="NAME=VALUE",
    help="A setting of the bench, such as tasks=10000; may be given several times.",
)  # fmt: skip
@optional_redis_option
@kafka_option
@json_option
def bench(
    name: str | None,
    settings: tuple[tuple[str, str], ...],
    redis: str | None,
    kafka: str | None,
    as_json: bool,
) -> int:
    """Measure throughput, latency and more; without NAME, list what can be measured.

    The last line is one JSON object; with --json there is nothing else. Without --redis it starts a Redis
    of its own. Benches fill and empty queues of their own.

    \b
    Examples:
      laneway bench
      laneway bench throughput --json
      laneway bench latency --redis redis://127.0.0.1:6379 --kafka 127.0.0.1:9092
    """
    from laneway.bench.main import NAMES, run

    if name is None:
        if as_json:
            print_json(NAMES)
        else:
            print_table(["bench", "what it measures"], sorted(NAMES.items()))
        return 0
    if name not in NAMES:
        raise click.UsageError(f"there is no bench {name!r}; the benches are {', '.join(sorted(NAMES))}")
    options: dict[str, Any] = {}
    for key, text in settings:
        if key in options:
            raise click.UsageError(f"--set {key} is given twice: keep one of them")
        options[key] = _value(text)
    return run(name, redis=redis, kafka=kafka, json=as_json, options=options)


def _value(text: str) -> Any:
    """A number, true or false when it reads as one; else the text."""
    import msgspec

    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) else text
