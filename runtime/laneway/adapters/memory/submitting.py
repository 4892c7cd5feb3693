"""New tasks, each taken whole or refused whole, as in ``lua/submit.lua``."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.memory import limits, order
from laneway.adapters.memory.head import STAMP, Head, read_head
from laneway.adapters.memory.outbox import flush_events
from laneway.adapters.memory.tables import F_IDEM, F_STARTBY, TEND_CAP, Step, Task
from laneway.kit.ids import ID_BYTES
from laneway.model.config import LaneConfig
from laneway.model.envelope import AT, DELAY
from laneway.model.states import State
from laneway.ports.store import Submitted

_BACKLOG_RETRY_MS = 1000


def submit(step: Step, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
    """Submits (id, envelope) pairs."""
    t = step.t
    depth = len(t.scheduled) + sum(len(ids) for lanes in t.parked.values() for ids in lanes.values())
    depth += sum(len(lane) for lane in t.lanes.values())
    backlog = t.outbox_bytes >= step.conf.outbox_soft
    results: list[Submitted] = []
    accepted = 0
    for id, sent in batch:
        refused = _refusal(step, id, sent, depth + accepted, backlog)
        if refused is None:
            accepted += 1
            head = read_head(sent)
            assert head is not None
            _take(step, id, sent, head)
        results.append(refused or Submitted("accepted", id))
    if accepted:
        flush_events(step)
        step.wake(step.ready)
        if step.news_to_tend:
            t.tend.add(1, TEND_CAP)
    return results


def _refusal(step: Step, id: bytes, sent: bytes, depth: int, backlog: bool) -> Submitted | None:
    t = step.t
    head = read_head(sent) if len(id) == ID_BYTES else None
    if head is None:
        return Submitted("malformed", id)
    before = t.tasks.get(id)
    if before is not None:
        return Submitted("duplicate" if _same(before, sent, head) else "conflict", id)
    lane = step.lanes.get(head.lane)
    if lane is None or lane.gone:
        return Submitted("lane", id, 0, str(head.lane))
    first = t.idem.get(head.idem_key) if head.idem_key is not None else None
    if head.idem_key is not None and t.idem_ends.get(head.idem_key, step.now + 1) <= step.now:
        first = None  # its time is over, though no sweep has been here
    if first is not None:
        return Submitted("duplicate" if first[1] == head.idem_print else "conflict", first[0])
    if 0 < step.conf.max_depth <= depth:
        return Submitted("depth", id, 0, str(step.conf.max_depth))
    if backlog:
        return Submitted("backlog", id, _BACKLOG_RETRY_MS)
    wait, scope = _admit(step, head, lane)
    return Submitted("rate", id, wait, scope) if wait > 0 else None


def _same(before: Task, sent: bytes, head: Head) -> bool:
    """Whether it is the same task, but for what the configuration decides (its lane's number), which may change."""
    return before.head.flags == head.flags and before.stored[STAMP + before.head.tail :] == sent[head.tail :]


def _admit(step: Step, head: Head, lane: LaneConfig) -> tuple[int, str]:
    """Takes a token from every bucket the task must pass, or says which one it waits for longest."""
    tenant = step.tenant(head.tenant)
    buckets = [
        (("q", ""), step.conf.rate, step.conf.burst, "queue"),
        (("l", str(head.lane)), lane.rate, lane.burst, "lane"),
        (("t", head.tenant), tenant.rate, tenant.burst, "tenant"),
    ]
    limited = [bucket for bucket in buckets if bucket[1] > 0]
    longest, scope = 0, ""
    for field, rate, burst, name in limited:
        wait = limits.wait_ms(limits.tokens(step, field, rate, burst), rate)
        if wait > longest:
            longest, scope = wait, name
    if not longest:
        for field, rate, burst, _ in limited:
            limits.take(step, field, rate, burst)
    return longest, scope


def _take(step: Step, id: bytes, sent: bytes, head: Head) -> None:
    t = step.t
    head.submitted_ms = step.now
    flags = F_IDEM if head.idem_key is not None else 0
    stored = step.now.to_bytes(STAMP, "big") + sent
    task = Task(id, stored, head, State.QUEUED, flags, len(stored), since=step.now)
    t.tasks[id] = task
    t.submitted += 1
    if head.idem_key is not None:
        t.idem[head.idem_key] = (id, head.idem_print)
        t.idem_ends.pop(head.idem_key, None)
    if head.start_timeout_ms > 0:
        task.flags |= F_STARTBY
        t.startby.add(id, step.now + head.start_timeout_ms)
    due = step.now + head.when if head.flags & DELAY else head.when if head.flags & AT else 0
    if due > step.now:
        task.state = State.SCHEDULED
        t.scheduled.add(id, due)
        step.news_to_tend = True
    else:
        task.score = order.charge(step, head.lane, head.priority, head.tenant)
        order.place(step, task)
    step.emit("submitted", task, 0)
