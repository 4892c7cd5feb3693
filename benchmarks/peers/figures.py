"""From samples to figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds: median, least and most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of at least one sample."""
        return cls(statistics.median(samples), min(samples), max(samples))


def number(value: float) -> str:
    """A figure for people: three digits that mean something, thousands set apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits == 0:
        return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.0f}"
    return f"{value:,.{digits}f}"


def spread_text(spread: Spread) -> str:
    """Median, and the range if there is one."""
    if number(spread.low) == number(spread.high):
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def rotated(items: Sequence[T], by: int) -> list[T]:
    """The items, beginning with another one each time, so that none is always first or after the same moment."""
    by %= max(1, len(items))
    return [*items[by:], *items[:by]]


def ratio(ours: float | None, theirs: Sequence[float], best: str) -> float | None:
    """Ours over the best of theirs (``best``: "most" or "least"), two decimals; None without both."""
    if ours is None or not theirs:
        return None
    against = max(theirs) if best == "most" else min(theirs)
    return round(ours / against, 2) if against else None
