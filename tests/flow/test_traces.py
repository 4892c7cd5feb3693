"""Traces: real workers and gateways send their spans to a real OTLP collector, and a task is one trace."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow
from tests.flow.otlp import Collector, Span

from laneway.kit.ids import id_bytes

PRODUCER, CONSUMER, CLIENT, INTERNAL = 4, 5, 3, 1


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector for this test alone."""
    with Collector() as collector:
        yield collector


@pytest.fixture
def traced(flow: Flow, collector: Collector) -> Flow:
    """A queue, directly and over Kafka in turn, whose processes send their spans to the collector."""
    flow.env.update(collector.environment())
    return flow


@pytest.fixture
async def traced_direct(direct_flow: Flow, collector: Collector) -> Flow:
    """As ``traced``, without Kafka."""
    direct_flow.env.update(collector.environment())
    return direct_flow


def new_traceparent(flags: str = "01") -> tuple[str, str]:
    """A trace that somebody else has begun: its id, and the traceparent of its span."""
    trace = os.urandom(16).hex()
    return trace, f"00-{trace}-{os.urandom(8).hex()}-{flags}"


def by_operation(spans: list[Span]) -> dict[str, Span]:
    """The spans by the first word of their names, of which there must be one each."""
    assert len({span.operation for span in spans}) == len(spans), [span.name for span in spans]
    return {span.operation: span for span in spans}


async def post(flow: Flow, port: int, traceparent: str | None, body: dict[str, object]) -> str:
    """Submits by HTTP; the task's id."""
    headers = {"traceparent": traceparent} if traceparent else {}
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}/api/v1/queues/{flow.queue}/tasks"
        answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_task_is_one_trace_from_its_submission_to_its_settlement(traced: Flow, collector: Collector) -> None:
    await traced.worker()
    await traced.poller()
    gateway = await traced.gateway()
    trace, parent = new_traceparent()
    id = await post(traced, gateway.port, parent, {"type": "spanned", "lane": "default"})
    spans = by_operation(await collector.until(trace, ["submit", "wait", "dispatch", "run", "settle", "own"]))

    submit, run = spans["submit"], spans["run"]
    assert submit.parent == parent.split("-")[2]
    assert {spans[name].parent for name in ("wait", "dispatch", "run")} == {submit.id}
    assert spans["own"].parent == run.id
    assert spans["settle"].parent == run.id
    assert {span.kind for span in (submit, run, spans["settle"])} == {PRODUCER, CONSUMER, CLIENT}
    assert (submit.service, run.service) == ("laneway-gateway", "laneway-worker")
    assert spans["wait"].end == spans["dispatch"].begin
    assert spans["dispatch"].end == run.begin <= spans["own"].begin <= spans["own"].end <= run.end
    assert spans["settle"].begin == run.end <= spans["settle"].end
    assert run.name == f"run {traced.queue}"
    expected = {
        "messaging.system": "laneway",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": traced.queue,
        "messaging.message.id": id,
        "laneway.task.type": "spanned",
        "laneway.lane": "default",
        "laneway.attempt": 1,
        "laneway.outcome": "complete",
    }
    assert {name: run.attributes.get(name) for name in expected} == expected
    assert submit.attributes["messaging.message.id"] == id
    assert not any(span.error for span in spans.values())


async def test_each_attempt_is_in_the_trace_and_says_how_it_failed(traced: Flow, collector: Collector) -> None:
    await traced.worker()
    await traced.poller()
    trace, parent = new_traceparent()
    await traced.submit("failing", trace=parent)
    spans = await collector.until(trace, ["run", "run", "dispatch", "dispatch", "settle", "settle", "wait"])

    runs = [span for span in spans if span.operation == "run"]
    assert [run.attributes["laneway.attempt"] for run in runs] == [1, 2]
    assert [run.attributes["laneway.outcome"] for run in runs] == ["retry", "dead"]
    assert all(run.error and run.attributes["error.type"] == "RuntimeError" for run in runs)
    assert all(run.events == ["exception"] for run in runs)
    assert sorted(span.parent for span in spans if span.operation == "settle") == sorted(run.id for run in runs)
    assert [span.operation for span in spans].count("wait") == 1, "since when a later attempt could run is not known"


@pytest.mark.parametrize("type", ["spanned", "spanned_in_thread", "spanned_in_process"])
async def test_a_handlers_own_spans_are_inside_its_run_wherever_it_runs(
    traced_direct: Flow, collector: Collector, type: str
) -> None:
    worker = await traced_direct.worker()
    trace, parent = new_traceparent()
    await traced_direct.submit(type, trace=parent)
    await collector.until(trace, ["run", "settle"])
    # (a child process sends its own spans before it ends, at the latest)
    assert await worker.stop() == 0
    spans = by_operation(await collector.until(trace, ["wait", "dispatch", "run", "settle", "own", "inner"]))
    assert spans["own"].parent == spans["run"].id
    assert spans["inner"].parent == spans["own"].id
    assert spans["own"].service == "laneway-worker"
    assert spans["run"].begin <= spans["own"].begin <= spans["own"].end <= spans["run"].end


async def test_a_task_whose_trace_is_not_recorded_leaves_no_span(traced_direct: Flow, collector: Collector) -> None:
    await traced_direct.worker()
    gateway = await traced_direct.gateway()
    left_out, parent = new_traceparent("00")
    recorded, other = new_traceparent("01")
    for _ in range(3):
        traced_direct.accepted.add(id_bytes(await post(traced_direct, gateway.port, parent, {"type": "spanned"})))
    await post(traced_direct, gateway.port, other, {"type": "spanned"})
    await collector.until(recorded, ["submit", "run", "settle", "own"])
    await traced_direct.ended()
    assert collector.of(left_out) == []


async def test_a_sampler_at_the_gateway_decides_for_the_whole_task(traced_direct: Flow, collector: Collector) -> None:
    await traced_direct.worker()
    traced_direct.env["OTEL_TRACES_SAMPLER"] = "parentbased_always_off"
    gateway = await traced_direct.gateway()
    id = id_bytes(await post(traced_direct, gateway.port, None, {"type": "work"}))
    recorded, parent = new_traceparent("01")
    await post(traced_direct, gateway.port, parent, {"type": "spanned"})
    await collector.until(recorded, ["submit", "run", "settle", "own"])
    view = (await traced_direct.views([id]))[id]
    assert view is not None and view.envelope.body.trace is None
    assert {span.trace for span in collector.spans} == {recorded}


async def test_histograms_show_traces_as_exemplars(traced_direct: Flow, collector: Collector) -> None:
    worker = await traced_direct.worker(metrics=True)
    gateway = await traced_direct.gateway()
    trace, parent = new_traceparent()
    await post(traced_direct, gateway.port, parent, {"type": "spanned"})
    await collector.until(trace, ["run", "settle"])
    async with httpx.AsyncClient(headers={"Accept": "application/openmetrics-text"}) as http:
        of_worker, of_gateway = [
            (await http.get(f"http://127.0.0.1:{member.port}/metrics")).text for member in (worker, gateway)
        ]
    for text, name in (
        (of_worker, "laneway_execution_seconds_bucket"),
        (of_worker, "laneway_queue_wait_seconds_bucket"),
        (of_gateway, "laneway_http_request_seconds_bucket"),
    ):
        marked = [line for line in text.splitlines() if line.startswith(name) and f'# {{trace_id="{trace}"}}' in line]
        assert len(marked) == 1, f"{name} shows the trace {len(marked)} times"


async def test_several_worker_processes_keep_their_exemplars(traced_direct: Flow, collector: Collector) -> None:
    worker = await traced_direct.worker(metrics=True, processes=2)
    trace, parent = new_traceparent()
    await traced_direct.submit("spanned", trace=parent)
    await collector.until(trace, ["run", "settle"])
    async with httpx.AsyncClient(headers={"Accept": "application/openmetrics-text"}) as http:
        text = (await http.get(f"http://127.0.0.1:{worker.port}/metrics")).text
    assert f'# {{trace_id="{trace}"}}' in text


async def test_a_collector_that_is_away_holds_up_neither_tasks_nor_the_end(redis7_url: str, new_flow: NewFlow) -> None:
    flow = new_flow(redis7_url)
    await flow.configure(**SHORT)
    flow.env.update({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"})
    worker = await flow.worker()
    _, parent = new_traceparent()
    await flow.submit("spanned", 20, trace=parent)
    await flow.ended()
    assert await worker.stop() == 0


async def test_variables_that_cannot_be_used_are_said_and_stop_nothing(redis7_url: str, new_flow: NewFlow) -> None:
    flow = new_flow(redis7_url)
    await flow.configure(**SHORT)
    flow.env.update({"OTEL_TRACES_EXPORTER": "zipkin"})
    worker = await flow.worker()
    await flow.submit("spanned")
    await flow.ended()
    assert "no package here has the exporter 'zipkin'" in worker.text()
    assert "laneway[otel]" in worker.text()


async def test_what_a_handler_submits_is_in_its_trace(traced_direct: Flow, collector: Collector) -> None:
    await traced_direct.worker()
    trace, parent = new_traceparent()
    await traced_direct.submit("submits", arguments={"type": "spanned"}, trace=parent)
    spans = await collector.until(trace, ["run", "submit", "run", "settle", "settle", "own"])
    outer, inner = (span for span in spans if span.operation == "run")
    (submit,) = (span for span in spans if span.operation == "submit")
    assert submit.parent == outer.id
    assert inner.parent == submit.id
