"""When to try again: exponential backoff with jitter."""

from __future__ import annotations

import random

from laneway.model.envelope import Backoff


def delay_ms(backoff: Backoff, attempt: int, rand: random.Random | None = None) -> float:
    """Milliseconds to wait after ``attempt`` (1 for the first) failed.

    The defaults give 2 s, 4 s, 8 s ..., each shortened at random by up to a quarter, so that tasks which failed
    together do not come back together.
    """
    exponent = min(max(attempt, 1) - 1, 64)
    seconds = min(backoff.cap, backoff.base * backoff.factor**exponent)
    share = (rand or random).random() * backoff.jitter
    return seconds * (1.0 - share) * 1000.0
