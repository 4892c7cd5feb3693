"""Waits for what is to be seen, and for nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, look: Callable[[], T], timeout: float, *, pause: float = 0.1) -> T:
    """The first true answer of `look`. Fails after `timeout` seconds with `what` was awaited and what was seen last."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what} (seen last: {seen!r})"
        time.sleep(pause)


class Seen:
    """False, with a word for the failure: what was seen instead."""

    def __init__(self, *what: object) -> None:
        self._what = what

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return " ".join(str(one) for one in self._what)
