"""Moves of the direct source: a worker settles its last task and claims the next in one call."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.common import abroad, fault, outcomes, runs
from tests.model.rules import Variant
from tests.model.scripts import Draft
from tests.model.state import (
    DOWN,
    QUEUED,
    UP,
    Call,
    Copy,
    Execution,
    Process,
    Redis,
    State,
    Step,
    Violation,
    pending,
    put,
    with_process,
)


def turn(
    redis: Redis,
    s: State,
    v: Variant,
    inc: int,
    number: int,
    settles: Execution | None,
    crashed: bool,
    want: int,
) -> tuple[Redis, str, tuple[tuple[int, int, int], ...]]:
    """The script: settlements first, by fence, then the claim, by request number."""
    d = Draft(redis, v)
    if settles:
        d.settle(inc, settles, settles.stage, crashed)
    status, taken = d.claim(inc, number, want, abroad(s))
    return d.done(), status, taken


def next_number(s: State, inc: int) -> State:
    """Counts an incarnation's request numbers from its newest call again."""

    def older(redis: Redis) -> Redis:
        reg = redis.regs[inc]
        if reg is None:
            return redis
        return redis._replace(regs=put(redis.regs, inc, reg._replace(number=max(reg.number - 1, -3))))

    old = pending(s)
    copies = tuple(c._replace(number=max(c.number - 1, -2)) if c.inc == inc else c for c in s.copies)
    return s._replace(redis=older(s.redis), copies=copies, snapshot=older(old) if old else s.snapshot)


def arrive(s: State, v: Variant, at: int, p: Process, redis: Redis, taken: tuple[tuple[int, int, int], ...]) -> State:
    """A turn's reply reaches the worker, which begins what it got."""
    known = {(e.task, e.fence) for e in p.execs}
    new = [runs(task, fence, crashes, v) for task, fence, crashes in taken if (task, fence) not in known]
    return with_process(s, at, p._replace(execs=tuple(sorted((*p.execs, *new))), call=None), redis)


def call(s: State, v: Variant) -> Iterator[Step]:
    """A worker makes its next turn: it works, its reply is lost, or it hangs in an old connection."""
    queued = any(t.state == QUEUED for t in s.redis.tasks)
    for at, p in enumerate(s.procs):
        if p.phase == DOWN or p.call:
            continue
        choices: list[tuple[Execution | None, bool, tuple[Execution, ...]]] = []
        for n, e in enumerate(p.execs):
            rest = (*p.execs[:n], *p.execs[n + 1 :])
            choices += [(e._replace(stage=kind), crashed, rest) for kind, crashed in outcomes(e, v)]
        if queued and len(p.execs) < v.slots:
            choices.append((None, False, p.execs))
        for settles, crashed, rest in choices:
            want = v.slots - len(rest) if p.phase == UP or not v.rules.drain_flag else 0
            if settles is None and not want:
                continue
            label = f"W{p.inc} calls turn" + (f", t{settles.task} {settles.stage}" if settles else "")
            moved = next_number(s, p.inc)
            try:
                redis, status, taken = turn(moved.redis, s, v, p.inc, 0, settles, crashed, want)
            except Violation as broken:
                broken.label = label
                raise
            got = f" -> {status} {' '.join(f't{task}' for task, *_ in taken)}".rstrip()
            yield Step(label + got, True, arrive(moved, v, at, p._replace(execs=rest), redis, taken))
            waiting = p._replace(execs=rest, call=Call("turn", settles, want))
            if fault(s, v, "reply"):
                yield Step(label + got + ", the reply is lost", False, with_process(moved, at, waiting, redis, 1))
            if fault(s, v, "copy"):
                hangs = moved._replace(copies=(*moved.copies, Copy(p.inc, 0, settles, want)))
                yield Step(label + ", which hangs in its connection", False, with_process(hangs, at, waiting, cost=1))


def repeat(s: State, v: Variant) -> Iterator[Step]:
    """A worker without an answer repeats its call with the same number, or gives it up."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN or p.call is None or p.call.kind != "turn":
            continue
        label = f"W{p.inc} repeats its turn"
        try:
            redis, status, taken = turn(s.redis, s, v, p.inc, 0, p.call.settles, False, p.call.want)
        except Violation as broken:
            broken.label = label
            raise
        got = f" -> {status} {' '.join(f't{task}' for task, *_ in taken)}".rstrip()
        yield Step(label + got, True, arrive(s, v, at, p, redis, taken))
        if fault(s, v, "give_up"):
            execs = tuple(sorted((*p.execs, p.call.settles))) if p.call.settles else p.execs
            yield Step(
                f"W{p.inc} gives up on its turn",
                False,
                with_process(s, at, p._replace(execs=execs, call=None), cost=1),
            )


def late_copy(s: State, v: Variant) -> Iterator[Step]:
    """A call that hung in an old connection is carried out; nobody reads the answer."""
    for n, c in enumerate(s.copies):
        label = f"an old copy of a turn of W{c.inc} is carried out"
        try:
            redis, status, taken = turn(s.redis, s, v, c.inc, c.number, c.settles, False, c.want)
        except Violation as broken:
            broken.label = label
            raise
        got = f" -> {status} {' '.join(f't{task}' for task, *_ in taken)}".rstrip()
        yield Step(label + got, True, s._replace(redis=redis, copies=(*s.copies[:n], *s.copies[n + 1 :])))


DIRECT = (call, repeat, late_copy)
