"""Cursors of searches that change what they find: with them goes the moment at which the search began.

What came into its state later is not meant by it. Without that a search would meet the tasks that it changed: one that
is retried and fails again would be retried by every call, and the search would have no end.
"""

from __future__ import annotations

import msgspec

from laneway.gateway.front import QueueFront
from laneway.gateway.problems import Problem
from laneway.ports.browse import Filter

_DIGITS = frozenset("0123456789abcdef")


async def begun(front: QueueFront, cursor: str | None) -> tuple[int, str | None]:
    """Before which moment (ms since 1970, the store's time) tasks must have come into their state for this search to
    mean them, and the rest of the cursor.

    Raises:
        Problem: invalid-cursor; or what ``front.ask`` raises.
    """
    if cursor is None:
        return (await front.ask(front.store.stats())).now_ms + 1, None
    text, dot, rest = cursor.partition(".")
    if not dot or not 1 <= len(text) <= 12 or not _DIGITS.issuperset(text):
        raise Problem("invalid-cursor", "this is no cursor: send `next` of an answer as it is, or none to begin anew")
    return int(text, 16), rest


def with_moment(until_ms: int, cursor: str) -> str:
    """The cursor of a search that began at this moment."""
    return f"{until_ms:x}.{cursor}"


def settled_before(wanted: Filter, until_ms: int) -> Filter:
    """The filter among tasks that came into their state before this moment."""
    return msgspec.structs.replace(wanted, since_to=until_ms)
