"""Times as JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(ms: float) -> datetime | None:
    """A time in ms since 1970; None for 0."""
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
