"""Following a list of the API until enough is found, and saying how far the search is."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.client.http_answers import TaskItem, TaskPage

#: The largest page that the API gives.
PAGE = 200


@dataclass
class Search:
    """What a search found; ``next`` leads to others behind ``limit`` (None: there are none)."""

    items: list[TaskItem] = field(default_factory=list)
    scanned: int = 0
    total: int | None = None
    next: str | None = None

    @property
    def more(self) -> bool:
        """Whether there may be others behind ``limit``."""
        return self.next is not None

    def document(self) -> dict[str, object]:
        """What was found, as the API says it of a page."""
        items = [item.raw for item in self.items]
        return {"items": items, "next": self.next, "scanned": self.scanned, "total": self.total}


async def search(
    page: Callable[[str | None, int], Awaitable[TaskPage]],
    limit: int | None,
    whole: Callable[[], Awaitable[int | None]] | None = None,
) -> Search:
    """Follows pages until ``limit`` tasks are found (None: all). ``page`` gets a cursor and a size; ``whole`` tells how
    many tasks there are to look at, when the pages do not and it takes more than one."""
    found = Search()
    with searching() as told:
        async for got in pages(page, limit):
            found.scanned += got.scanned
            if got.total is not None:
                found.total = got.total
            elif found.total is None and got.next is not None and whole is not None and sys.stderr.isatty():
                found.total = await whole()
            found.items += got.items
            found.next = got.next
            told(found.scanned, found.total, len(found.items))
    return found


async def pages(page: Callable[[str | None, int], Awaitable[TaskPage]], limit: int | None) -> AsyncIterator[TaskPage]:
    """Pages until they have ``limit`` tasks together, or there are no more."""
    cursor: str | None = None
    n = 0
    while True:
        got = await page(cursor, PAGE if limit is None else min(PAGE, max(1, limit - n)))
        n += len(got.items)
        yield got
        cursor = got.next
        if cursor is None or (limit is not None and n >= limit):
            return


@contextmanager
def searching() -> Iterator[Callable[[int, int | None, int], None]]:
    """A line on a terminal's standard error that says how far a search is, gone at its end."""
    shown = False

    def told(scanned: int, total: int | None, found: int) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            of = f" of {total:,}" if total is not None else ""
            sys.stderr.write(f"\r\x1b[Ksearched {scanned:,}{of}, found {found:,}")
            sys.stderr.flush()
            shown = True

    try:
        yield told
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
