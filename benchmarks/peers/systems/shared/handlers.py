"""The three tasks that every Python system runs, as async and as plain functions.

``noop`` does nothing, ``nap`` takes 5 ms, ``hold`` runs until the bench lets it go. ``pad`` fills the arguments up
to 100 bytes.
"""

import asyncio
import time

import marks

NAP_S = 0.005
_LOOK_S = 0.1


async def noop(n: int, pad: str) -> None:
    """Does nothing."""
    marks.begin(n)


async def nap(n: int, pad: str) -> None:
    """Takes 5 ms without using the processor."""
    marks.begin(n)
    await asyncio.sleep(NAP_S)


async def hold(n: int, pad: str) -> None:
    """Runs until it is let go."""
    marks.begin(n)
    while not marks.released():  # noqa: ASYNC110  # the word comes from another process
        await asyncio.sleep(_LOOK_S)
    marks.end(n)


def noop_blocking(n: int, pad: str) -> None:
    """Does nothing."""
    marks.begin(n)


def nap_blocking(n: int, pad: str) -> None:
    """Takes 5 ms without using the processor."""
    marks.begin(n)
    time.sleep(NAP_S)


def hold_blocking(n: int, pad: str) -> None:
    """Runs until it is let go."""
    marks.begin(n)
    while not marks.released():
        time.sleep(_LOOK_S)
    marks.end(n)
