"""``laneway dead``: the dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.dead_change import purge, replay
from laneway.cli.exits import Exit, Failure
from laneway.cli.filters import Chosen, dead_filters
from laneway.cli.groups import CommandGroup
from laneway.cli.listing import search, searching
from laneway.cli.output import ago, print_table
from laneway.cli.params import TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.task import known, show_answer
from laneway.cli.where import Where, place_options
from laneway.errors import UnknownTask

if TYPE_CHECKING:
    from laneway.client.http_answers import DeadGroup, TaskItem


@click.group(cls=CommandGroup)
def dead() -> None:
    """Look at dead letters, queue them again, or forget them.

    \b
    Examples:
      laneway dead groups -q orders
      laneway dead list -q orders --type charge
      laneway dead replay -q orders --type charge --share 0.1 --watch
    """


@dead.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@dead_filters
@place_options
def list_(limit: int, chosen: Chosen, where: Where) -> int:
    """List dead letters, newest first.

    \b
    Examples:
      laneway dead list -q orders
      laneway dead list -q orders --type charge --error timeout --limit 10 --json
    """  # fmt: skip

    async def work(session: Session) -> int:
        client = session.client
        found = await search(lambda cursor, size: client.dead_page(cursor, **chosen.query(), limit=size), limit)
        total = ((await client.dead_page(limit=1)).total or 0) if session.out.for_people else 0

        def draw() -> None:
            if not found.items:
                click.echo("no dead letters" if total == 0 else f"none of {total:,} dead letters is like that")
                return
            print_table(("task", "type", "lane", "attempts", "died", "group", "last error"), map(_row, found.items))
            if len(found.items) < total:
                click.echo(f"{len(found.items):,} of {total:,} dead letters", err=True)

        session.out.write(found.document(), draw)
        return Exit.OK

    return on_api(where, work)


def _row(item: TaskItem) -> tuple[object, ...]:
    message = f"{item.error.kind}: {item.error.message}" if item.error else ""
    died = ago(item.ended_at or item.state_since)
    return item.id, item.type, item.lane, item.attempts, died, item.fingerprint or "", _short(message)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


@dead.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The largest so many.")
@dead_filters
@place_options
def groups(limit: int, chosen: Chosen, where: Where) -> int:
    """Group dead letters by the error that they died of, the largest group first.

    \b
    Examples:
      laneway dead groups -q orders
      laneway dead groups -q orders --ended-from 1h
    """  # fmt: skip
    if "fingerprint" in chosen.values:
        raise click.UsageError("--fingerprint is what this command tells; use it with laneway dead list")

    async def work(session: Session) -> int:
        found, scanned = await _groups(session, chosen)
        shown = found[:limit]

        def draw() -> None:
            if not found:
                click.echo("no dead letters" if chosen.empty else "no dead letter is like that")
                return
            print_table(("group", "tasks", "type", "error", "first", "last", "sample"), map(_group_row, shown))
            if len(shown) < len(found):
                click.echo(f"{len(shown):,} of {len(found):,} groups", err=True)

        session.out.write(
            {"groups": [group.raw for group in shown], "scanned": scanned, "complete": True, "next": None}, draw
        )
        return Exit.OK

    return on_api(where, work)


def _group_row(group: DeadGroup) -> tuple[object, ...]:
    error = _short(f"{group.kind}: {group.message}")
    return group.fingerprint, group.count, group.type, error, ago(group.first_at), ago(group.last_at), group.sample


async def _groups(session: Session, chosen: Chosen) -> tuple[list[DeadGroup], int]:
    """All groups, put together from the parts that the API gives, and how many letters were looked at."""
    found: dict[str, DeadGroup] = {}
    scanned, cursor = 0, None
    with searching() as told:
        while True:
            part = await session.client.dead_groups(cursor, **chosen.query())
            scanned += part.scanned
            for group in part.groups:
                # (parts go from new to old: the sample and the last time are those of the first part)
                first = found.setdefault(group.fingerprint, group)
                if first is not group:
                    first.count += group.count
                    first.first_at = group.first_at
                    first.raw.update(count=first.count, firstAt=group.raw.get("firstAt"))
            told(scanned, None, len(found))
            cursor = part.next
            if cursor is None:
                break
    return sorted(found.values(), key=lambda group: (-group.count, group.fingerprint)), scanned


@dead.command()
@click.argument("id", type=TASK_ID)
@place_options
def show(id: str, where: Where) -> int:
    """Show one dead letter with the error of each attempt.

    \b
    Examples:
      laneway dead show 06gmhl2oq4k1u8bn5d3ti98 -q orders
    """

    async def work(session: Session) -> int:
        try:
            answer = await session.client.dead_letter(id)
        except UnknownTask:
            there = await known(session, id)
            raise Failure(
                Exit.NOT_FOUND, f"task {id} is no dead letter, it is {there.state}: see laneway task show"
            ) from None
        show_answer(session, answer)
        return Exit.OK

    return on_api(where, work)


for _command in (replay, purge):
    dead.add_command(_command)
