"""The app of the fault tests: each handler writes down when it starts and ends, so executions can be counted.

One file for each process, in the folder LANEWAY_LEDGER; a line is written with one call, so what a killed process
has written stays. See :mod:`tests.flow.ledger` for the reader.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

from laneway.client import App, Context
from laneway.model.envelope import Backoff

app = App("ledger")
_files: dict[int, int] = {}


def _write(context: Context, what: str) -> None:
    pid = os.getpid()
    if pid not in _files:  # (a forked child has a file of its own)
        path = Path(os.environ["LANEWAY_LEDGER"]) / f"{pid}.runs"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    line = f"{what} {context.task_id} {context.attempt} {context.fence} {pid} {time.monotonic()}\n"
    os.write(_files[pid], line.encode())


def _released() -> bool:
    return (Path(os.environ["LANEWAY_LEDGER"]) / "release").exists()


SOON = Backoff(base=0.2, factor=1.0, jitter=0.0)


@app.task(backoff=SOON)
async def work(context: Context, ms: float = 0.0) -> None:
    """Takes a while."""
    _write(context, "start")
    if ms:
        await asyncio.sleep(ms / 1000)
    _write(context, "end")


@app.task(backoff=SOON)
async def hold(context: Context) -> None:
    """Runs until the test lets it go."""
    _write(context, "start")
    while not _released():  # noqa: ASYNC110  (the word comes from another process)
        await asyncio.sleep(0.05)
    _write(context, "end")


@app.task(backoff=SOON)
async def deaf(context: Context) -> None:
    """As ``hold``, and does not hear that it should stop."""
    _write(context, "start")
    while not _released():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            _write(context, "asked")
    _write(context, "end")


@app.task(backoff=SOON, max_attempts=3)
async def poison(context: Context) -> None:
    """Kills the process that runs it."""
    _write(context, "start")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(backoff=SOON, max_attempts=3)
async def exiting(context: Context) -> None:
    """Ends the process that runs it, past all handlers of exceptions."""
    _write(context, "start")
    os._exit(3)


@app.task(backoff=SOON)
async def flaky(context: Context) -> None:
    """Fails the first time."""
    _write(context, "start")
    if context.attempt == 1:
        raise RuntimeError("the first attempt fails")
    _write(context, "end")


@app.task(backoff=SOON, max_attempts=2)
async def failing(context: Context) -> None:
    """Fails always."""
    _write(context, "start")
    raise RuntimeError("it always fails")


@app.task(backoff=SOON)
def threaded(context: Context) -> None:
    """As ``hold``, in a thread, where nothing can interrupt it."""
    _write(context, "start")
    while not _released():
        time.sleep(0.05)
    _write(context, "end")


@app.task(backoff=SOON, process=True)
def in_process(context: Context) -> None:
    """Runs in a process of its own."""
    _write(context, "start")
    _write(context, "end")


@app.task(backoff=SOON)
async def resumes(context: Context, steps: int, stops_at: int) -> list[int]:
    """Takes steps, saving after each; stands still at one until the test lets it go. Returns those that it took."""
    taken: list[int] = []
    _write(context, "start")
    for step in range(context.saved or 0, steps):
        if step == stops_at:
            while not _released():  # noqa: ASYNC110  (the word comes from another process)
                await asyncio.sleep(0.05)
        context.log.info("step", number=step)
        context.progress((step + 1) / steps, f"step {step}")
        await context.checkpoint(step + 1)
        taken.append(step)
    _write(context, "end")
    return taken


def _spans(context: Context) -> None:
    """Makes two spans as an application does; imported here, for only the tests of traces need it."""
    from opentelemetry import trace

    tracer = trace.get_tracer("ledger")
    with (
        tracer.start_as_current_span("own", attributes={"task": context.task_id}),
        tracer.start_as_current_span("inner"),
    ):
        _write(context, "start")
    _write(context, "end")


@app.task(backoff=SOON)
async def spanned(context: Context) -> None:
    """Makes spans of its own."""
    _spans(context)


@app.task(backoff=SOON)
def spanned_in_thread(context: Context) -> None:
    """As ``spanned``, in a thread."""
    _spans(context)


@app.task(backoff=SOON, process=True)
def spanned_in_process(context: Context) -> None:
    """As ``spanned``, in a process of its own."""
    _spans(context)


@app.task(backoff=SOON)
async def submits(context: Context, type: str) -> None:
    """Submits another task from within."""
    await app.submit(app.call(type))
