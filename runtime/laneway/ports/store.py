"""The port to the truth about tasks. Methods are named by transition; one call moves a whole batch.

Adapters: ``laneway.adapters.redis`` (the scripts) and ``laneway.adapters.memory`` (tests, with virtual time). The
same conformance suite runs over both. All methods may raise :class:`~laneway.errors.Unavailable` (nothing was
changed), :class:`~laneway.errors.OutcomeUnknown` (no answer came) and :class:`~laneway.errors.SchemaTooNew`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from laneway.model.config import QueueConfig, TenantConfig
from laneway.model.envelope import Envelope
from laneway.model.record import AttemptError, Record
from laneway.model.settlement import Settlement
from laneway.model.states import State
from laneway.ports.actions import Actions
from laneway.ports.browse import Browse
from laneway.ports.notes import NoteStore
from laneway.ports.workers import WorkerBook


class Submitted(msgspec.Struct):
    """The result of one submission. ``code`` is accepted, duplicate, conflict, rate, depth, lane, malformed or
    backlog; ``id`` is the task that is there now (for conflict and duplicate: the first one); ``retry_ms`` says
    when a refused one may be sent again; ``scope`` whose rate was used up (queue, lane or tenant), or a limit."""

    code: str
    id: bytes
    retry_ms: int = 0
    scope: str = ""


class Claimed(msgspec.Struct, array_like=True):
    """One task that a worker holds. ``envelope`` is in its stored form; ``attempt`` counts from 1 once started."""

    id: bytes
    fence: int
    attempt: int
    crashes: int
    flags: int
    envelope: bytes


class Turn(msgspec.Struct):
    """What a claim brought. ``status`` is ok, draining, gone (register anew) or late (an old request's copy);
    ``refused`` maps the index of a settlement that was not accepted to already or stale; ``again_ms`` says when
    a lane that was passed over for its rate may be asked again (-1: nothing to wait for)."""

    status: str
    now_ms: int
    tasks: Sequence[Claimed]
    refused: dict[int, str]
    again_ms: int = -1


class Dispatched(msgspec.Struct):
    """What a poller got to publish: ``tasks`` as (incarnation, partition, task); ``credits`` were left after it."""

    now_ms: int
    tasks: list[tuple[bytes, int, Claimed]]
    credits: int
    again_ms: int = -1


class Start(msgspec.Struct):
    """Answer for one dispatched task: ``code`` is 0 refused, 1 runs, 2 runs already, 3 expired."""

    code: int
    attempt: int


class Begun(msgspec.Struct):
    """What became of dispatched tasks: their codes (see :class:`Start`) and attempts, in order; ``refused`` as of
    :class:`Turn`."""

    now_ms: int
    codes: bytes
    attempts: Sequence[int]
    refused: dict[int, str]


class Registered(msgspec.Struct):
    """A new incarnation: its partition (-1 without Kafka) and which running tasks it took over."""

    partition: int
    adopted: frozenset[bytes]


class Beat(msgspec.Struct):
    """Answer to a heartbeat. ``status`` is ok, gone (declared dead: register anew) or epoch (Redis restarted:
    register anew and adopt); ``state`` 3 means drain; ``lost`` are tasks that are not the worker's any more."""

    status: str
    now_ms: int
    state: int = 0
    lost: frozenset[bytes] = frozenset()
    cancel: frozenset[bytes] = frozenset()


class Reaped(msgspec.Struct):
    """What a reaper's tick did. ``grace``: nothing was reaped because time stood still before."""

    grace: bool
    workers: int
    returned: int
    overdue: int
    more: bool


class Promoted(msgspec.Struct):
    """What a promotion moved, and in how many ms the next task is due (-1: none waits)."""

    promoted: int
    expired: int
    next_ms: int


class TaskView(msgspec.Struct):
    """All that is known of one task. ``result`` is msgpack, or None; ``due_ms`` is when a scheduled one comes due, in
    ms since 1970 (else 0)."""

    id: bytes
    state: State
    envelope: Envelope
    record: Record | None
    errors: list[AttemptError]
    result: bytes | None
    due_ms: float = 0.0


class LaneStats(msgspec.Struct):
    """One lane now. ``oldest_ms``: how long the task at its head was submitted ago (-1: empty)."""

    name: str
    queued: int
    running: int
    oldest_ms: int


class WorkerStats(msgspec.Struct):
    """One registered worker now. ``state``: 1 registered, 2 announced, 3 draining, 4 stalled, 5 dead."""

    incarnation: bytes
    name: str
    mode: str
    state: int
    slots: int
    window: int
    partition: int
    held: int
    beat_age_ms: int


class QueueStats(msgspec.Struct):
    """Sizes of the real sets at one instant. ``counts`` has submitted, purged and one entry per state;
    ``drift`` is submitted less the sum of the others, and must be 0."""

    now_ms: int
    counts: dict[str, int]
    lanes: list[LaneStats]
    workers: list[WorkerStats]
    outbox_bytes: int
    outbox_entries: int
    outbox_gap: int
    finished_bytes: int

    @property
    def drift(self) -> int:
        """Submitted tasks that are in no set (positive), or in one too many (negative)."""
        return self.counts["submitted"] - sum(n for name, n in self.counts.items() if name != "submitted")


class Depth(msgspec.Struct):
    """How much there is to do, as scaling sees it. ``ready`` tasks are queued in lanes that hand out work, ``stopped``
    ones in paused lanes (all of them, while the queue is paused); ``soon`` are scheduled and due within the time that
    was asked for (0 while a lane is paused: they count once they stand in their lane); ``run_ms`` is how long a handler
    runs on average (0: none has ended yet)."""

    now_ms: int
    ready: int
    stopped: int
    parked: int
    soon: int
    dispatched: int
    running: int
    run_ms: float


class OutboxEntry(msgspec.Struct):
    """What happened to tasks in one script call: ``groups`` as (lane number, attempts, ids), each pair once."""

    entry: bytes
    kind: str
    at_ms: int
    groups: list[tuple[int, int, list[bytes]]]
    size: int

    @property
    def ids(self) -> list[bytes]:
        """Of all groups."""
        return [id for _, _, ids in self.groups for id in ids]


class TaskStore(Protocol):
    """One queue's state."""

    async def config(self, *, reload: bool = False) -> QueueConfig:
        """The live configuration. Raises ConfigError when the queue has none yet."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace that the queue is in."""
        ...

    @property
    def browse(self) -> Browse:
        """Lists of tasks."""
        ...

    @property
    def actions(self) -> Actions:
        """Changes of waiting tasks."""
        ...

    @property
    def notes(self) -> NoteStore:
        """What handlers tell of themselves, and the types that workers announce."""
        ...

    @property
    def workers(self) -> WorkerBook:
        """Who works on the queue."""
        ...

    @property
    def config_hash(self) -> str:
        """The hash of the configuration last read, as it is stored ('' before)."""
        ...

    async def configure(self, config: QueueConfig, tenants: dict[str, TenantConfig], *, expected: str | None) -> bool:
        """Writes the live configuration if ``expected`` (a hash, '' for none, None for any) is in force.
        False: somebody else wrote first."""
        ...

    # -- submitters
    async def submit(self, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        """Submits (id, envelope) pairs, at most 999; each is taken or refused whole. Repeating it adds nothing."""
        ...

    async def get(self, ids: Sequence[bytes]) -> list[TaskView | None]:
        """All that is known of tasks; None for an unknown id."""
        ...

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        """Per task: cancelled, requested (it runs, and is asked to stop), ended or unknown."""
        ...

    async def wait_ended(self, id: bytes, timeout: float) -> TaskView | None:
        """Waits up to ``timeout`` seconds for the task to end; None when it has not."""
        ...

    # -- workers
    async def register(
        self,
        inc: bytes,
        name: str,
        mode: str,
        slots: int,
        window: int,
        partitions: int,
        last: bytes = b"",
        running: Sequence[tuple[bytes, int]] = (),
    ) -> Registered:
        """Registers an incarnation; it adopts those of ``running`` (id, fence) that ``last`` still holds."""
        ...  # fmt: skip

    async def heartbeat(
        self,
        inc: bytes,
        state: int,
        slots: int,
        window: int,
        running: Sequence[bytes],
        *,
        heal: bool = True,
        ended: int = 0,
        took_ms: float = 0.0,
    ) -> Beat:
        """One beat; ``state`` is 1 registered (gets no work yet), 2 announced, 3 draining or 4 stalled (no progress).

        ``heal``: what Redis shows as running here for longer than two beats and ``running`` does not name goes back;
        False while the caller may have answers that it has not looked at. ``ended`` handlers have returned here since
        the last beat, and ran ``took_ms`` together: the queue's average of running times comes from that.
        """
        ...

    async def turn(self, inc: bytes, request: int, want: int, settled: Sequence[Settlement]) -> Turn:
        """Settles a batch and claims up to ``want`` tasks, which run at once. The same ``request`` number gives the
        same tasks again."""
        ...

    async def start(self, inc: bytes, items: Sequence[tuple[bytes, int]]) -> tuple[int, list[Start]]:
        """Begins dispatched tasks (id, fence). Returns Redis time in ms and an answer per task."""
        ...

    async def begin(self, inc: bytes, items: Sequence[tuple[bytes, int]], settled: Sequence[Settlement]) -> Begun:
        """Settles a batch, and begins dispatched tasks as :meth:`start` does."""
        ...

    async def settle(self, inc: bytes, settled: Sequence[Settlement]) -> dict[int, str]:
        """Settles a batch; returns the indexes not accepted: already or stale."""
        ...

    async def extend(self, inc: bytes, id: bytes, fence: int) -> bool | None:
        """Whether cancellation of a held task is requested; None: the task is not the caller's any more."""
        ...

    async def release(self, items: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Returns dispatched tasks (holder, id, fence) that will not start; burns no attempt."""
        ...

    async def deregister(self, inc: bytes) -> int:
        """Ends an incarnation and returns what it still holds. Returns how many tasks that were."""
        ...

    # -- the poller's duties
    async def dispatch(self, limit: int) -> Dispatched:
        """Takes up to ``limit`` tasks for Kafka workers with credits."""
        ...

    async def promote(self, limit: int) -> Promoted:
        """Moves due tasks to their lanes, and expires what was not started in time."""
        ...

    async def reap(self, gap_ms: int, page: int) -> Reaped:
        """Returns what dead workers held; ``gap_ms`` is the longest normal time between two ticks."""
        ...

    async def sweep(self, cursor: str, limit: int) -> tuple[str, int]:
        """One page of slow repairs; returns the next cursor ('' when done) and how many tasks were unparked."""
        ...

    async def trim(self, limit: int) -> tuple[int, bool]:
        """Forgets ended tasks past what is kept: how many, and whether there are more."""
        ...

    async def wait_work(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds for a wake token (there is work, or a slot came free)."""
        ...

    async def await_turn(self, inc: bytes, request: int, want: int, timeout: float) -> Turn:
        """Waits for a wake token, at most ``timeout`` s, and then claims as :meth:`turn` does: in one trip where it can
        be, so that a task reaches an idle worker with one step less.

        When it is cancelled, or fails, the claim may have been made: a turn with the same request number tells.
        """
        ...

    async def await_dispatch(self, limit: int, timeout: float) -> Dispatched:
        """Waits for a wake token, at most ``timeout`` s, and then dispatches: in one trip where it can be. What it took
        when it is cancelled, or fails, goes back by the dispatch deadline."""
        ...

    async def wait_tend(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds for news to the poller's duties (a task was scheduled)."""
        ...

    # -- dead letters, statistics
    async def ended(self, state: State, offset: int, limit: int) -> list[tuple[bytes, int]]:
        """(id, ended at, ms) of tasks in a final state, newest first."""
        ...

    async def replay(self, ids: Sequence[bytes]) -> list[str]:
        """Queues dead, cancelled or expired tasks again. Per task: queued, unknown, or the state it is in."""
        ...

    async def purge(self, ids: Sequence[bytes]) -> int:
        """Forgets ended tasks; returns how many."""
        ...

    async def stats(self) -> QueueStats:
        """Sizes, lanes and workers at one instant."""
        ...

    async def depth(self, soon_ms: int) -> Depth:
        """How much there is to do, by a light read; scheduled tasks count when they are due in ``soon_ms``."""
        ...

    # -- the outbox
    async def lease_relay(self, owner: str, ms: int) -> bool:
        """Takes or renews the relay's lease (0 ms: gives it up). False: somebody else has it."""
        ...

    async def outbox(self, limit: int) -> tuple[list[OutboxEntry], int]:
        """The oldest entries, and how many events gave way before them (a gap)."""
        ...

    async def relayed(self, owner: str, entries: Sequence[OutboxEntry], gap: int) -> int:
        """Removes entries that the log acknowledged; -1 when ``owner`` has lost the lease."""
        ...

    async def append_log(self, stream: str, records: Sequence[bytes], cap: int) -> None:
        """Without Kafka: appends to the capped stream ``events`` or ``dead``."""
        ...

    async def check_server(self) -> list[str]:
        """Raises ServerRefused when promises could not be kept on this server; returns warnings."""
        ...

    def done_feed(self) -> AsyncIterator[tuple[bytes, State]]:
        """Ends as they happen (id, state); may miss some before it breaks with Unavailable."""
        ...

    async def close(self) -> None:
        """Closes connections. The store can't be used after."""
        ...
