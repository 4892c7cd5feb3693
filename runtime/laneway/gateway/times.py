"""Times as JSON has them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def moment(ms: float) -> datetime | None:
    """A time in ms since 1970; None for 0. One that can't be shown (what is stored may be anything) is told as the
    first or last that can, and what is no number as None."""
    if not ms or math.isnan(ms):
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return _LAST if ms > 0 else _FIRST
