"""What commands write: JSON for machines, tables for people. rich is loaded only where something is drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.table import Table

#: The width of tables that go to a file or pipe, where there is no terminal to fit.
PIPE_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Output:
    """The form in which a command writes what it found."""

    format: Literal["table", "json", "yaml"] = "table"

    @property
    def for_people(self) -> bool:
        """Whether it is drawn."""
        return self.format == "table"

    def write(self, value: Any, draw: Callable[[], object]) -> None:
        """Writes ``value`` as JSON or YAML, or calls ``draw`` for people."""
        if self.for_people:
            draw()
        else:
            self.data(value)

    def data(self, value: Any) -> None:
        """One document of JSON (a line) or YAML."""
        print_json(value) if self.format == "json" else print_yaml(value)


def forget_output() -> None:
    """Makes standard output lead nowhere, when whoever read it has gone: what is left in its buffer must not fail once
    more when the program ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:  # (a test's, which is no file)
        return


def print_yaml(value: Any) -> None:
    """One document of YAML on standard output."""
    import msgspec
    import yaml

    plain = msgspec.to_builtins(value, builtin_types=())
    click.echo("---\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)


def print_json(value: Any) -> None:
    """One JSON document on one line of standard output."""
    import msgspec

    click.echo(msgspec.json.encode(value).decode())


def console(*, err: bool = False) -> Console:
    """Standard output (or error) as rich draws on it. Text is never read as markup."""
    from rich.console import Console

    file = sys.stderr if err else sys.stdout
    return Console(file=file, width=None if file.isatty() else PIPE_WIDTH, markup=False, highlight=False, emoji=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output."""
    console().print(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A plain table. Columns of numbers stand right; so do those whose values all are numbers with a unit."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(
        box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, show_edge=False
    )
    cells = [[value if isinstance(value, int | float) else Text(safe(str(value))) for value in row] for row in rows]
    for i, name in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[i], int | float) for row in cells)
        grid.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(f"{cell:,}" if isinstance(cell, int | float) else cell for cell in row))
    return grid


def print_drawn(*parts: RenderableType) -> None:
    """Draws on standard output."""
    out = console()
    for part in parts:
        out.print(part)


def progress(total: int | None, what: str, unit: str = "tasks") -> Progress:
    """A progress bar on standard error, with one task added; nothing is drawn where that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn()]
    bar = Progress(*columns, console=console(err=True), transient=True, disable=not sys.stderr.isatty())
    bar.add_task(what, total=total)
    return bar


def safe(text: str) -> str:
    """Text from elsewhere without the control characters by which it could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def ago(when: datetime | None) -> str:
    """How long ago a time was, for people ("" for none)."""
    return span((datetime.now(UTC) - when).total_seconds()) + " ago" if when else ""


def span(seconds: float | None) -> str:
    """A length of time with a unit that suits it ("-" for none)."""
    if seconds is None:
        return "-"
    if seconds < 0.000_005:
        return "0 s"
    if seconds < 0.01:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} d"


def clock(when: datetime | None) -> str:
    """A time for people, in their own zone ("-" for none)."""
    return when.astimezone().isoformat(sep=" ", timespec="milliseconds") if when else "-"
