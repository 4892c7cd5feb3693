"""The page and its charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.peers.charts import Bar, chart
from benchmarks.peers.figures import Spread
from benchmarks.peers.run import Outcome
from benchmarks.peers.settings import FULL, Sizes
from benchmarks.peers.system import System
from benchmarks.peers.table import TABLES, Column, render, samples

_CHARTS = (
    ("drain-one", "Drain, one worker process", "tasks per second", Column("drain_one", "per_s", "")),
    ("drain-all", "Drain, all cores", "tasks per second", Column("drain_all", "per_s", "")),
    ("enqueue-bulk", "Enqueue in bulk", "tasks per second", Column("enqueue", "bulk_per_s", "")),
    ("idle-p99", "Idle latency, p99", "ms from submission to start", Column("latency", "idle_p99_ms", "", "least")),
    ("half-load-p99", "Latency at half load, p99", "ms from submission to start",
     Column("latency", "half_p99_ms", "", "least")),
    ("urgent-p99", "Urgent behind a backlog, p99", "ms from submission to start",
     Column("urgent", "p99_ms", "", "least")),
    ("flood-p99", "Nine tenants while a tenth floods, p99", "ms from submission to start",
     Column("flood", "flooded_p99_ms", "", "least")),
    ("bytes", "Redis memory per queued task", "bytes", Column("depth", "bytes_per_task", "", "least")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    systems: Sequence[System]
    outcomes: dict[str, Outcome]
    sizes: Sizes
    workloads: Sequence[str]
    machine: dict[str, str]
    seconds: int


def write(report: Report, out: Path, command: str) -> Path:
    """Writes ``benchmarks.md``, the charts and the samples of each round into ``out``; returns the page."""
    charts = out / "benchmarks"
    charts.mkdir(parents=True, exist_ok=True)
    for old in charts.glob("*.svg"):
        old.unlink()
    pictures = []
    for name, title, unit, column in _CHARTS:
        bars = [
            Bar(system.title, Spread.of(found), system.ours)
            for system in report.systems
            if (found := samples(report.outcomes[system.name], column)) and min(found) > 0
        ]
        if bars:
            (charts / f"{name}.svg").write_text(chart(title, unit, bars, better=column.best))
            pictures.append(f"![{title}: {unit}, by system; the figures are in the tables](benchmarks/{name}.svg)")
    raw = {name: asdict(outcome) for name, outcome in report.outcomes.items()}
    raw_text = json.dumps({"machine": report.machine, "sizes": asdict(report.sizes), "systems": raw}, indent=1)
    (charts / "samples.json").write_text(raw_text + "\n")
    page = out / "benchmarks.md"
    page.write_text("\n".join(_page(report, pictures, command)) + "\n")
    return page


def _page(report: Report, pictures: Sequence[str], command: str) -> list[str]:
    sizes, minutes = report.sizes, max(1, round(report.seconds / 60))
    rounds = "of one round" if sizes.rounds == 1 else f"the median of {sizes.rounds} rounds (least to most)"
    lines = ["# Laneway and its peers, measured", "", "This page is written by `make bench-peers`.", ""]
    if replace(sizes, rounds=FULL.rounds) != FULL:
        lines += ["**This was a short run: it shows that everything works, and its figures say nothing.**", ""]
    lines += [
        f"All systems ran the same work on the same machine in one run of {minutes} minutes, "
        f"in an order that rotates; figures are {rounds}. Each workload of "
        "each system had a Redis of its own, with fresh data and the append-only file, and each task had 100 bytes of "
        "arguments and left a mark when it began, by a store into mapped memory. Before a measurement, each worker "
        "process had run some tasks. In the drain, order and latency workloads no task may run twice, and in the drain "
        "and latency workloads each must run; a system of which that is not so has no figure. Laneway ran "
        "with everything that it promises switched on, as users get it; peers as their documentation recommends "
        "for speed, [below](#how-each-was-set-up).", "",
        "Client, Redis, workers and, where there is one, Kafka share the machine. Bold: the best of a column.", "",
        "## Figures", "",
    ]  # fmt: skip
    for table in TABLES:
        if any(column.workload in report.workloads for column in table.columns):
            lines += render(table, report.systems, report.outcomes, sizes)
    if pictures:
        lines += ["## Charts", "", *[line for picture in pictures for line in (picture, "")]]
    return [*lines, *_how(report), *_repeat(report, command)]


def _how(report: Report) -> list[str]:
    lines = ["## How each was set up", ""]
    for system in report.systems:
        versions = ", ".join(f"{name} {version}" for name, version in report.outcomes[system.name].versions.items())
        lines += [f"### {system.title}", "", f"{system.language}; {versions or 'not installed'}.", ""]
        lines += [f"* {setting}" for setting in system.settings]
        lines += [f"* {workload}: {note}" for workload, note in system.notes.items()]
        lines += [f"* {workload}: not measured: {why}" for workload, why in system.cannot.items()]
        lines.append("")
    return lines


def _repeat(report: Report, command: str) -> list[str]:
    lines = ["## The machine, and how to repeat", "", "| what | is |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in report.machine.items()]
    lines += [
        "", f"This run: `{command}`. On a machine that does nothing else, `make bench-peers` repeats it in about 40 "
        "minutes; `--quick` shows in some minutes that all works. It needs redis-server 7 on PATH, Java and the Kafka "
        "jars (`make parts-up` says what lacks), Go and Node; a system that cannot be installed is left out, and the "
        "tables say so. Each adapter is in `benchmarks/peers/systems/`; the samples of each round are in "
        "[samples.json](benchmarks/samples.json).",
    ]  # fmt: skip
    return lines
