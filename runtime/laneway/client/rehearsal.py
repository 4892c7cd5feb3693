"""What a handler tells of itself when it is called without a worker, as in unit tests: kept for the test to see."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from laneway.model.notes import NOTHING

T = TypeVar("T")


class Rehearsal:
    """Notes in memory: ``fraction`` and ``message`` of the last progress, ``lines`` of the log as (level, text), and
    ``saved``, the last checkpoint in msgpack."""

    def __init__(self, saved: bytes | None = None) -> None:
        self.saved = saved
        self.fraction: float | None = None
        self.message = ""
        self.lines: list[tuple[str, str]] = []

    def progress(self, fraction: float, message: str) -> None:
        """How far it is."""
        self.fraction, self.message = fraction, message

    def line(self, level: str, message: str) -> None:
        """One line of its log."""
        self.lines.append((level, message))

    async def checkpoint(self, data: bytes) -> None:
        """Keeps a checkpoint."""
        self.checkpoint_now(data)

    def checkpoint_now(self, data: bytes) -> None:
        """Keeps a checkpoint."""
        self.saved = None if data == NOTHING else data

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Does it here."""
        return asyncio.run(work)
