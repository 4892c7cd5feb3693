"""How much of each workload is done: the full run, and a quick one that shows only that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts, times in seconds, rates per second."""

    rounds: int = 3
    """Of each workload but those that say otherwise; medians are of these."""
    enqueue: int = 20_000
    """Tasks enqueued in bulk, and as many one at a time."""
    drain: int = 20_000
    """Tasks drained by one worker process, and as many by all cores."""
    idle: int = 300
    """Single tasks, one each 20 ms."""
    load_s: float = 10.0
    """Length of the steady load."""
    load_most: float = 2_000.0
    """The steady load is half of the system's own drain rate, but at most this."""
    backlog: int = 10_000
    """Tasks of 5 ms that wait when urgent ones come."""
    urgent: int = 50
    """Urgent tasks."""
    flood: int = 9_000
    """Tasks of 5 ms that one tenant enqueues at once."""
    polite: int = 1_000
    """Tasks of 5 ms of nine other tenants together, at ``polite_rate``; half as many before the flood."""
    polite_rate: float = 250.0
    held: int = 50
    """Tasks that run when their worker is killed."""
    recovery_s: float = 60.0
    """How long a killed worker's tasks are waited for."""
    depth: int = 1_000_000
    """Tasks queued."""
    fill_s: float = 20.0
    """How long is spent on queueing them; a slow client gets less deep, and the table says how deep."""
    begin_s: float = 30.0
    """How long is waited for tasks to begin that should begin soon."""


FULL = Sizes()
QUICK = Sizes(
    rounds=1, enqueue=2_000, drain=2_000, idle=50, load_s=2.0, backlog=2_000, urgent=10, flood=900, polite=100,
    recovery_s=15.0, depth=100_000, fill_s=5.0, begin_s=15.0,
)  # fmt: skip
#: Smaller still: for the test that runs the whole path.
TINY = Sizes(
    rounds=1, enqueue=200, drain=300, idle=10, load_s=0.5, load_most=100.0, backlog=300, urgent=3, flood=90, polite=20,
    held=3, recovery_s=20.0, depth=1_000, fill_s=5.0, begin_s=20.0,
)  # fmt: skip

#: Slots of the worker in the workloads where all must have the same: urgent and flood, recovery.
SMALL_SLOTS = 10
#: Where tasks that warm workers up have their numbers: behind those that are measured.
WARM_UP = 4_096
