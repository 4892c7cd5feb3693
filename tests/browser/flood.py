"""A stream of events at a steady, high rate: the gateway's format, without the queue's work that would go with it."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx


class Flood:
    """An HTTP server on loopback with one stream: ``rate`` events a second for ``seconds`` once told to begin, and
    each second the numbers of the real queue."""

    def __init__(self, gateway: str, *, rate: int, seconds: float) -> None:
        self.sent = 0
        self._total = int(rate * seconds)
        self._rate = rate
        self._stats = httpx.get(f"{gateway}/api/v1/queues/shop/stats", timeout=20).text
        self._begin = threading.Event()
        self._sent_all = threading.Event()
        self._over = threading.Event()
        flood = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                flood._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: a test's output is its own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._begin.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def begin(self) -> None:
        """Lets it loose."""
        self._begin.set()

    def until_sent(self) -> None:
        """Waits for the last event to be written."""
        assert self._sent_all.wait(60), f"{self.sent} of {self._total} events were taken"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            self._write(handler, f"retry: 1000\nid: 1\n\nevent: stats\nid: 1\ndata: {self._stats}\n\n")
            self._begin.wait(60)
            began = time.monotonic()
            while self.sent < self._total and not self._over.is_set():
                due = min(self._total, int((time.monotonic() - began) * self._rate) + 1)
                self._write(handler, "".join(self._frame(n) for n in range(self.sent, due)))
                if self.sent // self._rate != due // self._rate:
                    self._write(handler, f"event: stats\nid: {due}\ndata: {self._stats}\n\n")
                self.sent = due
                time.sleep(0.005)  # (a rate is what this is about)
            self._sent_all.set()
            while not self._over.wait(2.0):
                self._write(handler, ": heartbeat\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page was left, or the stream is read anew

    def _write(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        handler.wfile.write(text.encode())
        handler.wfile.flush()

    def _frame(self, n: int) -> str:
        kind = ("submitted", "succeeded", "retried", "dead")[n % 4]
        lane = "flood-last" if n == self._total - 1 else ("urgent", "normal", "bulk")[n % 3]
        data = {
            "at": datetime.now(UTC).isoformat(), "kind": kind, "lane": lane, "attempts": 1,
            "ids": [f"{n:022d}a"],
        }  # fmt: skip
        return f"event: {kind}\nid: {n + 2}\ndata: {json.dumps(data)}\n\n"
