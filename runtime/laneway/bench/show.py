"""What people see: progress on standard error, and a table of figures beside their targets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from laneway.bench.ground import Say
from laneway.bench.targets import targets

_ABOUT = frozenset({"bench", "transport"})


@contextmanager
def progress(bench: str, *, shown: bool) -> Iterator[Say]:
    """What a bench tells its progress to; drawn on a terminal only."""
    console = Console(stderr=True, markup=False, highlight=False)
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        row = bar.add_task(bench, total=None, count="")

        def say(what: str, done: int, total: int) -> None:
            count = f"{done:,} of {total:,}" if total else (f"{done:,}" if done else "")
            bar.update(row, description=f"{bench}: {what}", completed=done, total=total or None, count=count)

        yield say


def print_figures(found: Mapping[str, Any]) -> None:
    """The table: each figure, its target, and whether it is reached."""
    bench, transport = found["bench"], found["transport"]
    known = targets(bench, transport)
    table = Table(box=SIMPLE_HEAD, title=f"{bench} ({transport})", title_justify="left", pad_edge=False)
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_column("reached")
    for figure, value in found.items():
        if figure in _ABOUT:
            continue
        target = known.get(figure)
        reached = target.reached(found) if target else None
        table.add_row(
            figure,
            _text(value),
            f"{target.sign} {_text(target.bound)}" if target else "",
            "" if reached is None else ("yes" if reached else "NO"),
        )
    width = None if sys.stdout.isatty() else 100
    Console(markup=False, highlight=False, width=width).print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
