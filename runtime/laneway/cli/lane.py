"""``laneway lane list|eta``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.groups import CommandGroup
from laneway.cli.output import print_table, span
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.client.http_answers import LaneEta, LaneItem


@click.group(cls=CommandGroup)
def lane() -> None:
    """Look at a queue's lanes, and when a task submitted now would start.

    \b
    Examples:
      laneway lane list -q orders
      laneway lane eta high -q orders
    """


@lane.command("list")
@place_options
def list_(where: Where) -> int:
    """List the lanes, as they are served: settings, depth, age of the first task, ETA.

    \b
    Examples:
      laneway lane list -q orders
    """

    async def work(session: Session) -> int:
        found = await session.client.lanes()
        session.out.write({"items": [item.raw for item in found]}, lambda: print_table(_COLUMNS, map(_row, found)))
        return Exit.OK

    return on_api(where, work)


_COLUMNS = ("lane", "prio", "queued", "running", "max", "min share", "rate limit", "oldest", "starts in", "")


def _row(item: LaneItem) -> tuple[object, ...]:
    notes = [name for name in ("paused", "removed", "fifo") if item.raw.get(name)]
    return (
        item.name, item.priority, item.queued, item.running, _or_dash(item.max_running),
        f"{item.min_share:g}%" if item.min_share else "-", _or_dash(item.dispatch_rate, "/s"),
        span(item.oldest_seconds), span(item.eta_seconds), ", ".join(notes),
    )  # fmt: skip


def _or_dash(value: object, unit: str = "") -> object:
    return "-" if value is None else f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}"


@lane.command()
@click.argument("lane")
@place_options
def eta(lane: str, where: Where) -> int:
    """Tell when a task submitted to a lane now would start.

    \b
    Examples:
      laneway lane eta high -q orders
    """

    async def work(session: Session) -> int:
        found = await session.client.eta(lane)
        session.out.write(found.raw, lambda: click.echo(_sentence(found)))
        return Exit.OK

    return on_api(where, work)


def _sentence(found: LaneEta) -> str:
    ahead = f"{found.ahead:,} tasks are ahead of it" if found.ahead is not None else ""
    if found.eta_seconds is None:
        return f"when a task in {found.lane} would start is not known" + (f": {ahead}" if ahead else "")
    if found.basis == "idle":
        return f"a task in {found.lane} would start at once: there are free slots"
    rate = f", which start at {found.rate_per_second:,.1f} a second" if found.rate_per_second else ""
    return f"a task in {found.lane} would start in {span(found.eta_seconds)}: {ahead}{rate}"
