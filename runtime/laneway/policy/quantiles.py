"""Quantiles estimated from a histogram. Pure.

All that is known of a value is its bucket, so an estimate is wrong by no more than the bucket is wide: with the bounds
of ``kit.metrics.WAIT_BUCKETS`` and ``RUN_BUCKETS``, which lie a factor of 2 to 2.5 apart up to 10 s (3 to 6 above), by
at most that factor. Within a bucket values are taken to be spread evenly over the logarithm, which suits times better
than the even spread that PromQL's ``histogram_quantile`` assumes; below the first bound, evenly. What is over the last
bound counts as that bound: then the true quantile is at least the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """The value below which the share ``q`` (0 to 1) of the values lies; None when there are none. ``counts`` has how
    many lie in each bucket, with one more than ``bounds``: those over the last.

    Raises:
        ValueError: the numbers of bounds and counts don't agree, or ``q`` is no share.
    """
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(bounds)} bounds need {len(bounds) + 1} counts, not {len(counts)}")
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile is a share from 0 to 1, not {q}")
    total = sum(counts)
    if total <= 0:
        return None
    rank, below = q * total, 0.0
    for i, count in enumerate(counts):
        if count > 0 and below + count >= rank:
            if i == len(bounds):
                return bounds[-1]
            share = max(0.0, rank - below) / count
            if i == 0:
                return bounds[0] * share
            low, high = bounds[i - 1], bounds[i]
            return float(low * (high / low) ** share)
        below += count
    return bounds[-1]
