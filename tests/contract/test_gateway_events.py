"""The events of a queue over HTTP: streams, long-polls, resuming, filters, tenants, slow readers and the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, Q, asgi, eventually, metric, open_store, run_one, served

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.gateway.limits import GatewayLimits
from laneway.tend.relay import Relay

EVENTS = f"{Q}/events"
SSE = {"Accept": "text/event-stream"}
JSON = {"Accept": "application/json"}


@pytest.fixture
async def store(redis7_url: str) -> AsyncIterator[RedisStore]:
    store = await open_store(redis7_url)
    yield store
    await store.close()


@pytest.fixture
async def relay(store: RedisStore, redis7_url: str) -> AsyncIterator[Relay]:
    own = RedisStore(redis7_url, "mail")
    relay = Relay(own, StreamEventLog(own), "default/mail")
    await relay.start()
    yield relay
    await relay.stop()
    await own.close()


class Stream:
    """What a client sees of a stream, event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self._lines = response.aiter_lines()

    async def next(self, *, stats: bool = False) -> tuple[str, dict[str, Any]]:
        """The next event with data: its name and what it says."""
        async with asyncio.timeout(10):
            name = data = ""
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif not line and data and (stats or name != "stats"):
                    return name, json.loads(data)
                elif not line:
                    name = data = ""
        raise EOFError

    async def of(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        while True:
            found, data = await self.next(stats=name == "stats")
            if found == name:
                return data

    async def ended(self) -> None:
        """Reads to the end, which must come."""
        async with asyncio.timeout(10):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[Stream]:
    async with client.stream("GET", EVENTS, params=query, headers=SSE | (headers or {})) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def submit(client: httpx.AsyncClient, **task: Any) -> str:
    answer = await client.post(TASKS, json={"type": "t", **task})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def poll(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get(EVENTS, params=query, headers=JSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_stream_tells_what_happens_as_it_happens(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client, stream(client) as events:
        id = await submit(client, lane="high")
        name, data = await events.next()
        assert (name, data["kind"], data["lane"], data["attempts"], data["ids"]) == (
            "submitted",
            "submitted",
            "high",
            0,
            [id],
        )
        assert data["at"].endswith("Z")
        await run_one(store)
        data = await events.of("succeeded")
        assert (data["ids"], data["attempts"]) == ([id], 1)


async def test_the_numbers_of_the_queue_come_in_the_same_stream_unless_unwanted(
    store: RedisStore, relay: Relay
) -> None:
    async with served(store) as client:
        async with stream(client) as events:
            first = await events.of("stats")
            assert first["tasks"]["submitted"] == 0
            await submit(client)
            while (await events.of("stats"))["tasks"]["queued"] != 1:
                pass
        async with stream(client, stats=0) as events:
            await submit(client)
            assert (await events.next(stats=True))[0] == "submitted"


async def test_a_stream_that_broke_goes_on_where_it_was(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        async with stream(client) as events:
            first = await submit(client)
            assert (await events.next())[1]["ids"] == [first]
            seen = events.last_id
        missed = [await submit(client) for _ in range(3)]
        async with stream(client, {"Last-Event-ID": seen}) as events:
            assert [(await events.next())[1]["ids"] for _ in range(3)] == [[id] for id in missed]
            assert events.last_id > seen
