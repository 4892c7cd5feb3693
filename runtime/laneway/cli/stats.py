"""``laneway stats``: a queue at one instant, or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.output import console, span, table
from laneway.cli.params import SECONDS
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from laneway.client.http_answers import Stats


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Refresh until Ctrl-C; with --json, a line each time.")
@click.option("--every", type=SECONDS, default=1.0, help="How often --watch refreshes.  [default: 1s]")
@place_options
def stats(watch: bool, every: float, where: Where) -> int:
    """Show a queue's lanes, states and workers.

    Drift is the number of submitted tasks less those in all states; anything but 0 is a fault of Laneway.

    \b
    Examples:
      laneway stats -q orders
      laneway stats -q orders --watch
      laneway stats -q orders --json
    """
    if every < 0.1:
        raise click.UsageError(f"--every must be 0.1 s or more, not {every:g} s")

    async def work(session: Session) -> int:
        if watch:
            await (_live(session, every) if session.out.for_people else _stream(session, every))
            return Exit.OK
        answer = await session.client.stats()
        session.out.write(answer.raw, lambda: console().print(draw(session.name, answer)))
        return Exit.OK

    try:
        return on_api(where, work)
    except KeyboardInterrupt:
        if watch:
            return Exit.OK  # the way a watch ends
        raise


async def _stream(session: Session, every: float) -> None:
    import asyncio

    while True:
        session.out.data((await session.client.stats()).raw)
        await asyncio.sleep(every)


async def _live(session: Session, every: float) -> None:
    """Redraws until interrupted; while the queue can't be reached it says so and tries on."""
    import asyncio

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from laneway.errors import Unavailable

    last: RenderableType = draw(session.name, await session.client.stats())
    with Live(last, console=console(), screen=False, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(every)
            try:
                last = draw(session.name, await session.client.stats())
                live.update(last, refresh=True)
            except Unavailable as error:
                live.update(Group(last, Text(str(error), "red")), refresh=True)


def draw(name: str, answer: Stats) -> RenderableType:
    """A queue's numbers as tables, in few lines, so that a live view fits its terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble("queue ", (name, "bold"), f" at {answer.at.astimezone():%H:%M:%S}, ")
    head.append(f"drift {answer.drift:,}", "green" if answer.drift == 0 else "bold red")
    if answer.drift:
        head.append(" (must be 0)", "bold red")
    head.append(f", outbox {answer.outbox_entries:,} entries, {answer.outbox_bytes:,} bytes", "dim")
    if answer.outbox_gap:
        head.append(f", {answer.outbox_gap:,} events gave way", "red")

    lanes = [(lane.name, lane.queued, lane.running, span(lane.oldest_seconds)) for lane in answer.lanes]
    states = sorted(answer.tasks.items(), key=lambda item: _order(item[0]))
    shown = [(name, n) for name, n in states if n or name in _ALWAYS]
    side_by_side = Table.grid(padding=(0, 4))
    side_by_side.add_row(table(["lane", "queued", "running", "oldest"], lanes), table(["state", "tasks"], shown))
    workers = [
        (w.name, w.source, w.slots, w.held, w.state, f"{span(w.seconds_since_beat)} ago")
        for w in sorted(answer.workers, key=lambda w: w.name)
    ]
    below: RenderableType = Text("no workers are registered", "yellow")
    if workers:
        below = table(["worker", "source", "slots", "held", "state", "heartbeat"], workers)
    return Group(head, Text(), side_by_side, Text(), below)


#: States that are shown even when no task is in them.
_ALWAYS = ("submitted", "queued", "running", "succeeded", "dead")
_ORDER = (
    "submitted", "blocked", "scheduled", "queued", "parked", "dispatched", "running", "succeeded", "dead",
    "cancelled", "expired", "purged",
)  # fmt: skip


def _order(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
