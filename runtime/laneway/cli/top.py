"""``laneway top``: a queue, live."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit
from laneway.cli.output import console
from laneway.cli.params import SECONDS
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.cli.top_frame import Frame


@click.command()
@click.option("--once", is_flag=True, help="Show one frame, and end.")
@click.option("--every", type=SECONDS, default=1.0, help="How often it is drawn.  [default: 1s]")
@place_options
def top(once: bool, every: float, where: Where) -> int:
    """Watch a queue: lanes, rates, latencies, workers, dead letters, and when a task submitted now would start.

    Keys: q ends it, p stops and goes on. With --json, an object a line each time.

    \b
    Examples:
      laneway top -q orders
      laneway top -q orders --context prod --every 5s
      laneway top -q orders --once --json
    """  # fmt: skip
    if every < 0.1:
        raise click.UsageError(f"--every must be 0.1 s or more, not {every:g} s")
    if not once and where.format == "table" and not sys.stdout.isatty():
        raise click.UsageError("standard output is no terminal to draw on: add --once, or --json")

    async def work(session: Session) -> int:
        if once:
            await _once(session)
        elif session.out.for_people:
            await _live(session, every)
        else:
            await _stream(session, every)
        return Exit.OK

    try:
        return on_api(where, work)
    except KeyboardInterrupt:
        if once:
            raise
        return Exit.OK  # the way it ends


async def _once(session: Session) -> None:
    from laneway.cli.top_frame import draw, look

    frame = await look(session.client, None)
    session.out.write(frame.document(), lambda: console().print(draw(session.name, frame, None)))


async def _stream(session: Session, every: float) -> None:
    import asyncio

    from laneway.cli.top_frame import look

    before: Frame | None = None
    while True:
        before = await look(session.client, before)
        session.out.data(before.document())
        sys.stdout.flush()
        await asyncio.sleep(every)


async def _live(session: Session, every: float) -> None:
    """Redraws until q or Ctrl-C; while the queue can't be reached it shows what was, says why, and tries on."""
    import asyncio

    from rich.live import Live

    from laneway.cli.top_frame import draw, look
    from laneway.errors import OutcomeUnknown, Unavailable

    pressed: asyncio.Queue[str] = asyncio.Queue()
    frame = await look(session.client, None)
    note, paused = "", False
    screen = console()
    with _keys(pressed.put_nowait), Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            height = screen.size.height
            live.update(draw(session.name, frame, height, "paused: p goes on" if paused else note), refresh=True)
            try:
                key = await asyncio.wait_for(pressed.get(), None if paused else every)
            except TimeoutError:
                key = ""
            if key == "q":
                return
            paused = paused != (key == "p")
            if paused:
                continue
            try:
                frame, note = await look(session.client, frame), ""
            except (Unavailable, OutcomeUnknown) as error:
                note = str(error)


@contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Gives keys as they are pressed, without a line's end; none where standard input is no terminal."""
    import asyncio
    import os

    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(fd, 64).decode("utf-8", "replace").lower():
            press(key)

    tty.setcbreak(fd)  # (Ctrl-C stays a signal)
    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
