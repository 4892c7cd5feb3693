"""All that one queue knows: the sets and hashes that stand for Redis keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laneway.adapters.memory.clock import Clock
from laneway.adapters.memory.head import Head
from laneway.adapters.memory.signals import EndsFeed, Tokens
from laneway.adapters.memory.sortedset import SortedSet
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig
from laneway.model.notes import NOTED
from laneway.model.record import Record
from laneway.model.states import FINAL, State
from laneway.ports.store import Claimed, OutboxEntry

if TYPE_CHECKING:
    from laneway.adapters.memory.notes import TaskNotes

NOBODY = bytes(8)
F_CANCEL, F_SUSPECT, F_IDEM, F_ERRORS, F_RESULT, F_STARTBY = 1, 2, 4, 8, 16, 32
F_LATE = 64
REGISTERED, ANNOUNCED, DRAINING, STALLED, GONE = 1, 2, 3, 4, 5
TEND_CAP = 4


@dataclass(slots=True, eq=False)
class Task:
    """One task. ``fresh``: it has no record yet, as in Redis until something happens to it."""

    id: bytes
    stored: bytes
    head: Head
    state: State
    flags: int
    size: int
    score: float = 0.0
    fence: int = 0
    since: int = 0
    started: int = 0
    holder: bytes = NOBODY
    attempts: int = 0
    crashes: int = 0
    fresh: bool = True
    errors: list[bytes] = field(default_factory=list)
    result: bytes | None = None
    notes: TaskNotes | None = None
    notes_size: int = 0

    @property
    def lane(self) -> int:
        return self.head.lane

    @property
    def tenant(self) -> str:
        return self.head.tenant

    def record(self) -> Record | None:
        """What ``get`` shows; None while nothing has happened to the task."""
        if self.fresh:
            return None
        return Record(
            self.state, self.flags, self.lane, self.crashes, self.head.max_attempts, self.attempts, self.size,
            self.score, self.fence, self.since, self.holder, self.tenant, self.started,
        )  # fmt: skip

    def claimed(self) -> Claimed:
        """As a worker gets it: flags of misses are for the queue alone, and notes of earlier attempts are flagged."""
        flags = self.flags % F_LATE | (NOTED if self.notes_size else 0)
        return Claimed(self.id, self.fence, self.attempts, self.crashes, flags, self.stored)


@dataclass(slots=True)
class Worker:
    """One registration."""

    name: str
    mode: str
    slots: int
    window: int
    partition: int
    state: int
    beat_ms: int
    since_ms: int = 0


class Tables:
    """The data, and who waits for news of it."""

    def __init__(self) -> None:
        self.conf: QueueConfig | None = None
        self.conf_hash = ""
        self.tenants: dict[str, TenantConfig] = {}
        self.tasks: dict[bytes, Task] = {}
        self.submitted = 0
        self.purged = 0
        self.lanes: dict[int, SortedSet] = {}
        self.scheduled = SortedSet()
        self.startby = SortedSet()
        self.dispatched = SortedSet()
        self.parked: dict[str, dict[int, SortedSet]] = {}
        self.held: dict[bytes, set[bytes]] = {}
        self.cancelling: set[bytes] = set()
        self.ended: dict[State, SortedSet] = {state: SortedSet() for state in FINAL}
        self.workers: dict[bytes, Worker] = {}
        self.replies: dict[bytes, tuple[int, list[tuple[bytes, int]]]] = {}
        self.running_lanes: dict[int, int] = {}
        self.running_tenants: dict[str, int] = {}
        self.vtime: dict[tuple[int, int, str | None], int] = {}
        self.buckets: dict[tuple[str, str], tuple[float, int]] = {}
        self.idem: dict[bytes, tuple[bytes, bytes]] = {}
        self.idem_ends: dict[bytes, int] = {}
        self.outbox: dict[bytes, OutboxEntry] = {}
        self.outbox_made = 0
        self.outbox_bytes = 0
        self.outbox_gap = 0
        self.relay: tuple[str, int] | None = None
        self.finished_bytes = 0
        self.slots = 0
        self.ran_n = 0.0
        self.ran_ms = 0.0
        self.ran_at = 0
        self.reap_at = 0
        self.reap_grace = 0
        self.work = Tokens()
        self.tend = Tokens()
        self.ends = EndsFeed()

    def count_slots(self) -> None:
        """Counts the slots of announced workers, for minimum shares."""
        self.slots = sum(worker.slots for worker in self.workers.values() if worker.state == ANNOUNCED)

    def held_by(self, inc: bytes) -> list[bytes]:
        """Ids that an incarnation holds, in order."""
        return sorted(self.held.get(inc, ()))


class Step:
    """One call: its instant, the configuration it works with, and what it has to tell at its end."""

    def __init__(self, tables: Tables, conf: QueueConfig, clock: Clock) -> None:
        self.t = tables
        self.conf = conf
        self.now = clock.now_ms()
        self.now_us = clock.now_us()
        self.lanes: dict[int, LaneConfig] = {lane.n: lane for lane in conf.lanes}
        self.events: dict[str, list[tuple[bytes, int, int]]] = {}
        self.ready = 0
        self.freed_slots = 0
        self.freed_tenants: set[str] = set()
        self.done: list[tuple[bytes, State]] = []
        self.again_ms: int | None = None
        self.news_to_tend = False

    def lane_set(self, n: int) -> SortedSet:
        """The waiting tasks of a lane."""
        return self.t.lanes.setdefault(n, SortedSet())

    def tenant(self, name: str) -> TenantConfig:
        """The limits of a tenant."""
        return self.t.tenants.get(name, self.conf.tenant) if self.conf.overrides else self.conf.tenant

    def emit(self, kind: str, task: Task, attempts: int | None = None) -> None:
        """Notes an event for the outbox."""
        self.events.setdefault(kind, []).append((task.id, task.lane, task.attempts if attempts is None else attempts))

    def wake(self, n: int) -> None:
        """Hands up to ``n`` tokens to whoever waits for work."""
        self.t.work.add(n, self.conf.wake_cap)

    def wake_for(self, ready: int) -> None:
        """Wakes for ``ready`` tasks, and at least once where a place came free."""
        self.wake(max(ready, 1 if self.freed_slots else 0))
