"""Gateways for tests: over a real Redis, by an ASGI transport or by a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from laneway.adapters.redis import RedisStore
from laneway.gateway.app import build_app
from laneway.gateway.server import HttpServer
from laneway.kit.health import Health
from laneway.kit.ids import new_incarnation
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.settlement import Kind, Settlement

Q = "/api/v1/queues/mail"
TASKS = f"{Q}/tasks"
LANES = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high", prio=9))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_2 = "00-0af7651916cd43dd8448eb211c80319c-c7ad6b7169203332-01"


async def open_store(url: str, queue: str = "mail", patience: float = 0.3, **config: Any) -> RedisStore:
    store = RedisStore(url, queue, patience=patience)
    await store.configure(QueueConfig(**{"lanes": LANES, **config}), {}, expected=None)
    return store


@asynccontextmanager
async def asgi(*stores: RedisStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app({store.queue: store for store in stores}, **options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


@asynccontextmanager
async def served(*stores: RedisStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A real server on a free port."""
    health = Health()
    app = build_app({s.queue: s for s in stores}, health=health, watch_interval=0.05, **options)
    server = HttpServer(app, port=0, health=health, drain=2.0, limits=options.get("limits"))
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
            yield client
    finally:
        await server.stop()


async def submit(client: httpx.AsyncClient, **task: Any) -> str:
    """The id of one task more."""
    answer = await client.post(TASKS, json={"type": "t", **task})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def problem(answer: httpx.Response) -> tuple[int, str]:
    """The status of a refusal, and which problem it is."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:laneway:problem:")


async def run_one(store: RedisStore, kind: Kind = Kind.COMPLETE, data: Any = None, *, delay_ms: float = 0.0) -> bytes:
    """Claims the best task and settles it, as a worker does."""
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", 1, 0, 0)
    await store.heartbeat(inc, 2, 1, 0, [])
    turn = await store.turn(inc, 1, 1, [])
    (task,) = turn.tasks
    raw = None if data is None else msgspec.msgpack.encode(data)
    settlement = Settlement(kind, task.id, task.fence, data=raw, delay_ms=delay_ms)
    assert await store.settle(inc, [settlement]) == {}
    await store.deregister(inc)
    return task.id


async def metric(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def eventually(check: Callable[[], Awaitable[bool]], within: float = 15.0) -> None:
    """Waits until it is so; TimeoutError when it is not in time."""
    async with asyncio.timeout(within):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)
