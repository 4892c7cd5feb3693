"""The demo's ledger: how each task ended, checked against how it should, and shown per lane."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec
from rich.table import Table

from laneway.model.states import State
from laneway.ports.store import TaskView
from laneway.roles.demo_files import WorkFile


class Ledger:
    """Collects the ends of the demo's tasks. ``duplicated`` counts tasks that were seen to end more than once."""

    def __init__(self) -> None:
        self.submitted = 0
        self.unfinished = 0
        self.duplicated = 0
        self.views: dict[bytes, TaskView] = {}

    def add(self, view: TaskView) -> None:
        """Takes one task in its final state."""
        if view.id in self.views:
            self.duplicated += 1
        self.views[view.id] = view

    def count(self, state: State) -> int:
        """How many ended so."""
        return sum(view.state is state for view in self.views.values())

    @property
    def retried(self) -> int:
        """How many succeeded at a later attempt."""
        return sum(view.state is State.SUCCEEDED and _attempts(view) > 1 for view in self.views.values())

    def check_burst(self, total: int, always: int, once: int) -> list[str]:
        """What is wrong with the burst's outcome; nothing, if all is well."""
        views = [view for view in self.views.values() if view.envelope.body.type == "burst"]
        dead = [view for view in views if view.state is State.DEAD]
        found = {
            "ended": len(views),
            "succeeded": sum(view.state is State.SUCCEEDED for view in views),
            "succeeded at the second attempt": sum(
                view.state is State.SUCCEEDED and _attempts(view) == 2 for view in views
            ),
            "dead": len(dead),
            "dead with an error of each attempt": sum(len(view.errors) == _attempts(view) == 3 for view in dead),
        }
        right = dict(zip(found, (total, total - always, once, always, always), strict=True))
        return [f"burst: {name} {found[name]}, not {n}" for name, n in right.items() if found[name] != n]

    def check_files(self, files: list[WorkFile]) -> list[str]:
        """Which results differ from those of a plain loop over the files."""
        results: dict[tuple[str, str], Any] = {}
        for view in self.views.values():
            if view.result is not None:
                arguments = msgspec.msgpack.decode(view.envelope.body.payload)
                if "path" in arguments:
                    results[view.envelope.body.type, arguments["path"]] = msgspec.msgpack.decode(view.result)
        wrong = []
        for file in files:
            got, want = results.get((file.task, str(file.path))), file.expected()
            if got != want:
                wrong.append(f"{file.task} of {file.path.name}: {got}, not {want}")
        return wrong

    def summary(self, seconds: float) -> dict[str, object]:
        """The last line's object."""
        return {
            "submitted": self.submitted,
            "succeeded": self.count(State.SUCCEEDED),
            "retried": self.retried,
            "dead": self.count(State.DEAD),
            "lost": self.submitted - len(self.views),
            "duplicated": self.duplicated,
            "seconds": round(seconds, 3),
        }


def _attempts(view: TaskView) -> int:
    return view.record.attempts if view.record else 0


def lane_table(ledger: Ledger, names: dict[int, str]) -> Table:
    """A row per lane. Waits are from submission to start, of tasks with one attempt; runs are the last attempts."""
    table = Table(title="by lane (times in ms)", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("lane")
    for heading in ("submitted", "succeeded", "retried", "dead", "wait p50", "wait p99", "run p50", "run p99"):
        table.add_column(heading, justify="right")
    lanes: dict[str, list[TaskView]] = defaultdict(list)
    for view in ledger.views.values():
        lanes[names.get(view.envelope.lane, str(view.envelope.lane))].append(view)
    ranks = {name: rank for rank, name in enumerate(names.values())}
    for name, views in sorted(lanes.items(), key=lambda item: ranks.get(item[0], len(ranks))):
        states = Counter(view.state for view in views)
        retried = sum(view.state is State.SUCCEEDED and _attempts(view) > 1 for view in views)
        records = [
            (view.envelope.submitted_ms, view.record) for view in views if view.record and view.record.started_ms
        ]
        waits = sorted(record.started_ms - submitted for submitted, record in records if record.attempts == 1)
        runs = sorted(record.since_ms - record.started_ms for _, record in records)
        figures = [f"{_at(values, share)}" for values in (waits, runs) for share in (0.5, 0.99)]
        table.add_row(
            name, str(len(views)), str(states[State.SUCCEEDED]), str(retried), str(states[State.DEAD]), *figures
        )
    return table


def _at(values: list[int], share: float) -> int:
    return values[int(len(values) * share)] if values else 0
