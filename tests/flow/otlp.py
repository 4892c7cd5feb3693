"""A tiny OTLP/HTTP collector: takes what exporters send, decodes the protobuf, and keeps the spans."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Span:
    """One span as it came over the wire."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    begin: int
    end: int
    service: str
    error: bool
    attributes: dict[str, Any]
    links: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    @property
    def operation(self) -> str:
        """The first word of its name."""
        return self.name.split()[0]


class Collector:
    """Listens on a free port of loopback while it is entered."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces", self.path
                collector.spans += _decode(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **more: str) -> dict[str, str]:
        """What makes a process send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}

    def of(self, trace: str) -> list[Span]:
        """The spans of one trace so far, by their beginning."""
        return sorted((span for span in list(self.spans) if span.trace == trace), key=lambda span: span.begin)

    async def until(
        self,
        trace: str,
        operations: Iterable[str],
        timeout: float = 20.0,
        *,
        such: Callable[[Span], bool] | None = None,
    ) -> list[Span]:
        """The spans of a trace, once it has those of these operations (a name twice: two of them)."""
        deadline = time.monotonic() + timeout
        want = sorted(operations)
        while True:
            found = [span for span in self.of(trace) if such is None or such(span)]
            have = [span.operation for span in found]
            if all(have.count(name) >= want.count(name) for name in want):
                return found
            assert time.monotonic() < deadline, f"trace {trace} has {sorted(have)}, not yet all of {want}"
            await asyncio.sleep(0.05)


def _decode(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    out = []
    for resource in request.resource_spans:
        about = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                out.append(
                    Span(
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        kind=span.kind,
                        begin=span.start_time_unix_nano,
                        end=span.end_time_unix_nano,
                        service=about["service.name"],
                        error=span.status.code == 2,
                        attributes={pair.key: _value(pair.value) for pair in span.attributes},
                        links=[link.span_id.hex() for link in span.links],
                        events=[event.name for event in span.events],
                    )
                )
    return out


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
