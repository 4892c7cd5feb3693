"""Handlers of the end-to-end tests: work that takes a while, and what says which image runs it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from laneway import App, Backoff

app = App("e2e")

VERSION = Path(__file__).with_name("version").read_text()

SOON = Backoff(base=0.2, factor=2.0, cap=1.0)


@app.task(backoff=SOON)
async def work(ms: float = 0.0) -> str:
    """Takes a while, and says which version of the handlers' image ran it."""
    await asyncio.sleep(ms / 1000)
    return VERSION
