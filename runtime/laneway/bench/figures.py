"""From samples to figures."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], q: float) -> float:
    """The smallest sample that at least ``q`` per cent of all do not exceed (nearest rank, all samples count).

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(q / 100 * len(ordered)) - 1)]


def rate(n: int, seconds: float) -> float:
    """How many in a second."""
    return round(n / max(seconds, 1e-9), 1)


def ms(nanoseconds: float) -> float:
    """Nanoseconds as ms with three decimals."""
    return round(nanoseconds / 1e6, 3)
