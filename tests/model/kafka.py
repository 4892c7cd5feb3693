"""Moves of the Kafka source: pollers dispatch and publish, workers read, start and settle."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.common import abroad, fault, outcomes, runs
from tests.model.rules import Variant
from tests.model.scripts import Draft
from tests.model.state import (
    DISPATCHED,
    DOWN,
    LEAVING,
    QUEUED,
    STARTING,
    Delivery,
    Execution,
    Process,
    State,
    Step,
    Violation,
    put,
    with_process,
)


def dispatch(s: State, v: Variant) -> Iterator[Step]:
    """An idle poller takes the best task for a worker with credits."""
    best = next((i for i, t in enumerate(s.redis.tasks) if t.state == QUEUED), None)
    idle = next((i for i, d in enumerate(s.pollers) if d is None), None)
    if best is None or idle is None:
        return
    for inc in range(len(s.redis.regs)):
        d = Draft(s.redis, v)
        if d.credits(inc) > 0:
            fence = d.take(best, inc, DISPATCHED, abroad(s))
            taken = put(s.pollers, idle, Delivery(best, fence, inc))
            yield Step(f"dispatch t{best} to W{inc}", True, s._replace(redis=d.done(), pollers=taken))


def publish(s: State, v: Variant) -> Iterator[Step]:
    """The poller publishes what it took; a record reaches who reads that partition, or nobody."""
    for n, record in enumerate(s.pollers):
        if record is None:
            continue
        procs = tuple(
            p._replace(inbox=(*p.inbox, record))
            if p.phase != DOWN and (v.shared_partition or p.inc == record.inc)
            else p
            for p in s.procs
        )
        empty = put(s.pollers, n, None)
        name = f"t{record.task} for W{record.inc}"
        yield Step(f"publish {name}", True, s._replace(procs=procs, pollers=empty))
        less = s._replace(faults=s.faults - 1)
        if fault(s, v, "publish_twice"):
            yield Step(f"publish {name}, to be repeated", False, less._replace(procs=procs))
        if fault(s, v, "poller_crash"):
            yield Step(f"the poller dies before it publishes {name}", False, less._replace(pollers=empty))
        if fault(s, v, "publish_fails"):
            d = Draft(s.redis, v)
            label = f"the poller believes that it could not publish {name}, releases it"
            try:
                d.release(record.inc, record.task, record.fence)
            except Violation as broken:
                broken.label = label
                raise
            yield Step(label, False, less._replace(redis=d.done(), pollers=empty))


def deadline(s: State, v: Variant) -> Iterator[Step]:
    """What was dispatched and not started in time goes back. Lost records pass it for sure, late ones may."""
    if not v.rules.dispatch_deadline:
        return
    for at, t in enumerate(s.redis.tasks):
        if t.state != DISPATCHED:
            continue
        flying = any(d and d.task == at and d.fence == t.fence for d in s.pollers) or any(
            (p.inc == t.holder and p.phase != DOWN and any(d.task == at and d.fence == t.fence for d in p.inbox))
            or any(e.task == at and e.fence == t.fence for e in p.execs)
            for p in s.procs
        )
        if not flying or fault(s, v, "late_record"):
            d = Draft(s.redis, v)
            d.give_back(at, crashed=False)
            cost = 1 if flying else 0
            yield Step(f"t{at} was not started in time", not cost, s._replace(redis=d.done(), faults=s.faults - cost))


def read(s: State, v: Variant) -> Iterator[Step]:
    """A worker reads its next record and starts the task, or hands it back when it is leaving."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN or p.call or not p.inbox:
            continue
        record, rest = p.inbox[0], p.inbox[1:]
        d = Draft(s.redis, v)
        if p.phase == LEAVING:
            d.release(p.inc, record.task, record.fence)
            yield Step(
                f"W{p.inc} hands t{record.task} back",
                True,
                with_process(s, at, p._replace(inbox=rest), d.done()),
            )
            continue
        if v.rules.records_deduplicated and any((e.task, e.fence) == (record.task, record.fence) for e in p.execs):
            yield Step(
                f"W{p.inc} drops a record of t{record.task}",
                True,
                with_process(s, at, p._replace(inbox=rest)),
            )
            continue
        if len(p.execs) >= v.slots:
            continue
        yield from start(s, v, at, p._replace(inbox=rest), record.task, record.fence)


def start(s: State, v: Variant, at: int, p: Process, task: int, fence: int) -> Iterator[Step]:
    """The start of one task: it works, or its reply is lost."""
    d = Draft(s.redis, v)
    label = f"W{p.inc} starts t{task}"
    try:
        code = d.start(p.inc, task, fence)
    except Violation as broken:
        broken.label = label
        raise
    begun = (runs(task, fence, d.tasks[task].crashes, v),) if code else ()
    after = p._replace(execs=tuple(sorted((*p.execs, *begun))))
    yield Step(f"{label} -> {('refused', 'runs', 'runs already')[code]}", True, with_process(s, at, after, d.done()))
    if fault(s, v, "reply"):
        asks = p._replace(execs=tuple(sorted((*p.execs, Execution(task, fence, STARTING)))))
        yield Step(f"{label}, the reply is lost", False, with_process(s, at, asks, d.done(), 1))


def repeat_start(s: State, v: Variant) -> Iterator[Step]:
    """A worker that got no answer to a start repeats it."""
    for at, p in enumerate(s.procs):
        for n, e in enumerate(p.execs):
            if p.phase != DOWN and not p.call and e.stage == STARTING:
                yield from start(s, v, at, p._replace(execs=(*p.execs[:n], *p.execs[n + 1 :])), e.task, e.fence)


def settle(s: State, v: Variant) -> Iterator[Step]:
    """A handler ends and its worker settles; without an answer it keeps the settlement and repeats it."""
    for at, p in enumerate(s.procs):
        if p.phase == DOWN or p.call:
            continue
        for n, e in enumerate(p.execs):
            rest = (*p.execs[:n], *p.execs[n + 1 :])
            for kind, crashed in outcomes(e, v):
                d = Draft(s.redis, v)
                label = f"W{p.inc} settles t{e.task} ({kind})"
                try:
                    answer = d.settle(p.inc, e, kind, crashed)
                except Violation as broken:
                    broken.label = label
                    raise
                yield Step(f"{label} -> {answer}", True, with_process(s, at, p._replace(execs=rest), d.done()))
                if fault(s, v, "reply") and e.stage != kind:
                    keeps = p._replace(execs=tuple(sorted((*rest, e._replace(stage=kind)))))
                    yield Step(f"{label}, the reply is lost", False, with_process(s, at, keeps, d.done(), 1))


KAFKA = (dispatch, publish, deadline, read, repeat_start, settle)
