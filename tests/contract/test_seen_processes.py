"""What people see of real processes, with Kafka and without: gateway, poller and worker, put together by manifests."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.contract.gateways import eventually

from laneway.adapters.manifests import load_manifests
from laneway.kit.ports import free_port
from laneway.roles.local import LocalOptions, LocalStack
from servers.kafka import KafkaServer
from servers.redis import RedisServer

APP = """\
from laneway import App

app = App("seen")


@app.task(max_attempts=1)
async def work(fail: bool = False) -> None:
    if fail:
        raise ValueError("as was asked for")
"""
MANIFESTS = """\
apiVersion: laneway.dev/v1alpha1
kind: TaskQueue
metadata: {{name: {name}}}
spec: {{}}
---
apiVersion: laneway.dev/v1alpha1
kind: WorkerPool
metadata: {{name: {name}}}
spec: {{queueRef: {{name: {name}}}, app: "seen_app:app", replicas: 1, concurrency: 4}}
"""


@pytest.mark.parametrize("told_in", ["redis", "kafka"])
async def test_events_history_and_predictions_of_real_processes(
    redis7: RedisServer, tmp_path: Path, request: pytest.FixtureRequest, told_in: str
) -> None:
    redis7.ensure()
    redis7.flush()
    name = f"seen-{os.urandom(4).hex()}"
    (tmp_path / "seen_app.py").write_text(APP)
    (tmp_path / "seen.yaml").write_text(MANIFESTS.format(name=name))
    broker: KafkaServer | None = request.getfixturevalue("kafka") if told_in == "kafka" else None
    port = free_port()
    options = LocalOptions(
        redis=redis7.url, kafka=broker.bootstrap if broker else None, port=port, app_folders=(tmp_path,)
    )
    stack = LocalStack(load_manifests([tmp_path / "seen.yaml"]), options)
    await stack.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await _see(client, f"/api/v1/queues/{name}")
    finally:
        await stack.stop()


async def _see(client: httpx.AsyncClient, queue: str) -> None:
    async def idle() -> bool:
        try:
            answer = await client.get(f"{queue}/lanes/default/eta")
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["basis"] == "idle"

    await eventually(idle, within=60)  # a worker has announced itself, and has a free slot
    async with asyncio.timeout(60):
        ended = await _ends(client, queue)
    assert {kind: len(ids) for kind, ids in ended.items()} == {"succeeded": 5, "dead": 1}

    async def told() -> bool:
        points = (await client.get(f"{queue}/stats/history", params={"step": "1h"})).json()["points"]
        return (
            [sum(point[f] for point in points) for f in ("submitted", "succeeded", "dead", "failed")] == [6, 5, 1, 1]
            and any(point["runP50"] is not None and point["waitP50"] is not None for point in points)
            and any(point["slots"] for point in points)
        )

    await eventually(told, within=60)


async def _ends(client: httpx.AsyncClient, queue: str) -> dict[str, set[str]]:
    """Submits six tasks while listening, and returns which ended how; each must be told once."""
    found: dict[str, set[str]] = {}
    headers = {"Accept": "text/event-stream"}
    query = {"kinds": "succeeded,dead", "stats": "0"}
    while True:  # (with Kafka, the topic of events may not have been looked at before the deadline of a request)
        async with client.stream("GET", f"{queue}/events", headers=headers, params=query) as response:
            if response.status_code == 503:
                await asyncio.sleep(0.2)
                continue
            assert response.status_code == 200, await response.aread()
            tasks: list[dict[str, Any]] = [{"type": "work"}] * 5 + [{"type": "work", "payload": {"fail": True}}]
            answer = await client.post(f"{queue}/tasks/batch", json=tasks)
            ids = {item["id"] for item in answer.json()["results"]}
            assert len(ids) == 6
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    assert not set().union(*found.values()) & set(event["ids"])
                    found.setdefault(event["kind"], set()).update(event["ids"])
                if sum(map(len, found.values())) == 6:
                    assert set().union(*found.values()) == ids
                    return found
        raise AssertionError("the stream ended by itself")
