"""Times as people and files write them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """An RFC 3339 time with its zone, in UTC. Raises ValueError saying what would be right."""
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"must be an RFC 3339 time such as 2030-01-31T08:00:00Z, not {text[:40]!r}") from None
    raise ValueError(f"must say its time zone: {text}Z for UTC, or {text}+01:00, for example")
