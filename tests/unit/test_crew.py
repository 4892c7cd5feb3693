"""Health and metrics of several processes from one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from laneway.gateway.crew import CrewMember, build_crew_app
from laneway.kit.health import Health
from laneway.kit.task_metrics import TaskMetrics
from laneway.roles.ops import serve_ops

Start = Callable[..., Awaitable[tuple[CrewMember, Health]]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts what a worker process serves on a Unix socket."""
    async with AsyncExitStack() as stack:

        async def process(i: int, *, done: int = 0) -> tuple[CrewMember, Health]:
            health, metrics = Health(), TaskMetrics()
            metrics.queue("q").corrupt += done
            path = tmp_path / f"worker-{i}"
            await serve_ops(stack, f"unix:{path}", 0, health, [metrics], asyncio.Event())
            return CrewMember(f"worker-{i}", path, 100.0, restarts=i), health

        yield process


def client(members: list[CrewMember], *, stopping: bool = False) -> httpx.AsyncClient:
    app = build_crew_app(lambda: members, lambda: stopping)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://crew")


async def test_the_samples_of_all_processes_come_together_each_with_its_process(start: Start) -> None:
    members = [(await start(i, done=10 + i))[0] for i in range(3)]
    async with client(members) as http:
        answer = await http.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    corrupt = {sample.labels["process"]: sample.value for sample in families["laneway_records_corrupt"].samples}
    assert corrupt == {"worker-0": 10.0, "worker-1": 11.0, "worker-2": 12.0}
    up = {sample.labels["process"]: sample.value for sample in families["laneway_process_up"].samples}
    assert up == {"worker-0": 1.0, "worker-1": 1.0, "worker-2": 1.0}
    restarts = {s.labels["process"]: s.value for s in families["laneway_process_restarts"].samples}
    assert restarts == {"worker-0": 0.0, "worker-1": 1.0, "worker-2": 2.0}
    cpu = {sample.labels["process"] for sample in families["process_cpu_seconds"].samples}
    assert cpu == {"worker-0", "worker-1", "worker-2", "supervisor"}
    assert answer.text.count("# TYPE laneway_records_corrupt_total counter") == 1


async def test_openmetrics_is_served_to_whom_it_asks_for_it(start: Start) -> None:
    members = [(await start(0, done=1))[0]]
    async with client(members) as http:
        answer = await http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.text.endswith("# EOF\n")
    assert 'laneway_records_corrupt_total{process="worker-0",queue="q"} 1.0' in answer.text


async def test_a_process_that_is_gone_costs_only_its_own_samples(start: Start, tmp_path: Path) -> None:
    members = [(await start(0, done=1))[0], CrewMember("worker-1", tmp_path / "nobody", None)]
    async with client(members) as http:
        text = (await http.get("/metrics")).text
        assert 'laneway_process_up{process="worker-1"} 0.0' in text
        assert 'laneway_records_corrupt_total{process="worker-0"' in text
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200


async def test_a_crew_is_ready_when_one_of_it_is_and_not_once_it_stops(start: Start) -> None:
    (first, health), (second, other) = await start(0), await start(1)
    for each in (health, other):
        each.require("lease", lambda: "the lease is not fresh")
    async with client([first, second]) as http:
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert "the lease is not fresh" in answer.text
        other.forget("lease")
        assert (await http.get("/readyz")).status_code == 200
    async with client([first, second], stopping=True) as http:
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200


async def test_a_crew_is_not_live_when_one_is_silent_or_says_so(start: Start, tmp_path: Path) -> None:
    member, health = await start(0)
    async with client([member]) as http:
        assert (await http.get("/healthz")).status_code == 200
        health.watch("worker", 1e-9)
        answer = await http.get("/healthz")
        assert answer.status_code == 503
        assert "worker-0: worker: progress" in answer.text
    nobody = tmp_path / "nobody"
    for age, status in ((5.0, 200), (500.0, 503), (None, 200)):
        async with client([CrewMember("worker-1", nobody, age)]) as http:
            assert (await http.get("/healthz")).status_code == status


async def test_a_process_that_takes_connections_and_says_nothing_does_not_hold_up(tmp_path: Path) -> None:
    path = tmp_path / "mute"

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)  # until the asker gives up
        writer.close()
        await writer.wait_closed()

    silent = await asyncio.start_unix_server(mute, path)
    async with silent, client([CrewMember("worker-0", path, 500.0)]) as http:
        async with asyncio.timeout(5):
            assert (await http.get("/healthz")).status_code == 503
        assert 'laneway_process_up{process="worker-0"} 0.0' in (await http.get("/metrics")).text


async def test_a_socket_that_a_killed_process_left_behind_is_taken_over(start: Start, tmp_path: Path) -> None:
    (tmp_path / "worker-0").touch()
    member, _ = await start(0)
    async with client([member]) as http:
        assert (await http.get("/readyz")).status_code == 200
