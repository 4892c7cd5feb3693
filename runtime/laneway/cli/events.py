"""``laneway events``: what happens in a queue, as it happens."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.output import safe
from laneway.cli.params import TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.client.http_answers import Event

#: How many tasks of one event are named on a line for people.
_SHOWN = 8


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C; a broken connection is resumed where it broke.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Only of this kind, such as dead; may be given several times.",
)
@click.option("--lane", help="Only of this lane.")
@click.option("--task", type=TASK_ID, help="Only of this task.")
@click.option("--after", metavar="POSITION", help="From after this position, which --json tells of each event.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Without --follow: so many at most."
)
@place_options
def events(
    follow: bool,
    kinds: tuple[str, ...],
    lane: str | None,
    task: str | None,
    after: str | None,
    limit: int,
    where: Where,
) -> int:
    """Show what happens to tasks: a line for each event, or with --json an object a line.

    Without --follow, the latest. A line about a gap says that some events were missed.

    \b
    Examples:
      laneway events -q orders
      laneway events -q orders --follow --kind dead --kind expired
      laneway events -q orders --follow --json | jq -r 'select(.kind == "dead").ids[]'
    """  # fmt: skip
    kinds = tuple(part for text in kinds for part in text.split(",") if part)

    async def work(session: Session) -> int:
        if not follow:
            found = await session.client.recent_events(kinds=kinds, lane=lane, task=task, after=after, limit=limit)
            for event in found[-limit:]:
                _tell(session, event)
            return Exit.OK
        stream = session.client.events(kinds=kinds, lane=lane, task=task, after=after)
        async with aclosing(stream):
            async for event in stream:
                _tell(session, event)
        return Exit.OK

    try:
        return on_api(where, work)
    except KeyboardInterrupt:
        if follow:
            return Exit.OK  # the way it ends
        raise


def _tell(session: Session, event: Event) -> None:
    import sys

    if session.out.for_people:
        click.echo(_line(event))
    else:
        session.out.data({"kind": event.kind, "position": event.position, **event.raw})
    sys.stdout.flush()  # a line counts when it happens, also into a pipe


def _line(event: Event) -> str:
    at = f"{event.at.astimezone():%H:%M:%S}.{event.at.microsecond // 1000:03d}" if event.at else " " * 12
    if event.kind == "gap":
        return f"{at} gap: some events were missed; what was built from them has to be read anew"
    ids = " ".join(event.ids[:_SHOWN]) + (f" and {len(event.ids) - _SHOWN:,} more" if len(event.ids) > _SHOWN else "")
    return safe(f"{at} {event.kind:<10} {event.lane:<12} {ids}")
