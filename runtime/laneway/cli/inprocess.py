"""The HTTP API within this process: requests of a client go straight to the application, and answers come back as they
are made. (httpx's own ASGITransport gives an answer only when it is complete, which a stream of events never is.)"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

#: How many parts of an answer may wait for their reader.
_PARTS = 16
#: How long an application may take to see that its reader has gone (s), before it is cancelled.
_PARTING_S = 1.0


class InProcess(httpx.AsyncBaseTransport):
    """Hands requests to ``app``. Its lifespan is not run: what the API needs of it starts on use."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request. What the application raises is raised here."""
        body = await request.aread()
        call = _Call(body)
        call.task = asyncio.create_task(call.run(self._app, _scope(request)))
        await call.started.wait()
        if call.start is None:
            await call.task  # raises what went wrong
            raise RuntimeError(f"the application ended without an answer to {request.url.path}")
        return httpx.Response(call.start["status"], headers=call.start["headers"], stream=call)


class _Call(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self.started = asyncio.Event()
        self.start: Message | None = None
        self.task: asyncio.Task[None] | None = None
        self._body: bytes | None = body
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(_PARTS)
        self._gone = asyncio.Event()

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            self.started.set()
            if not self._gone.is_set():
                await self._parts.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            self.started.set()
        elif message.get("body") and not self._gone.is_set():
            await self._parts.put(message["body"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part
        if self.task is not None:
            await self.task

    async def aclose(self) -> None:
        self._gone.set()
        while not self._parts.empty():  # lets an application go on that waits to send
            self._parts.get_nowait()
        if self.task is None or self.task.done():
            return
        await asyncio.wait([self.task], timeout=_PARTING_S)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        "state": {},
    }
