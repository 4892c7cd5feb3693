"""Moves that both sources of work share: clients, the reaper, incarnations, and faults from outside."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.rules import Variant
from tests.model.scripts import Draft
from tests.model.state import (
    COMPLETES,
    DISPATCHED,
    DOWN,
    DRAINING,
    LEAVING,
    MARKED_DEAD,
    NEW,
    NOBODY,
    QUEUED,
    RETRIES,
    RUNNING,
    RUNS,
    RUNS_ALONE,
    SCHEDULED,
    STARTING,
    UP,
    Call,
    Delivery,
    Execution,
    Process,
    State,
    Step,
    Violation,
    free_incarnation,
    pending,
    with_process,
)


def fault(s: State, v: Variant, kind: str) -> bool:
    """Whether a fault of this kind may still happen."""
    return s.faults > 0 and kind in v.kinds


def outcomes(e: Execution, v: Variant) -> list[tuple[str, bool]]:
    """How an execution's handler may end: (settlement, the task's own process died)."""
    if e.stage in (COMPLETES, RETRIES):
        return [(e.stage, False)]
    if e.stage == RUNS_ALONE and e.task in v.poison:
        return [(RETRIES, True)]
    if e.stage == STARTING or e.task in v.poison:
        return []
    return [(COMPLETES, False), (RETRIES, False)] if v.retries else [(COMPLETES, False)]


def runs(task: int, fence: int, crashes: int, v: Variant) -> Execution:
    """A task that a worker begins to run: alone when it is under suspicion."""
    return Execution(task, fence, RUNS_ALONE if crashes and v.rules.suspects_isolated else RUNS)


def submit(s: State, v: Variant) -> Iterator[Step]:
    """The next task arrives."""
    for at, t in enumerate(s.redis.tasks):
        if t.state == NEW:
            d = Draft(s.redis, v)
            d.tasks[at] = t._replace(state=QUEUED)
            yield Step(f"submit t{at}", False, s._replace(redis=d.done()))
            return


def promote(s: State, v: Variant) -> Iterator[Step]:
    """A task that waited for its retry joins its lane."""
    for at, t in enumerate(s.redis.tasks):
        if t.state == SCHEDULED:
            d = Draft(s.redis, v)
            d.requeue(at)
            yield Step(f"promote t{at}", True, s._replace(redis=d.done()))


def cancel(s: State, v: Variant) -> Iterator[Step]:
    """A client cancels a task that has not ended."""
    if not s.cancels:
        return
    for at, t in enumerate(s.redis.tasks):
        if t.state in (QUEUED, SCHEDULED, DISPATCHED, RUNNING) and not t.cancel:
            d = Draft(s.redis, v)
            d.cancel(at)
            yield Step(f"cancel t{at} ({t.state})", False, s._replace(redis=d.done(), cancels=s.cancels - 1))


def owner(s: State, inc: int) -> Process | None:
    """The living process of an incarnation."""
    return next((p for p in s.procs if p.phase != DOWN and p.inc == inc), None)


def reap(s: State, v: Variant) -> Iterator[Step]:
    """The reaper takes from an incarnation that is silent, a page at a time.

    A living one is silent when it is paused (a fault), or after an outage, when the grace forbids to reap.
    """
    for inc, reg in enumerate(s.redis.regs):
        if reg is None:
            continue
        alive, cost, why = owner(s, inc) is not None, 0, "dead"
        if alive and reg.state != MARKED_DEAD:
            if s.silent and not v.rules.grace_after_silence:
                why = "alive, silenced by the outage"
                if any(t.holder == inc and t.state == RUNNING for t in s.redis.tasks):
                    raise Violation(f"an outage of Redis gives away what W{inc} runs", f"reap W{inc} ({why})")
            elif fault(s, v, "pause"):
                cost, why = 1, "paused"
            else:
                continue
        d = Draft(s.redis, v)
        d.farewell(inc, crashed=True)
        yield Step(
            f"reap a page of W{inc} ({why})",
            not cost and not s.silent,
            s._replace(redis=d.done(), faults=s.faults - cost),
        )


def outage(s: State, v: Variant) -> Iterator[Step]:
    """Redis is away for longer than a lease; then beats come in again."""
    if s.silent:
        yield Step("Redis is back, everybody beats", True, s._replace(silent=False))
    elif fault(s, v, "outage"):
        yield Step("Redis is away for longer than a lease", False, s._replace(silent=True, faults=s.faults - 1))


def rollback(s: State, v: Variant) -> Iterator[Step]:
    """Redis writes its log to disk, and later comes back with what was written then."""
    if not v.rollback:
        return
    old = pending(s)
    if s.snapshot is None:
        yield Step("Redis's log reaches the disk", False, s._replace(snapshot=s.redis))
    elif old and old != s.redis:
        back = old._replace(run=s.redis.run + 1)
        yield Step("Redis restarts without what came after", False, s._replace(redis=back, snapshot="used"))


def crash(s: State, v: Variant) -> Iterator[Step]:
    """A worker's process dies; or a poison task kills it. A new process takes its place, knowing nothing."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN:
            inc = free_incarnation(s, v)
            if inc is not None:
                d = Draft(s.redis, v)
                d.register(inc, NOBODY, ())
                yield Step(f"P{at} starts anew as W{inc}", True, with_process(s, at, Process(UP, inc), d.done()))
            continue
        if fault(s, v, "crash"):
            yield Step(f"W{p.inc} crashes", False, with_process(s, at, Process(), cost=1))
        for e in p.execs:
            if e.task in v.poison and e.stage == RUNS:
                yield Step(f"t{e.task} kills the process of W{p.inc}", True, with_process(s, at, Process()))


def drain(s: State, v: Variant) -> Iterator[Step]:
    """SIGTERM, and later the farewell of a worker that has nothing left to do."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN or p.call:
            continue
        reg = s.redis.regs[p.inc]
        if p.phase == UP and reg and reg.state != MARKED_DEAD and fault(s, v, "drain"):
            d = Draft(s.redis, v)
            d.regs[p.inc] = reg._replace(state=DRAINING)
            yield Step(
                f"W{p.inc} begins to drain",
                False,
                with_process(s, at, p._replace(phase=LEAVING), d.done(), 1),
            )
        if p.phase == LEAVING and not p.execs and not p.inbox:
            d = Draft(s.redis, v)
            d.deregister(p.inc)
            yield Step(f"W{p.inc} deregisters and ends", True, with_process(s, at, Process(), d.done()))


def heartbeat(s: State, v: Variant) -> Iterator[Step]:
    """A beat gives back what is held and unknown to the worker: a running task, and a dispatched one too when
    the worker takes no new ones."""
    if not v.rules.heal_unknown:
        return
    for p in s.procs:
        reg = s.redis.regs[p.inc] if p.phase != DOWN else None
        if reg is None or reg.state == MARKED_DEAD or (v.rules.epoch and reg.run != s.redis.run):
            continue
        if p.call and not fault(s, v, "race"):
            continue
        known = {e.task for e in p.execs} | ({p.call.settles.task} if p.call and p.call.settles else set())
        for at, t in enumerate(s.redis.tasks):
            if t.holder != p.inc or at in known:
                continue
            if t.state == RUNNING or (t.state == DISPATCHED and p.phase == LEAVING):
                d = Draft(s.redis, v)
                d.give_back(at, crashed=False)
                cost = 1 if p.call else 0
                label = f"a beat of W{p.inc} does not name t{at}: given back"
                yield Step(label, not cost, s._replace(redis=d.done(), faults=s.faults - cost))


def adopt(s: State, at: int, p: Process, d: Draft, adopted: frozenset[tuple[int, int]]) -> State:
    """The reply to a registration arrives: what was not adopted is dropped, then both sides must agree."""
    kept = tuple(e for e in p.execs if (e.task, e.fence) in adopted)
    mine = {(e.task, e.fence) for e in kept}
    shown = {(i, t.fence) for i, t in enumerate(d.tasks) if t.holder == p.inc and t.state == RUNNING}
    if mine != shown:
        raise Violation(
            f"W{p.inc} has registered; Redis shows that it runs {_names(shown)}, and it runs {_names(mine)}",
            f"the reply to the registration of W{p.inc}",
        )
    return with_process(s, at, p._replace(execs=kept, call=None), d.done())


def _names(pairs: set[tuple[int, int]]) -> str:
    return ", ".join(f"t{task} at fence {fence}" for task, fence in sorted(pairs)) or "nothing"


def register_anew(s: State, v: Variant) -> Iterator[Step]:
    """A worker that was told "gone" or "epoch" registers as a new incarnation; when the reply is lost it
    repeats the call."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN:
            continue
        if p.call and p.call.kind == "register":
            d = Draft(s.redis, v)
            adopted = d.register(p.inc, p.call.last, p.execs)
            yield Step(f"W{p.inc} repeats its registration", True, adopt(s, at, p, d, adopted))
            continue
        reg = s.redis.regs[p.inc]
        told = reg is None or reg.state == MARKED_DEAD or (v.rules.epoch and reg.run != s.redis.run)
        inc = free_incarnation(s, v) if told else None
        if inc is None:
            continue
        # An unacknowledged settlement goes with its execution, and is sent again if that is adopted.
        # A start without an answer is no execution yet.
        execs = tuple(e for e in p.execs if e.stage != STARTING)
        if p.call and p.call.settles:
            execs = tuple(sorted((*execs, p.call.settles)))
        new = Process(UP, inc, execs, None, p.inbox)
        d = Draft(s.redis, v)
        adopted = d.register(inc, p.inc, execs)
        label = f"W{p.inc} registers anew as W{inc}"
        yield Step(label, True, adopt(s, at, new, d, adopted))
        if fault(s, v, "reply"):
            lost = new._replace(call=Call("register", last=p.inc))
            yield Step(label + ", the reply is lost", False, with_process(s, at, lost, d.done(), 1))


def abroad(s: State) -> frozenset[tuple[int, int]]:
    """All fences that exist outside of the record they came from."""
    found = {(e.task, e.fence) for p in s.procs for e in p.execs}
    found |= {(p.call.settles.task, p.call.settles.fence) for p in s.procs if p.call and p.call.settles}
    flying: list[Delivery] = [d for d in s.pollers if d] + [d for p in s.procs for d in p.inbox]
    return frozenset(found | {(d.task, d.fence) for d in flying})


SHARED = (submit, promote, cancel, reap, outage, rollback, crash, drain, heartbeat, register_anew)
