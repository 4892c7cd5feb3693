"""What clients see of a queue's events: streams, event by event, and long-polls."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tests.contract.gateways import Q

EVENTS = f"{Q}/events"
SSE = {"Accept": "text/event-stream"}
JSON = {"Accept": "application/json"}


class Stream:
    """What a client sees of a stream, event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self._lines = response.aiter_lines()

    async def next(self, *, stats: bool = False) -> tuple[str, dict[str, Any]]:
        """The next event with data: its name and what it says."""
        async with asyncio.timeout(30):
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
        async with asyncio.timeout(30):
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


async def poll(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get(EVENTS, params=query, headers=JSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
