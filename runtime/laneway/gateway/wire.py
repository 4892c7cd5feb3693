"""uvicorn's HTTP protocol with bounds on a request's head, on the time that a request takes to come and on connections,
and with problems for what is not HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from laneway.gateway.limits import GatewayLimits
from laneway.gateway.problems import MEDIA_TYPE, Problem, later

#: The request line and headers of one request, in bytes (431 above). Trailers after a chunked body count alike.
MAX_HEAD = 65_536

# A client that is still sending would lose the answer to a reset connection, so what it sends is read and
# dropped for a while.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 4 * 1_048_576


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads over :data:`MAX_HEAD`, also such as never end, and tells what is not HTTP as a problem.

    A head that ends is measured exactly; one that does not is cut off within one read (256 KiB) of the limit.
    Connections over the limit are told so and closed, and so are those whose request does not come whole in time (see
    :meth:`end_if_slow`). What is sent has no such bound here.
    """

    limits = GatewayLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived = 0  # bytes of this read
        self._waiting = 0  # bytes of the reads before it that ended neither a head nor brought a body
        self._progress = False
        self._refused = False
        self._dropped = 0
        # Since when (by the monotonic clock) what is awaited: a head, a body, and the next byte of that.
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._byte_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        super().connection_made(transport)
        self._head_since = time.monotonic()
        most = self.limits.max_connections
        if len(self.connections) > most:
            self._refused = True
            transport.write(_answer(later("too-many-connections", f"{most:,} connections are open here already", 1.0)))
            transport.close()

    def end_if_slow(self, now: float) -> None:
        """Ends the connection if what it has to send is overdue: a head 10 s after it began (or after the connection
        did), a body 30 s after its last byte or 300 s after its head."""
        if self._refused or self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        answered = cycle is None or cycle.response_complete
        limits = self.limits
        if self._body_since is not None:
            if self.flow.read_paused:  # it is not the client who is slow
                self._byte_at = now
            elif now - self._byte_at > limits.body_stall_seconds:
                self._end(answered, f"no byte of the body came for {limits.body_stall_seconds:g} s")
            elif now - self._body_since > limits.body_seconds:
                self._end(answered, f"the body was not whole {limits.body_seconds:g} s after its head")
        elif self._head_since is not None and answered and now - self._head_since > limits.head_seconds:
            # (Who has sent nothing is not told that his request is slow.)
            self._end(not self._waiting, f"the head was not whole in {limits.head_seconds:g} s")

    def _end(self, silently: bool, why: str) -> None:
        if silently:
            self.transport.close()
        else:
            self._refuse(Problem("too-slow", why))

    def on_message_begin(self) -> None:
        """The first bytes of a request are there."""
        if self._head_since is None:
            self._head_since = time.monotonic()
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Parses what has arrived."""
        if self._refused:
            self._dropped += len(data)
            if self._dropped > _LINGER_BYTES:
                self.transport.close()
            return
        self._arrived = len(data)
        self._progress = False
        super().data_received(data)
        if self._progress:
            self._waiting = 0
            return
        self._waiting += len(data)
        if self._waiting > MAX_HEAD and not self._refused:
            self._refuse(_too_large())
        cycle: RequestResponseCycle | None = self.cycle
        if (
            self._head_since is None
            and self._body_since is None
            and self.timeout_keep_alive_task is None
            and (cycle is None or cycle.response_complete)
        ):  # what came belongs to no request, yet it has ended the wait for one
            self._head_since = time.monotonic()

    def on_headers_complete(self) -> None:
        """The head is there: measured only when it can be over the limit."""
        self._progress = True
        self._head_since = None
        self._body_since = self._byte_at = time.monotonic()
        if self._waiting + self._arrived > MAX_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD:
                self._refuse(_too_large())
                raise ValueError("the head is too large")  # ends the parsing
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            text = "a request has one Host header" + (f", not {hosts}" if hosts else ", and this has none")
            self._refuse(Problem("malformed-request", text))
            raise ValueError(text)  # ends the parsing
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._progress = True
        self._byte_at = time.monotonic()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there whole."""
        self._progress = True
        self._body_since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called when what has arrived can't be parsed."""
        if not self._refused:
            self._refuse(Problem("malformed-request", "this is not HTTP/1.1, or its framing is broken"))

    def _refuse(self, problem: Problem) -> None:
        """Answers and closes. Where the answer would be taken for that to an earlier request, which may be under
        way, it only closes."""
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if self.pipeline or (
            cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)
        ):
            self.transport.close()
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # its body will not come to an end
            cycle.message_event.set()
        self.transport.write(_answer(problem))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def bounded_http(given: GatewayLimits) -> type[BoundedHttp]:
    """The protocol with these limits."""

    class Bounded(BoundedHttp):
        limits = given

    return Bounded


def _answer(problem: Problem) -> bytes:
    """A whole answer after which the connection ends."""
    body = msgspec.json.encode(problem.body)
    headers = {**problem.headers, "content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.kind.status] + head.encode() + b"\r\n" + body


def _too_large() -> Problem:
    return Problem(
        "head-too-large",
        f"the request line and headers are over {MAX_HEAD:,} bytes: send data in the body",
        limit=MAX_HEAD,
    )
