"""The teller: tells the queue's history how long tasks waited and ran here, every few seconds.

It reads what the worker's metrics have added up anyway, so a task costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable

from laneway.errors import LanewayError, OutcomeUnknown
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.metrics import Timer
from laneway.kit.service import Service
from laneway.kit.task_metrics import QueueTasks
from laneway.ports.history import HistoryStore, LaneTimes

_log = get_logger(__name__)

_EVERY_S = 5.0

Sums = list[float]


class Teller(Service):
    """A round each five seconds, and one at the end."""

    def __init__(self, tasks: QueueTasks, history: HistoryStore, *, health: Health | None = None) -> None:
        super().__init__("teller", health=health, allowed_silence=60.0)
        self._tasks = tasks
        self._history = history
        self._told_waits: dict[str, Sums] = {}
        self._told_runs: dict[str, Sums] = {}

    async def run(self) -> None:
        """Tells until stopped."""
        while await self.pause(_EVERY_S):
            await self.tell()
            self.touch()

    async def on_stop(self) -> None:
        await self.tell()

    async def tell(self) -> None:
        """Tells what has come since the last time. What may have been told is not told again; what surely was not,
        is."""
        waits = {lane: _sums([wait]) for lane, wait in self._tasks.all_waits()}
        by_lane: dict[str, list[Timer]] = {}
        for series in self._tasks.all_series():
            by_lane.setdefault(series.lane, []).append(series.run)
        runs = {lane: _sums(timers) for lane, timers in by_lane.items()}
        times = []
        for lane in sorted(waits.keys() | runs.keys()):
            new = LaneTimes(
                lane,
                _since(waits.get(lane, []), self._told_waits.get(lane)),
                _since(runs.get(lane, []), self._told_runs.get(lane)),
            )
            if new.waits or new.runs:
                times.append(new)
        if not times:
            return
        try:
            await self._history.observe(times)
        except OutcomeUnknown as error:
            _log.warning("some times may be missing from the history", error=str(error))
        except LanewayError as error:
            _log.debug("can't tell the history now; with the next round", error=str(error))
            return
        self._told_waits, self._told_runs = waits, runs


def _sums(timers: Iterable[Timer]) -> Sums:
    """How many in each bucket, and the seconds in all, of several timers with the same bounds."""
    sums: Sums = []
    for timer in timers:
        now = [*timer.counts, timer.total]
        sums = [a + b for a, b in zip(sums, now, strict=True)] if sums else now
    return sums


def _since(now: Sums, told: Sums | None) -> Sums:
    """What has been added; empty when nothing was."""
    new = [a - b for a, b in zip(now, told, strict=True)] if told else now
    return new if any(new[:-1]) else []
