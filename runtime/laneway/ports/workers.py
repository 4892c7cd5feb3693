"""The port to who works on a queue: looking at the workers one by one, and asking one to leave.

Adapters: ``laneway.adapters.redis.workers`` and ``laneway.adapters.memory.workers``; a store offers its own as
``store.workers``. Methods may raise what those of :class:`~laneway.ports.store.TaskStore` may.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Member(msgspec.Struct):
    """One registered worker now. ``state``: 1 registered, 2 announced, 3 draining, 4 stalled, 5 dead; ``held`` is how
    many tasks it holds, and ``tasks`` names the first of them; ``since_ms`` is when it registered (ms since 1970; 0:
    not known)."""

    incarnation: bytes
    name: str
    mode: str
    state: int
    slots: int
    partition: int
    held: int
    beat_age_ms: int
    since_ms: int
    tasks: list[bytes]


class WorkerBook(Protocol):
    """Who works on one queue."""

    async def members(self, tasks: int) -> list[Member]:
        """Every registered worker, in no order; ``tasks``: so many that each holds are named."""
        ...

    async def drain(self, inc: bytes) -> bool:
        """Asks a worker to take nothing new and to leave. From when this returns nothing is handed to it, and it
        learns of it with its next beat or claim. False: no such worker lives. Repeating it changes nothing."""
        ...
