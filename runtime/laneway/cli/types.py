"""``laneway types``: what the workers of a queue can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.output import print_table
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.client.http_answers import TypeItem


@click.command()
@place_options
def types(where: Where) -> int:
    """List the types of tasks that the queue's workers run, or ran within the last day.

    With --json it also tells the JSON Schema of each payload.

    \b
    Examples:
      laneway types -q orders
      laneway types -q orders --json
    """

    async def work(session: Session) -> int:
        found = await session.client.types()

        def draw() -> None:
            if found:
                print_table(("type", "lane", "description"), map(_row, found))
            else:
                click.echo("no worker has announced a type")

        session.out.write({"items": [item.raw for item in found]}, draw)
        return Exit.OK

    return on_api(where, work)


def _row(item: TypeItem) -> tuple[object, ...]:
    return item.type, item.lane or "the queue's default", " ".join(item.description.split())
