"""What a worker's outcomes become in metrics, and what is learnt from them."""

from __future__ import annotations

from collections.abc import Callable

from laneway.execute.run import RunObservation
from laneway.kit.task_metrics import QueueTasks, TaskSeries
from laneway.model.settlement import Kind

_WEIGHT = 0.02


class OutcomeObserver:
    """Counts outcomes by lane and type, and keeps a moving average of how long handlers take."""

    def __init__(self, metrics: QueueTasks, lane_name: Callable[[int], str]) -> None:
        self._metrics = metrics
        self._lane_name = lane_name
        self._series: dict[tuple[int, str], TaskSeries] = {}
        self._average = 0.0
        self._worked = (0, 0.0)

    def average_ms(self) -> float:
        """The moving average of handlers' running time in ms; 0 before the first."""
        return self._average * 1000

    def worked(self) -> tuple[int, float]:
        """How many handlers have ended so far, and how many ms they ran together. May be called from any thread."""
        return self._worked

    def exemplify(self, lane: int, type: str, wait: float, seconds: float, trace_id: str) -> None:
        """Shows a trace beside the histograms, for a run that waited and ran so many seconds (wait -1: not known)."""
        series = self._metrics.series(self._lane_name(lane), type)
        series.run.mark(seconds, trace_id)
        if wait >= 0:
            series.wait.mark(wait, trace_id)

    def __call__(self, run: RunObservation) -> None:
        key = (run.lane, run.type)
        series = self._series.get(key)
        if series is None:
            series = self._metrics.series(self._lane_name(run.lane), run.type)
            if len(self._series) < 1000:
                self._series[key] = series
        seconds = run.seconds
        average = self._average
        self._average = average + _WEIGHT * (seconds - average) if average else max(seconds, 1e-7)
        ended, took = self._worked
        self._worked = (ended + 1, took + seconds * 1000)
        series.run.observe(seconds)
        if run.wait_ms >= 0:
            series.wait.observe(run.wait_ms / 1000)
        kind = run.kind
        if kind is Kind.COMPLETE:
            series.completed += 1
        elif kind is Kind.RETRY:
            series.failed += 1
            series.retried += 1
        elif kind is Kind.DEAD:
            series.failed += 1
            series.dead += 1
        elif kind is Kind.CANCEL:
            series.cancelled += 1
        elif kind is Kind.EXPIRE:
            series.expired += 1
