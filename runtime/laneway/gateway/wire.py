"""uvicorn's HTTP protocol with a bound on a request's head, and with problems for what is not HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from laneway.gateway.problems import MEDIA_TYPE, Problem

#: The request line and headers of one request, in bytes (431 above). Trailers after a chunked body count alike.
MAX_HEAD = 65_536

# A client that is still sending would lose the answer to a reset connection, so what it sends is read and
# dropped for a while.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 4 * 1_048_576


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads over :data:`MAX_HEAD`, also such as never end, and tells what is not HTTP as a problem.

    A head that ends is measured exactly; one that does not is cut off within one read (256 KiB) of the limit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived = 0  # bytes of this read
        self._waiting = 0  # bytes of the reads before it that ended neither a head nor brought a body
        self._progress = False
        self._refused = False
        self._dropped = 0

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

    def on_headers_complete(self) -> None:
        """The head is there: measured only when it can be over the limit."""
        self._progress = True
        if self._waiting + self._arrived > MAX_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD:
                self._refuse(_too_large())
                raise ValueError("the head is too large")  # ends the parsing
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there whole."""
        self._progress = True
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
        body = msgspec.json.encode(problem.body)
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[problem.kind.status] + head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def _too_large() -> Problem:
    return Problem(
        "head-too-large",
        f"the request line and headers are over {MAX_HEAD:,} bytes: send data in the body",
        limit=MAX_HEAD,
    )
