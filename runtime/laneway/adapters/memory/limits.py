"""Token buckets, as in ``lua/lib/buckets.lua``: exact to the microsecond; one that is not stored is full."""

from __future__ import annotations

import math

from laneway.adapters.memory.tables import Step

Field = tuple[str, str]


def tokens(step: Step, field: Field, rate: float, burst: float) -> float:
    """What a bucket holds now. A burst under one token counts as one, else nothing would ever pass."""
    burst = max(1.0, burst)
    stored = step.t.buckets.get(field)
    if stored is None:
        return burst
    left, at = stored
    return min(burst, left + max(0, step.now_us - at) * rate / 1_000_000)


def take(step: Step, field: Field, rate: float, burst: float) -> None:
    """Takes one token."""
    step.t.buckets[field] = (tokens(step, field, rate, burst) - 1, step.now_us)


def wait_ms(left: float, rate: float) -> int:
    """Milliseconds until the bucket holds a whole token again."""
    return 0 if left >= 1 else math.ceil((1 - left) / rate * 1000)
