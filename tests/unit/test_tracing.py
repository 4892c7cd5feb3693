"""Tracing without servers: when it is on, what goes with a task, and that it is nowhere when it is off."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind
from tests.unit import executor_app

import laneway.client.app as client_app
from laneway import App
from laneway.adapters.memory import MemoryStore
from laneway.execute.executor import Executor
from laneway.execute.run import Run
from laneway.execute.spans import RunSpans
from laneway.execute.traced import TracedExecutor
from laneway.kit.ids import new_task_id
from laneway.kit.tracing import (
    Tracing,
    is_recorded,
    parse_traceparent,
    present_tracing,
    start_tracing,
    traceparent_of,
    wanted,
)
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope
from laneway.model.settlement import Kind, Settlement
from laneway.policy.outcome import Decision
from laneway.submit import NewTask, Submitter
from laneway.submit.spans import SubmitSpans, TracedSubmitter

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECORDED = f"00-{TRACE}-00f067aa0ba902b7-01"
LEFT_OUT = f"00-{TRACE}-00f067aa0ba902b7-00"


class Kept:
    """A provider of the test's own, and the spans that ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(self.provider)

    @property
    def names(self) -> list[str]:
        """Names of the spans so far, in the order of their ends."""
        return [span.name for span in self.exporter.get_finished_spans()]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Tracing that keeps its spans."""
    kept = Kept()
    yield kept
    kept.provider.shutdown()


@pytest.fixture
async def store() -> MemoryStore:
    """A queue in memory."""
    store = MemoryStore()
    await store.configure(
        QueueConfig(lanes=(LaneConfig(n=1, name="default"),), default_lane="default"), {}, expected=None
    )
    return store


@pytest.mark.parametrize(
    ("env", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
    ],
)
def test_the_standard_variables_turn_it_on(env: dict[str, str], on: bool) -> None:
    assert wanted(env) is on


def test_without_variables_nothing_is_imported_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    assert start_tracing("laneway-worker", {}) is None
    assert present_tracing() is None
    assert not [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]


def test_an_exporter_that_nobody_has_is_said_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert start_tracing("laneway-worker", {"OTEL_TRACES_EXPORTER": "nobody"}) is None
    assert (
        start_tracing("laneway-worker", {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"})
        is None
    )


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        (RECORDED, True),
        (LEFT_OUT, False),
        (RECORDED[:-2] + "03", True),
        (None, None),
        ("", None),
        ("no traceparent", None),
        ("ff" + RECORDED[2:], None),
        (RECORDED.replace(TRACE, "0" * 32), None),
        (RECORDED.replace("00f067aa0ba902b7", "0" * 16), None),
        (RECORDED.upper(), None),
        (RECORDED + "-more", None),
    ],
)
def test_a_traceparent_is_read_as_its_standard_says(text: str | None, recorded: bool | None) -> None:
    context = parse_traceparent(text)
    assert (None if context is None else context.trace_flags.sampled) is recorded
    assert is_recorded(text) is bool(recorded)


async def test_a_submission_from_within_a_span_is_in_its_trace(kept: Kept, store: MemoryStore) -> None:
    submitter = TracedSubmitter(store, SubmitSpans(kept.tracing, "mail"))
    with kept.tracing.tracer.start_as_current_span("request") as request:
        task = NewTask(type="send")
        await submitter.submit(task)
    (submit, _) = kept.exporter.get_finished_spans()
    assert submit.parent is not None and submit.parent.span_id == request.get_span_context().span_id
    assert (submit.name, submit.kind) == ("submit mail", SpanKind.PRODUCER)
    assert task.id is not None
    (view,) = await store.get([task.id])
    assert view is not None and view.envelope.body.trace == traceparent_of(submit)  # type: ignore[arg-type]


async def test_a_batch_has_a_context_for_each_task_and_one_span_for_the_call(kept: Kept, store: MemoryStore) -> None:
    submitter = TracedSubmitter(store, SubmitSpans(kept.tracing, "mail"))
    tasks = [NewTask(type="send") for _ in range(3)]
    await submitter.submit_many(tasks)
    assert sorted(kept.names) == ["create mail"] * 3 + ["submit mail"]
    assert len({task.trace for task in tasks}) == 3
    (call,) = [span for span in kept.exporter.get_finished_spans() if span.name == "submit mail"]
    assert len(call.links) == 3
    assert call.attributes is not None and call.attributes["messaging.batch.message_count"] == 3


async def test_a_batch_that_came_with_a_trace_is_all_in_it(kept: Kept, store: MemoryStore) -> None:
    tasks = [NewTask(type="send", trace=RECORDED) for _ in range(2)]
    await TracedSubmitter(store, SubmitSpans(kept.tracing, "mail")).submit_many(tasks)
    spans = kept.exporter.get_finished_spans()
    assert {f"{span.parent.span_id:016x}" for span in spans if span.parent is not None} == {RECORDED.split("-")[2]}
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    assert {task.trace for task in tasks}.isdisjoint({RECORDED})


async def test_what_the_sampler_leaves_out_is_a_task_like_any_other(store: MemoryStore) -> None:
    kept = Kept(ALWAYS_OFF)
    submitter = TracedSubmitter(store, SubmitSpans(kept.tracing, "mail"))
    one, many = NewTask(type="send"), [NewTask(type="send"), NewTask(type="send", trace=LEFT_OUT)]
    await submitter.submit(one)
    await submitter.submit_many(many)
    assert [task.trace for task in (one, *many)] == [None, None, LEFT_OUT]
    assert kept.names == []


async def test_a_task_sent_again_stays_one_task(kept: Kept, store: MemoryStore) -> None:
    submitter = TracedSubmitter(store, SubmitSpans(kept.tracing, "mail"))
    task = NewTask(type="send")
    first = await submitter.submit(task)
    trace = task.trace
    again = await submitter.submit(task)
    assert (again.id, again.duplicate, task.trace) == (first.id, True, trace)
    # Another object with the same id, as a process that was started anew makes: its trace is another one.
    anew = await submitter.submit(NewTask(type="send", id=first.id))
    (of_many,) = await submitter.submit_many([NewTask(type="send", id=first.id)])
    assert (anew.id, anew.duplicate) == (first.id, True)
    assert of_many == anew


async def test_a_refusal_is_in_the_span(kept: Kept, store: MemoryStore) -> None:
    submitter = TracedSubmitter(store, SubmitSpans(kept.tracing, "mail"))
    with pytest.raises(Exception, match="lane"):
        await submitter.submit(NewTask(type="send", lane="none"))
    (span,) = kept.exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes is not None and span.attributes["error.type"] == "UnknownLane"


async def test_an_app_makes_spans_only_where_the_application_does(
    kept: Kept, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App("mail")
    with app.stand_in(lambda: store):
        await app.submit(app.call("send"))
        assert type(app._session().submitter) is Submitter
    monkeypatch.setattr(client_app, "present_tracing", lambda: kept.tracing)
    with app.stand_in(lambda: store), kept.tracing.tracer.start_as_current_span("request"):
        await app.submit(app.call("send"))
        assert kept.names == ["submit mail"]


def test_the_blocking_app_takes_the_callers_span_along(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    asyncio.run(store.configure(QueueConfig(lanes=(LaneConfig(n=1, name="default"),)), {}, expected=None))
    monkeypatch.setattr(client_app, "present_tracing", lambda: kept.tracing)
    app = App("mail")
    with app.stand_in(lambda: store), kept.tracing.tracer.start_as_current_span("request") as request:
        app.sync.submit(app.call("send"))
        app.sync.close()
    submit = kept.exporter.get_finished_spans()[0]
    assert submit.parent is not None and submit.parent.span_id == request.get_span_context().span_id


def test_the_plain_executor_knows_nothing_of_spans() -> None:
    """Off costs nothing: on the way of a task, not one look at whether there is tracing."""
    names = {
        name
        for function in vars(Executor).values()
        if (code := getattr(function, "__code__", None)) is not None
        for name in code.co_names
    }
    assert not {name for name in names if "span" in name or "trac" in name}
    assert {"_begin", "_end", "_request"} <= vars(TracedExecutor).keys()
    # What it takes over is what the plain one calls, so it can't be passed by.
    assert {"_begin", "_end"} <= names
    assert "_request" in Executor._call_child.__code__.co_names


def a_run(spans: RunSpans, *, fence_us: int, attempt: int = 1, delay_ms: float = 0.0) -> Run:
    """An attempt that has begun: submitted at 1,000 s, with its trace recorded."""
    body = Body("send", b"\x80", trace=RECORDED)
    envelope = Envelope(1, 4, 4, "", body, submitted_ms=1_000_000, delay_ms=delay_ms)
    definition = next(iter(executor_app.tasks.values()))
    run = Run(new_task_id(), fence_us, attempt, 0, envelope, b"", definition, 1_000_000)
    copy_context().run(spans.begin, run)  # (as in an asyncio task of its own)
    return run


def times(kept: Kept, name: str) -> list[tuple[float, float]]:
    """Begin and length (s) of spans of a name."""
    return [
        (span.start_time / 1e9, (span.end_time - span.start_time) / 1e9)
        for span in kept.exporter.get_finished_spans()
        if span.name == name and span.start_time is not None and span.end_time is not None
    ]


@pytest.fixture
def spans(kept: Kept) -> RunSpans:
    """A worker's spans."""
    return RunSpans(kept.tracing, "mail", "worker-1", str)


def test_the_wait_goes_from_when_a_task_could_run_to_its_claim(kept: Kept, spans: RunSpans) -> None:
    a_run(spans, fence_us=1_007_500_000, delay_ms=5_000)
    ((begin, length),) = times(kept, "wait mail")
    assert (begin, length) == (1_005.0, pytest.approx(2.5))
    ((begin, _),) = times(kept, "dispatch mail")
    assert begin == pytest.approx(1_007.5)


def test_a_later_attempt_has_no_wait_since_nobody_knows_it_here(kept: Kept, spans: RunSpans) -> None:
    a_run(spans, fence_us=1_007_500_000, attempt=2)
    assert kept.names == ["dispatch mail"]


def test_a_clock_of_redis_that_is_ahead_makes_no_span_end_before_it_began(kept: Kept, spans: RunSpans) -> None:
    ahead = time.time_ns() // 1_000 + 60_000_000
    a_run(spans, fence_us=ahead)
    lengths = {name: [length for _, length in times(kept, name)] for name in ("wait mail", "dispatch mail")}
    assert all(len(found) == 1 and found[0] >= 0 for found in lengths.values()), lengths


def test_what_was_not_accepted_is_an_error_of_the_settlement(kept: Kept, spans: RunSpans) -> None:
    run = a_run(spans, fence_us=1_001_000_000)
    spans.end(run, Decision(Kind.COMPLETE))
    spans.settled([Settlement(Kind.COMPLETE, run.id, run.fence)], {0: "stale"})
    settle = kept.exporter.get_finished_spans()[-1]
    assert settle.name == "settle mail" and not settle.status.is_ok
    assert settle.parent is not None and run.span is not None
    assert settle.parent.span_id == run.span.get_span_context().span_id


def test_a_lost_task_ends_its_span_and_has_no_settlement(kept: Kept, spans: RunSpans) -> None:
    run = a_run(spans, fence_us=1_001_000_000)
    spans.end(run, None)
    spans.settled([Settlement(Kind.COMPLETE, run.id, run.fence)], {})
    ended = kept.exporter.get_finished_spans()[-1]
    assert ended.name == "run mail" and ended.attributes is not None
    assert ended.attributes["laneway.outcome"] == "lost"


def test_settlements_that_are_never_answered_do_not_pile_up(
    kept: Kept, spans: RunSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.execute.spans._MOST_OPEN", 2)
    runs = [a_run(spans, fence_us=1_001_000_000 + n) for n in range(5)]
    for run in runs:
        spans.end(run, Decision(Kind.COMPLETE))
    spans.settled([Settlement(Kind.COMPLETE, run.id, run.fence) for run in runs], {})
    assert kept.names.count("run mail") == 5
    assert kept.names.count("settle mail") == 2
