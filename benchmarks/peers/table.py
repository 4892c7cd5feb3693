"""The table of figures, one row a system, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.figures import Spread, number, spread_text
from benchmarks.peers.run import Outcome
from benchmarks.peers.settings import Sizes
from benchmarks.peers.system import System


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a workload; ``best`` is "most" or "least"."""

    workload: str
    figure: str
    title: str
    best: str = "most"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns that belong together, and what they are."""

    title: str
    says: Callable[[Sizes], str]
    columns: tuple[Column, ...]


TABLES = (
    Table(
        "Enqueue",
        lambda s: (
            f"{s.enqueue:,} no-op tasks with 100 bytes of arguments by one producer, no worker; tasks per second. "
            "CPU: microseconds per task in bulk, of producer, Redis and what runs beside them."
        ),
        (
            Column("enqueue", "bulk_per_s", "bulk, tasks/s"),
            Column("enqueue", "one_per_s", "one at a time, tasks/s"),
            Column("enqueue", "bulk_cpu_us", "CPU in bulk, µs/task", "least"),
        ),
    ),
    Table(
        "Drain",
        lambda s: (
            f"{s.drain:,} no-op tasks that are queued, from the first start to the last settlement. CPU: "
            "microseconds per task of workers, Redis, pollers and Kafka; of that the workers'."
        ),
        (
            Column("drain_one", "per_s", "one process, tasks/s"),
            Column("drain_all", "per_s", "all cores, tasks/s"),
            Column("drain_one", "cpu_us", "CPU, one process, µs/task", "least"),
            Column("drain_one", "worker_us", "of that the worker, µs/task", "least"),
        ),
    ),
    Table(
        "Latency",
        lambda s: (
            f"From just before the submission to the first line of the handler: {s.idle} tasks, one each 20 ms; "
            f"and for {s.load_s:g} s at half of the system's own drain rate with one process, at most "
            f"{s.load_most:,.0f}/s."
        ),
        (
            Column("latency", "idle_p50_ms", "idle p50, ms", "least"),
            Column("latency", "idle_p99_ms", "idle p99, ms", "least"),
            Column("latency", "half_p50_ms", "half load p50, ms", "least"),
            Column("latency", "half_p99_ms", "half load p99, ms", "least"),
            Column("latency", "rate", "at, tasks/s"),
        ),
    ),
    Table(
        "Order",
        lambda s: (
            f"Urgent: {s.urgent} urgent tasks, one each 61 ms, behind {s.backlog:,} tasks of 5 ms on 10 slots. "
            f"Flood: nine tenants with {s.polite_rate:g} tasks of 5 ms per second together, on 10 slots, first alone, "
            f"then with {s.flood:,} tasks of a tenth tenant queued."
        ),
        (
            Column("urgent", "p50_ms", "urgent p50, ms", "least"),
            Column("urgent", "p99_ms", "urgent p99, ms", "least"),
            Column("flood", "alone_p99_ms", "nine alone p99, ms", "least"),
            Column("flood", "flooded_p99_ms", "nine in the flood p99, ms", "least"),
        ),
    ),
    Table(
        "Recovery",
        lambda s: (
            f"A worker is killed (SIGKILL, with all its processes) while {s.held} tasks run in it and a second "
            f"worker is at rest: seconds until all have begun again, tasks not begun again within {s.recovery_s:g} s, "
            "tasks that ran to their end more than once. A no-op task comes each second meanwhile."
        ),
        (
            Column("recovery", "seconds", "all run again, s", "least"),
            Column("recovery", "not_back", "not within the limit", "least"),
            Column("recovery", "ended_twice", "ended twice", "least"),
        ),
    ),
    Table(
        "Depth",
        lambda s: (
            f"{s.depth:,} queued tasks, or as many as could be queued within {s.fill_s:g} s: growth of Redis's "
            "memory per task, and starts per second of one worker process then, over those when "
            f"{s.drain:,} are queued. Measured once."
        ),
        (
            Column("depth", "bytes_per_task", "bytes/task", "least"),
            Column("depth", "queued", "queued"),
            Column("depth", "ratio", "drain rate over the shallow one"),
        ),
    ),
)

#: Columns that say how something was done, or where all should be alike: nobody is best in them.
NO_CONTEST = frozenset({"rate", "queued", "worker_us", "alone_p99_ms", "not_back", "ended_twice"})


def samples(outcome: Outcome, column: Column) -> list[float]:
    """The column's samples of one system; ``depth.ratio`` is made of two workloads."""
    if column.figure == "ratio":
        deep, shallow = outcome.samples("depth", "starts_per_s"), outcome.median("drain_one", "starts_per_s")
        return [each / shallow for each in deep] if shallow else []
    return outcome.samples(column.workload, column.figure)


def cell(system: System, outcome: Outcome, column: Column, notes: list[str]) -> str:
    """Median with range; or why there is none, as a note below the table when it is long."""
    if column.workload in system.cannot:
        return f"no: {system.cannot[column.workload]}"
    if column.workload in outcome.failures:
        text = f"{system.title}, {column.workload}: {' '.join(outcome.failures[column.workload].split())[:300]}"
        if text not in notes:
            notes.append(text)
        return f"failed [{notes.index(text) + 1}]"
    found = samples(outcome, column)
    if not found:
        return "not within the limit" if column.figure == "seconds" and column.workload in outcome.figures else "-"
    return spread_text(Spread.of(found))


def best_value(values: Sequence[float], column: Column) -> float | None:
    """The best of medians, or None where it is no contest."""
    if not values or column.figure in NO_CONTEST:
        return None
    return max(values) if column.best == "most" else min(values)


def render(table: Table, systems: Sequence[System], outcomes: dict[str, Outcome], sizes: Sizes) -> list[str]:
    """The table as lines of Markdown; the best median of each column is bold."""
    notes: list[str] = []
    lines = [f"### {table.title}", "", table.says(sizes), ""]
    lines.append("| system | " + " | ".join(column.title for column in table.columns) + " |")
    lines.append("|---|" + "---:|" * len(table.columns))
    best = {}
    for column in table.columns:
        medians = [Spread.of(found).median for system in systems if (found := samples(outcomes[system.name], column))]
        best[column] = best_value(medians, column)
    for system in systems:
        cells = []
        for column in table.columns:
            text = cell(system, outcomes[system.name], column, notes)
            found = samples(outcomes[system.name], column)
            if found and best[column] is not None and number(Spread.of(found).median) == number(best[column] or 0):
                text = f"**{text}**"
            cells.append(text)
        lines.append(f"| {system.title} | " + " | ".join(cells) + " |")
    for i, note in enumerate(notes, 1):
        lines += ["", f"[{i}] {note.replace('|', '/').replace('<', '(').replace('>', ')')}"]
    return [*lines, ""]
