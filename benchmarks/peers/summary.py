"""The last line: how Laneway stands against the best of its peers."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.figures import ratio
from benchmarks.peers.report import Report

DIRECT, KAFKA = "laneway-direct", "laneway-kafka"


def summarise(report: Report) -> dict[str, Any]:
    """Ratios are medians of Laneway (direct) over the best peer's: above 1 is better for rates, below 1 for times.
    None where one of the two is missing. ``kafka_drain_per_s`` is the better of one process and all cores.
    ``exact`` says that Laneway did all that was asked, each task once, and lost none to a killed worker."""
    peers = [system for system in report.systems if not system.ours]

    def ours(workload: str, figure: str, name: str = DIRECT) -> float | None:
        return report.outcomes[name].median(workload, figure) if name in report.outcomes else None

    def against(workload: str, figure: str, best: str, language: str = "") -> float | None:
        theirs = [
            found
            for peer in peers
            if language in ("", peer.language)
            and (found := report.outcomes[peer.name].median(workload, figure)) is not None
        ]
        return ratio(ours(workload, figure), theirs, best)

    kafka = [found for name in ("drain_one", "drain_all") if (found := ours(name, "per_s", KAFKA)) is not None]
    bytes_per_task = ours("depth", "bytes_per_task")
    return {
        "drain_all_vs_best_peer": against("drain_all", "per_s", "most"),
        "drain_one_vs_best_python": against("drain_one", "per_s", "most", "Python"),
        "kafka_drain_per_s": round(max(kafka)) if kafka else None,
        "bulk_enqueue_vs_best": against("enqueue", "bulk_per_s", "most"),
        "idle_p99_vs_best": against("latency", "idle_p99_ms", "least"),
        "half_load_p99_vs_best": against("latency", "half_p99_ms", "least"),
        "urgent_p99_vs_best": against("urgent", "p99_ms", "least"),
        "bytes_per_task": round(bytes_per_task) if bytes_per_task is not None else None,
        "exact": _exact(report),
    }


def _exact(report: Report) -> bool:
    for system in report.systems:
        if not system.ours:
            continue
        outcome = report.outcomes[system.name]
        if outcome.failures or any(not outcome.figures.get(name) for name in report.workloads):
            return False
        if any(outcome.samples("recovery", "not_back")):
            return False
    return True
