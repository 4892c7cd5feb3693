"""After all of it, each acknowledged task is in one final state, and was settled once."""

from __future__ import annotations

from tests.e2e.queues import Queue
from tests.e2e.report import Report

_LEAST = 5_000
_MUST_BE_ZERO = (
    "lost",
    "open",
    "twice",
    "untold",
    "letters_differ",
    "strangers",
    "drift",
    "held",
    "untold_events",
)


def test_every_acknowledged_task_has_ended_once_and_been_told(quickstart: Queue, ledger: Queue, report: Report) -> None:
    found = {}
    for queue in (quickstart, ledger):
        queue.settled(60)
        found[queue.name] = queue.call("ledger", timeout=30, wait=60)
    submitted, final, lost, twice = (
        sum(account[name] for account in found.values()) for name in ("submitted", "final", "lost", "twice")
    )
    report.figure("submitted", submitted)
    report.figure("final", final)
    report.figure("lost", lost)
    report.figure("settled_twice", twice)
    for name, account in found.items():
        report.note(name, account["by_state"])
        wrong = {key: account[key] for key in _MUST_BE_ZERO if account[key]}
        assert not wrong, f"{name}: {wrong}; {account['samples']}"
    assert submitted == final >= _LEAST, f"{submitted} submitted, {final} final"
