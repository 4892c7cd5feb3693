"""What was acknowledged, what ran, and how it ended: and that the three agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from laneway.kit.ids import id_bytes, id_text
from laneway.model.states import State
from laneway.ports.store import QueueStats, TaskView


@dataclass(frozen=True, slots=True)
class Run:
    """One line of a handler: ``what`` is start, end or asked (to stop); ``at`` is monotonic time."""

    what: str
    id: bytes
    attempt: int
    fence: int
    pid: int
    at: float


def read_runs(folder: Path) -> list[Run]:
    """All that handlers wrote so far, by time."""
    runs = []
    for path in folder.glob("*.runs"):
        for line in path.read_text().splitlines():
            what, task, attempt, fence, pid, at = line.split()
            runs.append(Run(what, id_bytes(task), int(attempt), int(fence), int(pid), float(at)))
    return sorted(runs, key=lambda run: run.at)


def started(runs: Iterable[Run]) -> dict[bytes, list[Run]]:
    """Per task, its starts in order."""
    found: dict[bytes, list[Run]] = defaultdict(list)
    for run in runs:
        if run.what == "start":
            found[run.id].append(run)
    return found


def check_ledger(
    accepted: set[bytes],
    views: dict[bytes, TaskView | None],
    runs: list[Run],
    ends: dict[bytes, list[str]],
    stats: QueueStats,
) -> None:
    """The contract, exactly. ``ends`` are the final events of each task (None of them is known twice: an entry of the
    outbox that was published twice counts once).

    Every acknowledged task is there and in one final state; nothing else is there; each was settled for good once,
    in the state that it has; no fence ran twice; what succeeded ran to its end under the fence of its record; no
    slot, no credit and no mark is left over.
    """
    lost = [id_text(id_) for id_ in accepted if views.get(id_) is None]
    assert not lost, f"{len(lost)} acknowledged tasks are gone: {lost[:5]}"
    final = {id_: view.state for id_, view in views.items() if view is not None}
    open_ = Counter(state.label for state in final.values() if not state.final)
    assert not open_, f"tasks that have not ended: {dict(open_)}"

    counts = dict(stats.counts)
    submitted, purged = counts.pop("submitted"), counts.pop("purged")
    assert submitted == len(accepted) and purged == 0, f"{submitted} tasks in the queue for {len(accepted)} accepted"
    assert stats.drift == 0, f"drift {stats.drift}: {stats.counts}"
    in_sets = {name: n for name, n in counts.items() if n}
    in_records = dict(Counter(state.label for state in final.values()))
    assert in_sets == in_records, f"sets say {in_sets}, records say {in_records}"
    assert not any(worker.held for worker in stats.workers), "a slot is held though nothing runs"

    twice = {id_text(id_): kinds for id_, kinds in ends.items() if len(kinds) > 1}
    assert not twice, f"{len(twice)} tasks were settled for good more than once: {dict(list(twice.items())[:5])}"
    told = {id_: kinds[0] for id_, kinds in ends.items()}
    untold = [
        (id_text(id_), state.label, told.get(id_)) for id_, state in final.items() if told.get(id_) != state.label
    ]
    assert not untold, f"{len(untold)} tasks whose events say something else: {untold[:5]}"

    fences = Counter((run.id, run.fence) for run in runs if run.what == "start")
    reused = {id_text(id_): fence for (id_, fence), n in fences.items() if n > 1}
    assert not reused, f"{len(reused)} tasks ran twice under one fence: {dict(list(reused.items())[:5])}"
    ended = {(run.id, run.fence) for run in runs if run.what == "end"}
    unproven = [
        id_text(id_)
        for id_, view in views.items()
        if view is not None
        and view.state == State.SUCCEEDED
        and (view.record is None or (id_, view.record.fence) not in ended)
    ]
    assert not unproven, f"{len(unproven)} tasks succeeded, but no handler ended under their fence: {unproven[:5]}"
