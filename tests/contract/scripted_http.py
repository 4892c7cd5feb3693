"""A server whose every answer is given beforehand, for what a real gateway does only now and then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Scripted:
    """``seen`` has the head of each request; ``answers`` are raw, in order, and the connection closes after each. None:
    it closes without one."""

    answers: list[bytes | None]
    seen: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((int(v) for n, _, v in _headers(head) if n == "content-length"), 0)
            body = (await reader.readexactly(length)).decode()
            self.seen.append(head + body)
            answer = self.answers.pop(0)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()


def _headers(head: str) -> list[tuple[str, str, str]]:
    parts = [line.partition(":") for line in head.split("\r\n")[1:] if line]
    return [(name.lower(), colon, value.strip()) for name, colon, value in parts]


def answer(status: int, body: str, *headers: str, kind: str = "application/json") -> bytes:
    """An answer whole."""
    raw = body.encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Type: {kind}",
        f"Content-Length: {len(raw)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def stream(*parts: str) -> bytes:
    """An answer that goes on until the connection closes, of server-sent events."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return (head + "".join(parts)).encode()


@asynccontextmanager
async def scripted(*answers: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serves on a free port of loopback."""
    script = Scripted(list(answers))
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
        await server.wait_closed()
