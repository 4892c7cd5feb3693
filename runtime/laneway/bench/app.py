"""The app that benches run: ``laneway worker laneway.bench.app:app``."""

from __future__ import annotations

import asyncio

import msgspec

from laneway.bench.marks import Recorder
from laneway.client import App
from laneway.client.context import Context

#: Bytes of every payload of ``noop``, ``blank`` and ``stamp``, as encoded.
PAYLOAD = 100

recorder = Recorder()
app = App("laneway-bench")


@app.task
async def noop(n: int, pad: bytes) -> None:
    """Does nothing but count that it ran."""
    recorder.count(n)


@app.task
async def blank(pad: bytes) -> None:
    """Does nothing at all."""


@app.task
async def stamp(n: int, pad: bytes) -> None:
    """Says when it began."""
    recorder.start(n)


@app.task
async def nap(context: Context, n: int, ms: float) -> None:
    """Says when it began and when it was claimed (its fence is that time), and takes a while."""
    recorder.start(n, context.fence)
    await asyncio.sleep(ms / 1000)


@app.task
async def hold(n: int) -> None:
    """Runs until the bench lets it go."""
    recorder.start(n)
    while not recorder.released():  # noqa: ASYNC110  # the word comes from another process
        await asyncio.sleep(0.1)


def _pad(**arguments: object) -> bytes:
    """What fills a payload with these arguments up to its size."""
    return bytes(PAYLOAD - len(msgspec.msgpack.encode({**arguments, "pad": b""})))


BLANK_PAD = _pad()
# An integer takes 1, 2, 3 or 5 bytes.
_PADS = [(1 << 7, _pad(n=0)), (1 << 8, _pad(n=1 << 7)), (1 << 16, _pad(n=1 << 8)), (1 << 32, _pad(n=1 << 16))]


def pad_for(n: int) -> bytes:
    """The padding that makes the payload of task ``n`` 100 bytes."""
    for end, pad in _PADS:
        if n < end:
            return pad
    raise ValueError(f"no bench has {n} tasks")
