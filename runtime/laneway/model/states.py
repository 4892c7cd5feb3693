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


def _moves(
    script: str, origins: tuple[State | None, ...], targets: tuple[State | None, ...]
) -> tuple[tuple[str, State | None, State | None], ...]:
    return tuple((script, origin, target) for origin in origins for target in targets)


#: (script, from, to). ``None`` as origin: a new task; as target: forgotten (counted as purged). ``turn`` is not named:
#: it makes the moves of settle and of claim. A task goes to ``parked`` wherever it would go to ``queued`` while its
#: tenant is at its limit, and comes back in whichever script frees a slot of that tenant.
MOVES: tuple[tuple[str, State | None, State | None], ...] = (
    *_moves("submit", (None,), (*_WAIT, State.SCHEDULED)),
    *_moves("promote", (State.SCHEDULED,), _WAIT),
    *_moves("promote", (*_WAIT, State.SCHEDULED), (State.EXPIRED,)),
    *_moves("claim", (State.QUEUED,), (State.RUNNING, State.PARKED, State.EXPIRED, State.DEAD)),
    *_moves("dispatch", (State.QUEUED,), (State.DISPATCHED, State.PARKED, State.EXPIRED, State.DEAD)),
    *_moves("start", (State.DISPATCHED,), (State.RUNNING, State.EXPIRED)),
    *_moves("release", (State.DISPATCHED,), _WAIT),
    *_moves("settle", (State.RUNNING,), (State.SUCCEEDED, State.SCHEDULED, *_WAIT)),
    *_moves("settle", (State.RUNNING,), (State.DEAD, State.CANCELLED, State.EXPIRED)),
    *_moves("settle", (State.DISPATCHED,), _WAIT),
    *_moves("reap", (State.DISPATCHED,), _WAIT),
    *_moves("reap", (State.RUNNING,), (*_WAIT, State.DEAD, State.CANCELLED)),
    *(
        move
        for script in ("heartbeat", "register", "deregister")
        for move in (
            *_moves(script, (State.DISPATCHED,), _WAIT),
            *_moves(script, (State.RUNNING,), (*_WAIT, State.CANCELLED)),
        )
    ),
    *_moves("cancel", (*_WAIT, State.SCHEDULED, State.DISPATCHED), (State.CANCELLED,)),
    *(
        (script, State.PARKED, State.QUEUED)
        for script in ("start", "release", "settle", "reap", "heartbeat", "register", "deregister", "cancel", "sweep")
    ),
    *_moves("replay", (State.DEAD, State.CANCELLED, State.EXPIRED), _WAIT),
    *_moves("retry", (State.SCHEDULED,), _WAIT),
    *_moves("revise", (State.QUEUED, State.PARKED), (State.SCHEDULED,)),
    *_moves("revise", (State.SCHEDULED,), _WAIT),
    *_moves("revise", (State.PARKED,), (State.QUEUED,)),
    *_moves("purge", (State.SUCCEEDED, State.DEAD, State.CANCELLED, State.EXPIRED), (None,)),
)
