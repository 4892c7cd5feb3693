"""``laneway task list``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.filters import STATES, Chosen, task_filters
from laneway.cli.listing import Search, search
from laneway.cli.output import ago, console, print_table, table
from laneway.cli.params import SECONDS
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options
from laneway.errors import AccessDenied

if TYPE_CHECKING:
    from rich.console import RenderableType

    from laneway.client.http_answers import TaskItem

_SORTS = ("next", "ended", "-ended", "due", "created", "-created")
_COLUMNS = ("task", "state", "type", "lane", "prio", "attempts", "since", "more")


@click.command("list")
@task_filters
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    help="next: as they would run; due: scheduled ones; -ended: newest end first.  [default: as suits the states]",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="So many at most.")
@click.option("--all", "every", is_flag=True, help="All of them, however many.")
@click.option("--ids", is_flag=True, help="Write the ids alone, one a line, for other commands.")
@click.option("--watch", "-w", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--every", "period", type=SECONDS, default=2.0, help="How often --watch refreshes.  [default: 2s]")
@place_options
def list_(
    chosen: Chosen,
    sort: str | None,
    limit: int,
    every: bool,
    ids: bool,
    watch: bool,
    period: float,
    where: Where,
) -> int:
    """List tasks: those that run first, then those that wait, then those that ended.

    A search that has to look at many tasks says on standard error how far it is.

    \b
    Examples:
      laneway task list -q orders --state queued,running --lane high
      laneway task list -q orders --type charge --label shop=7 --created-from 2h
      laneway task list -q orders --state dead --error timeout --ids | xargs laneway task retry -q orders
      laneway task list -q orders --state running --watch
    """  # fmt: skip
    if period < 0.1:
        raise click.UsageError(f"--every must be 0.1 s or more, not {period:g} s")
    if ids and (watch or where.format != "table"):
        raise click.UsageError("--ids is a form of its own: leave out --watch and --output")
    most = None if every else limit

    async def work(session: Session) -> int:
        if watch:
            await _watch(session, chosen, sort, most, period)
            return Exit.OK
        found = await _found(session, chosen, sort, most)
        if ids:
            for item in found.items:
                click.echo(item.id)
        else:
            session.out.write(found.document(), lambda: _draw(found, chosen))
        return Exit.OK

    try:
        return on_api(where, work)
    except KeyboardInterrupt:
        if watch:
            return Exit.OK  # the way a watch ends
        raise


async def _found(session: Session, chosen: Chosen, sort: str | None, limit: int | None) -> Search:
    async def whole() -> int | None:
        """How many tasks are in the states that are looked at."""
        try:
            counts = (await session.client.stats()).tasks
        except AccessDenied:
            return None  # (who sees some tenants' tasks alone is not told how many there are)
        return sum(counts.get(state, 0) for state in chosen.values.get("state", STATES))

    return await search(
        lambda cursor, size: session.client.task_page(cursor, **chosen.query(), sort=sort, limit=size), limit, whole
    )


def _draw(found: Search, chosen: Chosen) -> None:
    if not found.items:
        click.echo("no tasks" if chosen.empty else "no task is like that")
        return
    print_table(_COLUMNS, rows(found.items))
    if found.more:
        click.echo(f"the first {len(found.items):,}; more with --limit or --all", err=True)


def rows(items: Sequence[TaskItem]) -> list[tuple[object, ...]]:
    """Tasks as rows of a table."""
    return [
        (
            item.id, item.state, item.type, item.lane, item.priority,
            f"{item.attempts}/{item.max_attempts}" if item.max_attempts else item.attempts,
            ago(item.ended_at or item.state_since or item.submitted_at), _more(item),
        )
        for item in items
    ]  # fmt: skip


def _more(item: TaskItem) -> str:
    """What is worth knowing of a task in its state, in a few words."""
    if item.progress is not None and item.state == "running":
        text = f"{item.progress.fraction:.0%} {item.progress.message}"
    elif item.error is not None and item.state != "succeeded":
        text = f"{item.error.kind}: {item.error.message}"
    elif item.state == "running" and item.worker:
        text = f"on {item.worker}"
    elif item.state == "scheduled" and item.run_at is not None:
        text = f"due {item.run_at.astimezone():%Y-%m-%d %H:%M:%S}"
    else:
        text = f"tenant {item.tenant}" if item.tenant else ""
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


async def _watch(session: Session, chosen: Chosen, sort: str | None, limit: int | None, period: float) -> None:
    """Redraws until interrupted; while the queue can't be reached it says so and tries on."""
    import asyncio

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from laneway.errors import Unavailable

    def drawn(found: Search) -> RenderableType:
        head = Text(f"{session.name}: {len(found.items):,} tasks{' and more' if found.more else ''}")
        return Group(head, table(_COLUMNS, rows(found.items)))

    if not session.out.for_people:
        while True:
            session.out.data((await _found(session, chosen, sort, limit)).document())
            await asyncio.sleep(period)
    last = drawn(await _found(session, chosen, sort, limit))
    with Live(last, console=console(), screen=False, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(period)
            try:
                last = drawn(await _found(session, chosen, sort, limit))
                live.update(last, refresh=True)
            except Unavailable as error:
                live.update(Group(last, Text(str(error), "red")), refresh=True)
