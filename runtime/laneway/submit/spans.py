"""The spans of submissions: the beginning of a task's trace, which goes with it in its envelope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from laneway.errors import IdempotencyConflict, LanewayError
from laneway.kit.ids import id_text
from laneway.kit.tracing import Tracing, messaging, parse_traceparent, traceparent_of, within
from laneway.ports.store import TaskStore
from laneway.submit.new_task import NewTask, Receipt
from laneway.submit.submitter import Submitter

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

_Result = Receipt | LanewayError


class SubmitSpans:
    """Makes a span of each submission to ``queue`` whose trace is recorded, and writes its context into the task.

    The parent is the task's own traceparent, or else the caller's span. What the sampler leaves out gets no
    traceparent, and is then a task like any other.
    """

    def __init__(self, tracing: Tracing, queue: str) -> None:
        self._tracer = tracing.tracer
        self._queue = queue

    @contextmanager
    def one(self, task: NewTask, *, keep: bool = False) -> Iterator[list[_Result]]:
        """Around one submission; its result is to be put into what this yields. ``keep``: the task has been submitted
        before, and its traceparent stays what it was."""
        results: list[_Result] = []
        span = self._begin("submit", "send", task, keep)
        try:
            yield results
        except BaseException as error:
            self._end(span, error)
            raise
        self._end(span, results[0])

    @contextmanager
    def many(self, tasks: Sequence[NewTask], *, keep: Sequence[bool] = ()) -> Iterator[list[_Result]]:
        """Around one call that submits several: each has a span ``create`` that begins its trace, and the call one of
        its own, linked to those. The results, in order, are to be put into what this yields; ``keep`` as in
        :meth:`one`."""
        from opentelemetry.trace import Link, SpanKind

        results: list[_Result] = []
        kept = keep or [False] * len(tasks)
        given = {task.trace for task in tasks}
        created = [self._begin("create", "create", task, was) for task, was in zip(tasks, kept, strict=True)]
        recorded = [span for span in created if span.is_recording()]
        if not recorded:
            yield results
            return
        attributes = messaging("submit", "send", self._queue) | {"messaging.batch.message_count": len(tasks)}
        links = [Link(span.get_span_context()) for span in recorded]
        # (a batch that came with one traceparent is all in that trace)
        parent = _context(parse_traceparent(given.pop())) if len(given) == 1 else None
        name = f"submit {self._queue}"
        call = self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes, links)
        try:
            yield results
        except BaseException as error:
            for span in (call, *created):
                self._end(span, error)
            raise
        for span, result in zip(created, results, strict=True):
            self._end(span, result)
        call.end()

    def _begin(self, operation: str, type: str, task: NewTask, keep: bool) -> Span:
        from opentelemetry.trace import INVALID_SPAN, SpanKind

        parent = parse_traceparent(task.trace)
        if task.trace is not None and not (parent is not None and parent.trace_flags.sampled):
            return INVALID_SPAN  # it says that its trace is not recorded, or says nothing
        attributes = messaging(operation, type, self._queue) | {"laneway.task.type": task.type}
        if task.lane is not None:
            attributes["laneway.lane"] = task.lane
        if task.tenant:
            attributes["laneway.tenant"] = task.tenant
        name = f"{operation} {self._queue}"
        span = self._tracer.start_span(name, _context(parent), SpanKind.PRODUCER, attributes)
        if span.is_recording() and not keep:
            task.trace = traceparent_of(span)
        return span

    def _end(self, span: Span, result: _Result | BaseException) -> None:
        if not span.is_recording():
            return
        if isinstance(result, Receipt):
            span.set_attribute("messaging.message.id", id_text(result.id))
            if result.duplicate:
                span.set_attribute("laneway.duplicate", True)
        else:
            from opentelemetry.trace import StatusCode

            span.set_attribute("error.type", type(result).__name__)
            span.set_status(StatusCode.ERROR, str(result))
        span.end()


class TracedSubmitter(Submitter):
    """A submitter whose tasks begin their traces here."""

    def __init__(self, store: TaskStore, spans: SubmitSpans) -> None:
        super().__init__(store)
        self._spans = spans

    async def submit(self, task: NewTask) -> Receipt:
        """As :meth:`Submitter.submit`."""
        given = task.id is not None
        with self._spans.one(task, keep=given and task.trace is not None) as results:
            try:
                receipt = await super().submit(task)
            except IdempotencyConflict:
                if not given:
                    raise
                receipt = await self._again(task)
            results.append(receipt)
        return receipt

    async def submit_many(self, tasks: Sequence[NewTask]) -> list[Receipt | LanewayError]:
        """As :meth:`Submitter.submit_many`."""
        given = [task.id is not None for task in tasks]
        keep = [was and task.trace is not None for was, task in zip(given, tasks, strict=True)]
        with self._spans.many(tasks, keep=keep) as results:
            results += await super().submit_many(tasks)
            for i, (task, result) in enumerate(zip(tasks, results, strict=True)):
                if given[i] and isinstance(result, IdempotencyConflict):
                    try:
                        results[i] = await self._again(task)
                    except LanewayError as error:
                        results[i] = error
        return list(results)

    async def _again(self, task: NewTask) -> Receipt:
        """A task sent again under its own id differs from the first time by its trace, which is no conflict."""
        assert task.id is not None
        (view,) = await self._store.get([task.id])
        if view is not None:
            task.trace = view.envelope.body.trace
        return await super().submit(task)


def _context(parent: SpanContext | None) -> Context | None:
    """The context of this parent, unless the present one is in its trace already; None: the present one."""
    if parent is None:
        return None
    from opentelemetry.trace import get_current_span

    return None if get_current_span().get_span_context().trace_id == parent.trace_id else within(parent)
