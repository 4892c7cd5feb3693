"""Several things at once, with the first error as it is (a TaskGroup would wrap it in a group)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


async def finish_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Waits for all tasks; when one fails, the others are cancelled and its error is raised."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
