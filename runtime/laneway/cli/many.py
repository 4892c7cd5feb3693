"""Changing many tasks: asking first, going on until all is done, and telling what became of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from laneway.cli.target import interruptible

_T = TypeVar("_T")
#: How many requests about single tasks are under way at once.
_AT_ONCE = 16


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def confirmed(question: str) -> bool:
    """Asks a person."""
    with interruptible():
        return click.confirm(question, err=True)


async def each(ids: tuple[str, ...], act: Callable[[str], Awaitable[_T]]) -> list[_T]:
    """``act`` on each task, several at once; the answers in order."""
    import asyncio

    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(id: str) -> _T:
        async with gate:
            return await act(id)

    return list(await asyncio.gather(*map(one, ids)))


@dataclass
class Done:
    """What a change of many did so far."""

    matched: int = 0
    changed: int = 0
    scanned: int = 0
    ids: list[str] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
