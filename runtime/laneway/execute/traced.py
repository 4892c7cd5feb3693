"""An executor that makes spans. It is another class, so that the plain one looks for none."""

from __future__ import annotations

from typing import Any

from laneway.execute.executor import Executor
from laneway.execute.run import Run
from laneway.execute.spans import RunSpans
from laneway.execute.wire import Request
from laneway.policy.outcome import Decision

#: What child processes get at the end to send their spans (s).
_LINGER = 2.0


class TracedExecutor(Executor):
    """As :class:`Executor`; each attempt whose trace is recorded runs within a span of ``spans``."""

    def __init__(self, *arguments: Any, spans: RunSpans, **options: Any) -> None:
        super().__init__(*arguments, linger=_LINGER, **options)
        self._spans = spans

    def _begin(self, run: Run) -> bool:
        if not Executor._begin(self, run):
            return False
        if run.envelope.body.trace is not None:  # (what was left out at its submission has none)
            self._spans.begin(run)
        return True

    def _request(self, run: Run) -> Request:
        request = super()._request(run)
        request.trace = self._spans.traceparent(run)
        return request

    def _end(self, run: Run, decision: Decision | None) -> None:
        if run.span is not None and not run.ended:
            self._spans.end(run, decision)
        Executor._end(self, run, decision)
