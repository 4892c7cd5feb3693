"""The workloads of one round: each takes a fresh session and returns figures, plain numbers by name.

A system that ran a task twice or not at all has no figures: Failed says how many.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from benchmarks.peers.processes import Failed, Running
from benchmarks.peers.session import Session
from benchmarks.peers.settings import SMALL_SLOTS, WARM_UP, Sizes

from laneway.bench.figures import percentile

Figures = dict[str, float]
Open = Callable[[str, int], AbstractContextManager[Session]]
"""Opens a session for a plan and so many tasks."""

_STALL_S = 30.0
#: Drain rates by starts leave out the first tasks, which meet cold code.
_COLD = 0.1


def enqueue(open_session: Open, sizes: Sizes) -> Figures:
    """One producer and no worker: tasks one at a time, then as many in bulk. All must be in Redis afterwards, which
    the drain workloads prove by running what they enqueue."""
    count = sizes.enqueue
    with open_session("enqueue", 2 * count + 2_000) as session:
        session.producer.order("one", "noop", 2 * count, 500, ["normal"])
        session.producer.order("bulk", "noop", 2 * count + 500, 1_500, ["normal"])
        one = session.producer.order("one", "noop", 0, count, ["normal"])
        before = session.cpu()
        bulk = session.producer.order("bulk", "noop", count, count, ["normal"])
        cpu = session.cpu_us(before, count)
    producer = bulk["cpu"] * 1e6 / count
    return {
        "one_per_s": count / one["seconds"],
        "bulk_per_s": count / bulk["seconds"],
        "bulk_cpu_us": sum(used for role, used in cpu.items() if role != "producer") + producer,
        "producer_us": producer,
    }


def drain(open_session: Open, count: int, processes: int) -> Figures:
    """Warm workers stand still (SIGSTOP) while the queue is filled, and are let go together."""
    with open_session("drain", count) as session:
        workers = session.start_workers(processes)
        _fill_while_still(session, workers, "noop", 0, count, ["normal"], resume=False)
        before = session.cpu()
        _each(workers, signal.SIGCONT)
        settled = _all_settled(session, 0, count)
        cpu = session.cpu_us(before, count)
        starts = session.marks.starts(0, count)
        _exactly_once(session, 0, count)
    first = min(starts)
    return {
        "per_s": count * 1e9 / (max(settled, max(starts)) - first),
        "starts_per_s": _start_rate(starts),
        "cpu_us": sum(used for role, used in cpu.items() if role != "producer"),
        "worker_us": cpu["worker"],
        "redis_us": cpu["redis"],
    }


def latency(open_session: Open, sizes: Sizes, drained_per_s: float | None) -> Figures:
    """Submit to start of single tasks, one each 20 ms; then at half of what the system can drain."""
    rate = min(sizes.load_most, (drained_per_s or 2 * sizes.load_most) / 2)
    loaded = int(rate * sizes.load_s)
    with open_session("latency", sizes.idle + loaded) as session:
        session.start_workers(1)
        sent = session.producer.order("paced", "noop", 0, sizes.idle, ["normal"], rate=50.0)["sent"]
        idle = _waits(session, 0, sent, _STALL_S)
        answer = session.producer.order("paced", "noop", sizes.idle, loaded, ["normal"], rate=rate)
        half = _waits(session, sizes.idle, answer["sent"], _STALL_S)
        _exactly_once(session, 0, sizes.idle + loaded)
    return {
        "idle_p50_ms": percentile(idle, 50) / 1e6,
        "idle_p99_ms": percentile(idle, 99) / 1e6,
        "half_p50_ms": percentile(half, 50) / 1e6,
        "half_p99_ms": percentile(half, 99) / 1e6,
        "rate": rate,
        "late_p99_ms": percentile(answer["late"], 99) / 1e6,
    }


def urgent(open_session: Open, sizes: Sizes) -> Figures:
    """Urgent tasks, one each 61 ms, while a backlog of 5 ms tasks keeps all slots of one worker busy."""
    backlog, count = sizes.backlog, sizes.urgent
    with open_session("urgent", backlog + count) as session:
        workers = session.start_workers(_small(session), SMALL_SLOTS)
        _fill_while_still(session, workers, "nap", 0, backlog, ["normal"])
        some = min(100, backlog // 4)
        session.wait(
            lambda: backlog - session.marks.missing(0, backlog) >= some, time.monotonic() + _STALL_S, "backlog"
        )
        # 61 and 5 have no common divisor: the urgent ones meet all phases of the tasks that run.
        sent = session.producer.order("paced", "nap", backlog, count, ["urgent"], rate=1 / 0.061)["sent"]
        waits = _waits(session, backlog, sent, sizes.begin_s)
        left = session.marks.missing(0, backlog)
        _at_most_once(session, 0, backlog + count)
    if not left:
        raise Failed("the backlog had ended before the last urgent task began: the figure would say nothing")
    return {"p50_ms": percentile(waits, 50) / 1e6, "p99_ms": percentile(waits, 99) / 1e6}


def flood(open_session: Open, sizes: Sizes) -> Figures:
    """Nine tenants at a steady rate, alone; then the same while a tenth has nine tenths of all tasks queued."""
    alone, many, polite = sizes.polite // 2, sizes.flood, sizes.polite
    nine = [f"tenant-{n}" for n in range(1, 10)]
    with open_session("flood", alone + many + polite) as session:
        workers = session.start_workers(_small(session), SMALL_SLOTS)
        sent = session.producer.order("paced", "nap", 0, alone, nine, rate=sizes.polite_rate)["sent"]
        before = _waits(session, 0, sent, _STALL_S)
        _fill_while_still(session, workers, "nap", alone, many, ["tenant-0"])
        first = alone + many
        sent = session.producer.order("paced", "nap", first, polite, nine, rate=sizes.polite_rate)["sent"]
        waits = _waits(session, first, sent, 2 * sizes.begin_s)
        _at_most_once(session, 0, first + polite)
    return {
        "alone_p99_ms": percentile(before, 99) / 1e6,
        "flooded_p50_ms": percentile(waits, 50) / 1e6,
        "flooded_p99_ms": percentile(waits, 99) / 1e6,
    }


def depth(open_session: Open, sizes: Sizes) -> Figures:
    """Fills the queue, at most for ``fill_s``; then one worker process takes from its depth."""
    chunk = min(10_000, sizes.depth)
    with open_session("depth", sizes.depth) as session:
        session.producer.order("bulk", "noop", session.tasks, 100, ["normal"])
        empty = _memory(session)
        queued, began = 0, time.monotonic()
        while queued < sizes.depth and time.monotonic() - began < sizes.fill_s:
            part = min(chunk, sizes.depth - queued)
            session.producer.order("bulk", "noop", queued, part, ["normal"])
            queued += part
        bytes_per_task = (_memory(session) - empty) / queued
        session.start_workers(1, ready="started")
        wanted = min(round(sizes.drain * session.system.drain_share), queued // 2)
        session.wait(
            lambda: queued - session.marks.missing(0, queued) >= wanted, time.monotonic() + _STALL_S, "drain at depth"
        )
        starts = sorted(at for at in session.marks.starts(0, queued) if at)[:wanted]
    return {"bytes_per_task": bytes_per_task, "queued": float(queued), "starts_per_s": _start_rate(starts)}


def recovery(open_session: Open, sizes: Sizes) -> Figures:
    """A worker with all its slots taken is killed while a second one is at rest. From then on there is a no-op task a
    second, because some systems look for what was left behind only when they get something."""
    with open_session("recovery", sizes.held) as session:
        processes = _small(session)
        held = processes if session.system.one_slot else sizes.held
        (first,) = session.start_workers(processes, sizes.held, ready="rest")
        session.producer.order("bulk", "hold", 0, held, ["normal"])
        session.wait(lambda: not session.marks.missing(0, held), time.monotonic() + _STALL_S, "tasks that are held")
        before = session.marks.starts(0, held)
        session.start_workers(processes, sizes.held, ready="rest")
        killed = frozenset(file.pid for file in session.marks.files() if any(file.begun[:held]))
        at = time.monotonic_ns()
        first.kill()
        session.workers.remove(first)
        deadline, trickle, trickled = time.monotonic() + sizes.recovery_s, time.monotonic() + 1.0, 0
        while 0 in (again := session.marks.starts(0, held, but=killed)) and time.monotonic() < deadline:
            session.check()
            if time.monotonic() > trickle and trickled < WARM_UP:
                session.producer.order("one", "noop", session.tasks + trickled, 1, ["normal"])
                trickle, trickled = trickle + 1.0, trickled + 1
            time.sleep(0.02)
        session.marks.release()
        back = [begun for begun in again if begun]
        if back:
            session.wait(
                lambda: sum(1 for n in session.marks.times_ended(0, held) if n) >= len(back),
                time.monotonic() + _STALL_S, "end of the tasks that ran again",
            )  # fmt: skip
            time.sleep(0.5)  # a second run of one that has ended would be seen now
        ended = session.marks.times_ended(0, held)
        begun = session.marks.times_begun(0, held)
    assert all(before)
    figures = {
        "held": float(held),
        "not_back": float(held - len(back)),
        "ended_twice": float(sum(n > 1 for n in ended)),
        "began_more_than_twice": float(sum(n > 2 for n in begun)),
    }
    if len(back) == held:
        figures["seconds"] = (max(back) - at) / 1e9
    return figures


# ------------------------------------------------------------------------------------------------- parts


def _small(session: Session) -> int:
    """Worker processes where some slots are wanted: one, or of a system with a slot to a process one to a core."""
    return (os.cpu_count() or 1) if session.system.one_slot else 1


def _each(workers: Sequence[Running], number: signal.Signals) -> None:
    for worker in workers:
        worker.signal(number)


def _fill_while_still(
    session: Session, workers: Sequence[Running], kind: str, first: int, count: int, to: Sequence[str], *,
    resume: bool = True,
) -> None:  # fmt: skip
    _each(workers, signal.SIGSTOP)
    session.producer.order("bulk", kind, first, count, to)
    if resume:
        _each(workers, signal.SIGCONT)


def _all_settled(session: Session, first: int, count: int) -> int:
    """Waits while tasks begin; then until Redis has no unsettled task. Returns when that was (monotonic ns)."""
    left, moved = count, time.monotonic()
    while now_left := session.marks.missing(first, first + count):
        if now_left != left:
            left, moved = now_left, time.monotonic()
        elif time.monotonic() - moved > _STALL_S:
            session.check()
            raise Failed(f"{now_left} of {count} tasks had not begun when none did for {_STALL_S:g} s")
        time.sleep(0.002)
    session.wait(lambda: session.system.pending(session) <= 0, time.monotonic() + _STALL_S, "settling")
    return time.monotonic_ns()


def _waits(session: Session, first: int, sent: Sequence[int], seconds: float) -> list[int]:
    """How long each task waited for its handler (ns).

    Raises:
        Failed: some have not begun in so many seconds after the last was sent.
    """
    end = first + len(sent)
    deadline = time.monotonic() + seconds
    while left := session.marks.missing(first, end):
        session.check()
        if time.monotonic() > deadline:
            raise Failed(f"{left} of {len(sent)} had not begun {seconds:g} s after the last was sent")
        time.sleep(0.005)
    return [begun - at for begun, at in zip(session.marks.starts(first, end), sent, strict=True)]


def _exactly_once(session: Session, first: int, end: int) -> None:
    times = session.marks.times_begun(first, end)
    wrong = sum(n != 1 for n in times)
    if wrong:
        raise Failed(f"{wrong} of {end - first} tasks did not run exactly once (one ran {max(times)} times)")


def _at_most_once(session: Session, first: int, end: int) -> None:
    twice = sum(n > 1 for n in session.marks.times_begun(first, end))
    if twice:
        raise Failed(f"{twice} tasks ran more than once")


def _start_rate(starts: Sequence[int]) -> float:
    """Starts per second, the first tenth left out."""
    ordered = sorted(starts)
    warm = ordered[int(len(ordered) * _COLD) :]
    return (len(warm) - 1) * 1e9 / max(1, warm[-1] - warm[0])


def _memory(session: Session) -> int:
    """Bytes that Redis uses for data, when what follows submissions in the background has been done. Buffers of clients
    and of the append-only file come and go, and are not counted."""
    last = -1
    while True:
        found = session.redis.info("memory")
        used = int(found["used_memory"]) - int(found["mem_clients_normal"]) - int(found["mem_aof_buffer"])
        if abs(used - last) < 65_536:
            return used
        last = used
        time.sleep(0.5)
