"""Handlers that tell of themselves, of each kind, for tests of the scribe."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

from laneway import App, Context, LanewayError

app = App("notes")
log = logging.getLogger("shop.mail")


def _tell(ctx: Context, said: str) -> None:
    ctx.progress(0.5, "half")
    ctx.log.info("own", where=said)
    log.warning("standard %s", said)


@app.task
async def tells(ctx: Context) -> Any:
    _tell(ctx, "loop")
    before = ctx.saved
    await ctx.checkpoint({"at": "loop"})
    ctx.progress(1.0)
    return before


@app.task
def tells_thread(ctx: Context) -> Any:
    _tell(ctx, "thread")
    before = ctx.saved
    ctx.sync.checkpoint({"at": "thread"})
    ctx.progress(1.0)
    return before


@app.task(process=True)
def tells_process(ctx: Context) -> Any:
    _tell(ctx, "process")
    before = ctx.saved
    ctx.sync.checkpoint({"at": "process"})
    assert ctx.saved == {"at": "process"}
    ctx.progress(1.0)
    return before


@app.task(process=True)
def refused(ctx: Context) -> str:
    try:
        ctx.sync.checkpoint(1)
    except LanewayError as error:
        return f"{type(error).__name__}: {error}"
    return "saved"


@app.task(process=True)
def many(ctx: Context, lines: int, progress: int) -> None:
    for n in range(progress):
        ctx.progress(n / progress, str(n))
    for n in range(lines):
        ctx.log.info(f"line {n}")


@app.task(process=True)
def dies(ctx: Context, code: int) -> None:
    import os

    ctx.log.info("about to end")
    ctx.progress(0.9)
    os._exit(code)


@app.task(process=True, timeout=0.3)
def stopped(ctx: Context, mark: str) -> None:
    """Tells as fast as it can until it is stopped, from two threads; then leaves a mark."""
    side = threading.Thread(target=_chat, args=(ctx,), daemon=True)
    side.start()
    try:
        while True:
            ctx.sync.checkpoint("x" * 100_000)
            ctx.log.info("y" * 500)
    finally:
        ctx.log.info("cleaning up")
        Path(mark).write_text("cleaned")


def _chat(ctx: Context) -> None:
    while True:
        ctx.progress(0.5, "z" * 150)
        time.sleep(0.0005)


@app.task
async def in_async(ctx: Context) -> str:
    try:
        ctx.sync.checkpoint(1)
    except LanewayError as error:
        return str(error)
    return "no"


@app.task
def extends(ctx: Context) -> bool:
    ctx.sync.extend()
    return ctx.cancelled.is_set()


@app.task
def own_loop(ctx: Context) -> Any:
    """A plain function with an event loop of its own."""
    asyncio.run(ctx.checkpoint("from another loop"))
    return ctx.saved


@app.task
async def leaves_a_task(ctx: Context) -> None:
    """A handler that leaves something behind that goes on telling."""

    async def later() -> None:
        await asyncio.sleep(0.05)
        ctx.log.info("too late")
        log.warning("too late as well")
        ctx.progress(1.0)

    background.append(asyncio.create_task(later()))
    ctx.log.info("in time")


background: list[asyncio.Task[None]] = []
