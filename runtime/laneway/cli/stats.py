"""``laneway stats``: a queue at one instant, or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.options import json_option, queue_options
from laneway.cli.output import console, print_json, span, table
from laneway.cli.params import SECONDS
from laneway.cli.target import Target, on_queue, reading, resolve

if TYPE_CHECKING:
    from rich.console import RenderableType

    from laneway.gateway.bodies import StatsAnswer
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Refresh until Ctrl-C; with --json, a line each time.")
@click.option("--every", type=SECONDS, default=1.0, help="How often --watch refreshes.  [default: 1s]")
@queue_options
@json_option
def stats(
    watch: bool,
    every: float,
    redis: str | None,
    queue: str | None,
    namespace: str | None,
    cluster: bool,
    as_json: bool,
) -> int:
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
    target = resolve(redis, queue, namespace, cluster)

    async def work(store: TaskStore, config: QueueConfig) -> int:
        if watch:
            await (_stream(store, target, every) if as_json else _live(store, target, every))
            return Exit.OK
        answer = await _now(store, target)
        if as_json:
            print_json(answer)
        else:
            console().print(draw(target, answer))
        return Exit.OK

    try:
        return on_queue(target, work)
    except KeyboardInterrupt:
        if watch:
            return Exit.OK  # the way a watch ends
        raise


async def _now(store: TaskStore, target: Target) -> StatsAnswer:
    from laneway.gateway.views import stats_answer

    return stats_answer(target.queue, await reading(store.stats()))


async def _stream(store: TaskStore, target: Target, every: float) -> None:
    import asyncio

    while True:
        print_json(await _now(store, target))
        await asyncio.sleep(every)


async def _live(store: TaskStore, target: Target, every: float) -> None:
    """Redraws until interrupted; while Redis is away it says so and tries on."""
    import asyncio

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from laneway.errors import Unavailable

    last: RenderableType = draw(target, await _now(store, target))
    with Live(last, console=console(), screen=False, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(every)
            try:
                last = draw(target, await _now(store, target))
                live.update(last, refresh=True)
            except Unavailable as error:
                live.update(Group(last, Text(str(error), "red")), refresh=True)


def draw(target: Target, answer: StatsAnswer) -> RenderableType:
    """A queue's numbers as tables, in few lines, so that a live view fits its terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble("queue ", (target.name, "bold"), f" at {answer.at.astimezone():%H:%M:%S}, ")
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
