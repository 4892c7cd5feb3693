"""``laneway queue list|show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from laneway.cli.exits import Exit
from laneway.cli.groups import CommandGroup
from laneway.cli.output import print_drawn, print_table, safe
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.client.http_answers import QueueItem


@click.group(cls=CommandGroup)
def queue() -> None:
    """Look at queues and the configuration in force.

    \b
    Examples:
      laneway queue list
      laneway queue show -q orders
    """


@queue.command("list")
@place_options
def list_(where: Where) -> int:
    """List the queues: those of the gateway, or of the laneway up in this folder.

    \b
    Examples:
      laneway queue list --context prod
      laneway queue list -o yaml
    """

    async def work(session: Session) -> int:
        found = await session.client.queues()
        session.out.write({"items": [item.raw for item in found]}, lambda: print_table(_COLUMNS, map(_row, found)))
        return Exit.OK

    return on_api(where, work, queue=False)


_COLUMNS = ("queue", "namespace", "state", "queued", "running", "dead", "lanes", "workers", "slots")


def _row(item: QueueItem) -> tuple[object, ...]:
    counts = [item.tasks.get(name, "-") for name in ("queued", "running", "dead")]
    rest = [value if value is not None else "-" for value in (item.lanes, item.workers, item.slots)]
    return (item.name, item.namespace, _state(item), *counts, *rest)


def _state(item: QueueItem) -> str:
    if not item.available:
        return "not available"
    return "paused" if item.paused else "open"


@queue.command()
@place_options
def show(where: Where) -> int:
    """Show a queue: its numbers, and the configuration in force.

    \b
    Examples:
      laneway queue show -q orders
      laneway queue show -q orders --json
    """

    async def work(session: Session) -> int:
        found = await session.client.queue_info()
        session.out.write(found.raw, lambda: _draw(session, found))
        return Exit.OK

    return on_api(where, work)


def _draw(session: Session, item: QueueItem) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    rows: list[tuple[str, str]] = [("queue", session.name), ("namespace", item.namespace), ("state", _state(item))]
    rows += [(name, f"{item.tasks[name]:,}") for name in item.tasks]
    rows += [
        (name, str(value)) for name, value in (("workers", item.workers), ("slots", item.slots)) if value is not None
    ]
    rows += [(name, text) for name, text in _flat(item.raw.get("configuration") or {})]
    for name, text in rows:
        grid.add_row(Text(name), Text(safe(text)))
    print_drawn(grid)


def _flat(value: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings within settings as names with dots."""
    rows: list[tuple[str, str]] = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            rows += _flat(inner, f"{before}{name}.")
        else:
            rows.append((f"{before}{name}", "without bound" if inner is None else str(inner)))
    return rows
