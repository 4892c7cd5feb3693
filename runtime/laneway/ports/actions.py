"""The port for what people do to tasks beside cancelling: run them now, and give them another lane, priority or time.

The rest of what is done to tasks (cancel, replay, purge) is on the store itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from laneway.model.envelope import Envelope
from laneway.model.record import Record


class Revision(msgspec.Struct, frozen=True):
    """What is to change; None stays as it is. ``lane`` is a lane's number; ``due_ms`` is when to run, in ms since 1970
    (a time that is past: now), or with ``delay_ms`` so long from now, by the store's clock."""

    lane: int | None = None
    priority: int | None = None
    due_ms: float | None = None
    delay_ms: float | None = None


class Seen(Protocol):
    """A task as somebody has seen it, such as a TaskView or a TaskRow."""

    envelope: Envelope
    record: Record | None
    due_ms: float


class Actions(Protocol):
    """Changes of waiting tasks. All methods may raise :class:`~laneway.errors.Unavailable` and
    :class:`~laneway.errors.OutcomeUnknown`, as those of the store."""

    async def retry(self, ids: Sequence[bytes]) -> list[str]:
        """Scheduled tasks join their lanes now; dead, cancelled and expired ones are queued again, with their attempts
        counted anew. Per task: queued, unknown, lane removed, or the state in which it can't be retried (``waiting``
        when it is queued already)."""
        ...

    async def revise(self, ids: Sequence[bytes], change: Revision, seen: Seen | None = None) -> list[str]:
        """Gives waiting tasks (queued, parked, scheduled) another lane, priority or time. With ``seen``, which is for
        one id, only while the task is as it was seen. Per task: revised, same (there was nothing to change), changed
        (it is not as it was seen), unknown, lane removed, or the state in which it can't be revised."""
        ...
