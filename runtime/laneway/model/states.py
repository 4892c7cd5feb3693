"""The states of a task, and which script makes which move: the one table that the docs are generated from."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a task is. The numbers are those stored in Redis."""

    QUEUED = 1
    SCHEDULED = 2
    PARKED = 3
    DISPATCHED = 4
    RUNNING = 5
    SUCCEEDED = 6
    DEAD = 7
    CANCELLED = 8
    EXPIRED = 9
    BLOCKED = 10

    @property
    def label(self) -> str:
        """The name shown to people and used in JSON: lower case."""
        return self.name.lower()

    @property
    def final(self) -> bool:
        """Whether a task stays in this state by itself."""
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED, State.EXPIRED})
HELD = frozenset({State.DISPATCHED, State.RUNNING})
WAITING = frozenset({State.QUEUED, State.SCHEDULED, State.PARKED})

_WAIT = (State.QUEUED, State.PARKED)

#: (script, from, to). ``None`` as origin: a new task; as target: forgotten (counted as purged).
MOVES: tuple[tuple[str, State | None, State | None], ...] = (
    ("submit", None, State.QUEUED),
    ("submit", None, State.SCHEDULED),
    ("submit", None, State.PARKED),
    ("promote", State.SCHEDULED, State.QUEUED),
    ("promote", State.SCHEDULED, State.PARKED),
    *(("promote", state, State.EXPIRED) for state in (*_WAIT, State.SCHEDULED)),
    ("claim", State.QUEUED, State.RUNNING),
    ("claim", State.QUEUED, State.PARKED),
    ("claim", State.QUEUED, State.EXPIRED),
    ("dispatch", State.QUEUED, State.DISPATCHED),
    ("dispatch", State.QUEUED, State.PARKED),
    ("dispatch", State.QUEUED, State.EXPIRED),
    ("start", State.DISPATCHED, State.RUNNING),
    ("start", State.DISPATCHED, State.EXPIRED),
    ("release", State.DISPATCHED, State.QUEUED),
    ("settle", State.RUNNING, State.SUCCEEDED),
    ("settle", State.RUNNING, State.SCHEDULED),
    ("settle", State.RUNNING, State.DEAD),
    ("settle", State.RUNNING, State.CANCELLED),
    ("settle", State.RUNNING, State.EXPIRED),
    ("settle", State.RUNNING, State.QUEUED),
    ("settle", State.PARKED, State.QUEUED),
    ("reap", State.DISPATCHED, State.QUEUED),
    ("reap", State.RUNNING, State.QUEUED),
    ("reap", State.RUNNING, State.DEAD),
    ("reap", State.RUNNING, State.CANCELLED),
    ("sweep", State.PARKED, State.QUEUED),
    *(("cancel", state, State.CANCELLED) for state in (*_WAIT, State.SCHEDULED, State.DISPATCHED)),
    *(("replay", state, State.QUEUED) for state in (State.DEAD, State.CANCELLED, State.EXPIRED)),
    *(("purge", state, None) for state in (State.SUCCEEDED, State.DEAD, State.CANCELLED, State.EXPIRED)),
)
