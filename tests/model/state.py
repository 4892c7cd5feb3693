"""The modelled world at one instant: what Redis stores, what processes know, and what is on its way."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from tests.model.rules import Variant

Item = TypeVar("Item")

# States of a task.
NEW, QUEUED, SCHEDULED, DISPATCHED, RUNNING, SUCCEEDED, DEAD, CANCELLED = (
    "new",
    "queued",
    "scheduled",
    "dispatched",
    "running",
    "succeeded",
    "dead",
    "cancelled",
)
HELD = (DISPATCHED, RUNNING)
FINAL = (SUCCEEDED, DEAD, CANCELLED)

# States of a registration (as stored) and of a process.
ANNOUNCED, DRAINING, MARKED_DEAD = 2, 3, 5
UP, LEAVING, DOWN = "up", "leaving", "down"

# Where an execution stands in its process. The last two: the handler has ended, and the settlement is not
# acknowledged yet.
STARTING, RUNS, RUNS_ALONE, COMPLETES, RETRIES = "starting", "runs", "alone", "completes", "retries"

NOBODY = -1
NEW_FENCE = 99  # greater than any in use; canonical() renumbers


class Task(NamedTuple):
    """A record in Redis."""

    state: str = NEW
    fence: int = 0
    attempts: int = 0
    crashes: int = 0
    holder: int = NOBODY
    cancel: bool = False


class Registration(NamedTuple):
    """An incarnation in Redis, with its last request number and what that one was answered.

    Numbers count from the process's current one, which is 0; earlier ones are negative.
    """

    state: int
    run: int
    number: int = -1
    memo: tuple[tuple[int, int], ...] = ()


class Redis(NamedTuple):
    """All that a rollback takes back."""

    tasks: tuple[Task, ...]
    regs: tuple[Registration | None, ...]
    run: int


class Execution(NamedTuple):
    """A task as a worker's process knows it."""

    task: int
    fence: int
    stage: str


class Call(NamedTuple):
    """A call without an answer: a turn (settles one execution and claims), or a registration."""

    kind: str
    settles: Execution | None = None
    want: int = 0
    last: int = NOBODY


class Copy(NamedTuple):
    """A turn that hangs in an old connection."""

    inc: int
    number: int
    settles: Execution | None
    want: int


class Delivery(NamedTuple):
    """A dispatched task on its way: in a poller's hands, or in a worker's partition."""

    task: int
    fence: int
    inc: int


class Process(NamedTuple):
    """A worker's process."""

    phase: str = DOWN
    inc: int = NOBODY
    execs: tuple[Execution, ...] = ()
    call: Call | None = None
    inbox: tuple[Delivery, ...] = ()


class State(NamedTuple):
    """Everything. ``snapshot`` is what Redis would come back with: None before there is one, "used" after."""

    redis: Redis
    procs: tuple[Process, ...]
    pollers: tuple[Delivery | None, ...]
    copies: tuple[Copy, ...]
    faults: int
    cancels: int
    snapshot: Redis | str | None
    silent: bool


class Step(NamedTuple):
    """One move. ``natural`` ones may be relied on for progress; faults and the outside world may not."""

    label: str
    natural: bool
    state: State


class Violation(Exception):
    """A rule of the contract is broken; ``label`` names the move that broke it, if one did."""

    def __init__(self, what: str, label: str = "") -> None:
        super().__init__(what)
        self.label = label


def initial(v: Variant) -> State:
    """Every process is up and registered; no task is submitted."""
    regs: list[Registration | None] = [Registration(ANNOUNCED, 0) for _ in range(v.processes)]
    regs += [None] * (v.incarnations - v.processes)
    return State(
        Redis(tuple(Task() for _ in range(v.tasks)), tuple(regs), 0),
        tuple(Process(UP, i) for i in range(v.processes)),
        (None,) * (v.pollers if v.source == "kafka" else 0),
        (),
        v.faults,
        v.cancels,
        None,
        False,
    )


def put(items: tuple[Item, ...], at: int, value: Item) -> tuple[Item, ...]:
    """The tuple with one element replaced."""
    return (*items[:at], value, *items[at + 1 :])


def with_process(s: State, at: int, process: Process, redis: Redis | None = None, cost: int = 0) -> State:
    """The state with one process changed, and perhaps Redis, at the cost of so many faults."""
    return s._replace(procs=put(s.procs, at, process), redis=redis or s.redis, faults=s.faults - cost)


def pending(s: State) -> Redis | None:
    """What Redis may still come back with."""
    return s.snapshot if isinstance(s.snapshot, Redis) else None


def free_incarnation(s: State, v: Variant) -> int | None:
    """A number for a new incarnation that nothing refers to any more (real ones are random, never reused)."""
    used = {p.inc for p in s.procs} | {p.call.last for p in s.procs if p.call} | {c.inc for c in s.copies}
    used |= {d.inc for d in s.pollers if d} | {d.inc for p in s.procs for d in p.inbox}
    old = pending(s)
    for redis in (s.redis, old) if old else (s.redis,):
        used |= {t.holder for t in redis.tasks} | {i for i, reg in enumerate(redis.regs) if reg}
    return next((i for i in range(v.incarnations) if i not in used), None)


def canonical(s: State, v: Variant) -> State:
    """The same state in the form in which equal situations are equal.

    A fence counts only by equality with the one stored now (1) or in the snapshot (2); all others (0) are
    dead, and so are deliveries that carry one. As a counter, fences keep their values.
    """
    tasks, old = s.redis.tasks, pending(s)
    if v.rules.fence_by_time:

        def fence(task: int, value: int) -> int:
            if value == tasks[task].fence:
                return 1
            return 2 if old and value == old.tasks[task].fence else 0
    else:

        def fence(task: int, value: int) -> int:
            return value

    def of_execution(e: Execution) -> Execution:
        return Execution(e.task, fence(e.task, e.fence), e.stage)

    def of_delivery(d: Delivery | None) -> Delivery | None:
        return Delivery(d.task, f, d.inc) if d and (f := fence(d.task, d.fence)) else None

    def of_task(i: int, t: Task) -> Task:
        value = fence(i, t.fence)
        if t.state in FINAL:
            return Task(t.state, value)
        return t if value == t.fence else t._replace(fence=value)

    # A memo matters while its request may come again: by a call without an answer, or by an old copy.
    asking = {p.inc for p in s.procs if p.call}
    copied = {c.inc for c in s.copies}

    def of_registration(inc: int, reg: Registration | None) -> Registration | None:
        if reg is None:
            return None
        if inc not in copied and (reg.number < 0 or inc not in asking):
            return reg if reg.number == -1 and not reg.memo else Registration(reg.state, reg.run)
        memo = tuple((i, f) for i, value in reg.memo if (f := fence(i, value)))
        return Registration(reg.state, reg.run, reg.number, memo)

    def of_redis(r: Redis) -> Redis:
        return Redis(
            tuple([of_task(i, t) for i, t in enumerate(r.tasks)]),
            tuple([of_registration(i, g) for i, g in enumerate(r.regs)]),
            r.run,
        )

    def of_process(p: Process) -> Process:
        if not (p.execs or p.call or p.inbox):
            return p
        call = p.call
        if call and call.settles:
            call = Call(call.kind, of_execution(call.settles), call.want, call.last)
        inbox = tuple([kept for d in p.inbox if (kept := of_delivery(d))])
        return Process(p.phase, p.inc, tuple(sorted([of_execution(e) for e in p.execs])), call, inbox)

    copies = s.copies
    if copies:
        copies = tuple(
            sorted(
                (Copy(c.inc, c.number, of_execution(c.settles) if c.settles else None, c.want) for c in copies),
                key=repr,
            )
        )
    return State(
        of_redis(s.redis),
        tuple([of_process(p) for p in s.procs]),
        tuple([of_delivery(d) for d in s.pollers]),
        copies,
        s.faults,
        s.cancels,
        of_redis(old) if old else s.snapshot,
        s.silent,
    )
