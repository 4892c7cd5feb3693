"""The spans of an attempt: how long it waited, its way to the worker, its run, and its settlement.

All belong to the trace whose context the task's envelope carries. A task without one, or one whose trace is not
recorded, is not looked at beyond that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from laneway.kit.ids import id_text
from laneway.kit.tracing import Tracing, messaging, parse_traceparent, trace_id_of, traceparent_of, within
from laneway.model.record import decode_error
from laneway.model.settlement import Kind, Settlement

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from laneway.execute.run import Run
    from laneway.policy.outcome import Decision

#: Runs whose settlement was not answered, kept for their span. (Bounded: what was lost is never answered.)
_MOST_OPEN = 10_000
_FAILED = frozenset({Kind.RETRY, Kind.DEAD})

#: Hears of each run whose trace is recorded: lane, type, wait (s; -1: not known), run time (s), trace id.
Exemplify = Callable[[int, str, float, float, str], None]


class RunSpans:
    """Makes the spans of one worker's attempts at the tasks of ``queue``.

    ``wait`` goes from when the task could run to its claim, which is its fence in microseconds since 1970 (both by the
    clock of Redis); ``dispatch`` from there to the start of the handler; ``run`` is the handler, in whose context it
    runs; ``settle`` goes from its end to the answer to its settlement. Of later attempts it is not known here since
    when they could run, so they have no ``wait``.
    """

    def __init__(
        self,
        tracing: Tracing,
        queue: str,
        worker: str,
        lane_name: Callable[[int], str],
        exemplify: Exemplify | None = None,
    ) -> None:
        self._tracer = tracing.tracer
        self._queue = queue
        self._worker = worker
        self._lane_name = lane_name
        self._exemplify = exemplify
        self._open: dict[tuple[bytes, int], tuple[Context, int, dict[str, Any]]] = {}

    def begin(self, run: Run) -> None:
        """The handler is about to begin: from here on, the running context is that of its span."""
        trace = run.envelope.body.trace
        if trace is None:
            return
        given = parse_traceparent(trace)
        if given is None:
            return
        from opentelemetry.context import attach
        from opentelemetry.trace import SpanKind, set_span_in_context

        parent = within(given)
        if not given.trace_flags.sampled:
            attach(parent)  # so that the handler's own spans are not recorded either
            return
        now = time.time_ns()
        span = self._tracer.start_span(
            f"run {self._queue}",
            parent,
            SpanKind.CONSUMER,
            messaging("run", "process", self._queue) | self._about(run),
            start_time=now,
        )
        if not span.is_recording():
            return
        run.span = span
        claimed, about = min(run.fence * 1_000, now), _which(run)
        due = _due_ns(run)
        if due is not None:
            self._past("wait", None, parent, about, min(due, claimed), claimed)
        self._past("dispatch", "receive", parent, about, claimed, now)
        attach(set_span_in_context(span))  # (for the rest of this attempt's own asyncio task: nobody else sees it)

    def traceparent(self, run: Run) -> str:
        """What makes spans elsewhere children of the run's; '' when it has no span."""
        return traceparent_of(run.span) if run.span is not None else ""

    def end(self, run: Run, decision: Decision | None) -> None:
        """The run has ended, and ``decision`` is on its way to Redis; None: nothing is written for it."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        span, now = run.span, time.time_ns()
        assert span is not None
        if decision is None:
            span.set_attribute("laneway.outcome", "lost")
            span.set_attribute("error.type", "LeaseLost")
            span.set_status(StatusCode.ERROR, "the task was given away while it ran: nothing is written for it")
            span.end(now)
            return
        self._say_outcome(span, decision)
        span.end(now)
        if len(self._open) < _MOST_OPEN:
            self._open[run.id, run.fence] = (set_span_in_context(span), now, _which(run))
        if self._exemplify is not None:
            seen = run.observation(decision.kind, decision.crashed, time.monotonic())
            wait = seen.wait_ms / 1000 if seen.wait_ms >= 0 else -1.0
            self._exemplify(seen.lane, seen.type, wait, seen.seconds, trace_id_of(span))

    def settled(self, batch: Sequence[Settlement], refused: Mapping[int, str]) -> None:
        """Redis has answered a batch; ``refused`` says, by index, what was not accepted."""
        if not self._open:
            return
        from opentelemetry.trace import StatusCode

        now = time.time_ns()
        for i, settlement in enumerate(batch):
            found = self._open.pop((settlement.id, settlement.fence), None)
            if found is None:
                continue
            context, ended, about = found
            span = self._past("settle", "settle", context, about, ended, None)
            span.set_attribute("laneway.settlement", settlement.kind.name.lower())
            span.set_attribute("messaging.batch.message_count", len(batch))
            if refused.get(i) == "stale":
                span.set_attribute("error.type", "stale")
                span.set_status(StatusCode.ERROR, "the task had been given away: this outcome does not count")
            span.end(now)

    def _about(self, run: Run) -> dict[str, Any]:
        body = run.envelope.body
        about: dict[str, Any] = {
            **_which(run),
            "messaging.client.id": self._worker,
            "laneway.task.type": body.type,
            "laneway.lane": self._lane_name(run.envelope.lane),
            "laneway.fence": run.fence,
        }
        if run.envelope.tenant:
            about["laneway.tenant"] = run.envelope.tenant
        return about

    def _past(
        self, operation: str, type: str | None, parent: Context, about: dict[str, Any], begin: int, end: int | None
    ) -> Span:
        """A span of what is known only afterwards; ``end`` None: it is ended by the caller."""
        from opentelemetry.trace import SpanKind

        kind = SpanKind.INTERNAL if type is None else SpanKind.CLIENT
        attributes = messaging(operation, type, self._queue) | about
        span = self._tracer.start_span(f"{operation} {self._queue}", parent, kind, attributes, start_time=begin)
        if end is not None:
            span.end(end)
        return span

    def _say_outcome(self, span: Span, decision: Decision) -> None:
        from opentelemetry.trace import StatusCode

        span.set_attribute("laneway.outcome", decision.kind.name.lower())
        if decision.delay_ms:
            span.set_attribute("laneway.delay_ms", decision.delay_ms)
        if decision.kind is Kind.COMPLETE or decision.data is None:
            return
        try:
            error = decode_error(decision.data)
        except msgspec.MsgspecError:
            return
        span.set_attribute("error.type", error.kind)
        if decision.kind in _FAILED:
            seen = {"exception.type": error.kind, "exception.message": error.message}
            if error.traceback:
                seen["exception.stacktrace"] = error.traceback
            span.add_event("exception", seen)
            span.set_status(StatusCode.ERROR, f"{error.kind}: {error.message}")


def _which(run: Run) -> dict[str, Any]:
    """Which task and attempt a span is about: all that those beside the run's say, for each attribute costs."""
    return {"messaging.message.id": id_text(run.id), "laneway.attempt": run.attempt}


def _due_ns(run: Run) -> int | None:
    """Since when the first attempt could run, in ns since 1970."""
    if run.attempt > 1:
        return None
    env = run.envelope
    return int(max(env.submitted_ms + env.delay_ms, env.at_ms) * 1_000_000)


class ChildSpans:
    """In a child process: makes a handler's own spans children of its run's, which the worker keeps. What exports
    them is started with the first such handler, so after the fork."""

    def __init__(self) -> None:
        self._tracing: Tracing | None = None
        self._started = False

    def enter(self, traceparent: str) -> Any:
        """Enters the context of a run's span; what it returns is for :meth:`leave`."""
        given = parse_traceparent(traceparent)
        if given is None:
            return None
        if not self._started:
            from laneway.kit.tracing import start_tracing

            self._started, self._tracing = True, start_tracing("laneway-worker")
        from opentelemetry.context import attach

        return attach(within(given))

    def leave(self, token: Any) -> None:
        """Leaves what :meth:`enter` has entered."""
        if token is not None:
            from opentelemetry.context import detach

            detach(token)

    def close(self) -> None:
        """Sends what handlers have left, for at most two seconds."""
        if self._tracing is not None:
            self._tracing.close(2.0)
