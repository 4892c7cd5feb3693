"""Inside a child process: what the handler tells of itself, sent to the worker, which writes it down."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import msgspec

from laneway import errors
from laneway.errors import LanewayError, LeaseLost, Unavailable
from laneway.execute.notebook import cut
from laneway.execute.wire import Heard, Told, frame, receive
from laneway.model.notes import LINE_CHARS, LINES_KEPT, NOTHING

T = TypeVar("T")

_decode = msgspec.msgpack.Decoder(Heard).decode
#: Progress goes to the worker at most this often (s), which writes it less often still.
_APART = 0.25
#: Lines that go to the worker as they come: per second, and at once. More are gathered, and the last of them sent.
_RATE, _BURST = 200.0, 400.0


class ChildNotes:
    """The notes of one attempt. Calls may come from any thread of the process. ``unbroken`` is a context in which the
    signal to stop waits: half a message would be the end of all others."""

    def __init__(
        self, sock: socket.socket, saved: bytes | None, unbroken: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.saved = saved
        self._sock = sock
        self._unbroken = unbroken
        self._lock = threading.RLock()
        self._asking = threading.Lock()
        self._number = 0
        self._progress: tuple[float, str] | None = None
        self._timer: threading.Timer | None = None
        self._sent = float("-inf")
        self._room, self._filled = _BURST, time.monotonic()
        self._lines: list[tuple[str, str]] = []
        self._left_out = 0
        self._closed = False

    def progress(self, fraction: float, message: str) -> None:
        """How far it is; the last value counts."""
        with self._unbroken(), self._lock:
            if self._closed:
                return
            self._progress = (fraction, message)
            wait = self._sent + _APART - time.monotonic()
            if wait <= 0:
                self._send_progress()
            else:
                self._later(wait)

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._late)
            self._timer.daemon = True
            self._timer.start()

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            if not self._closed:
                self._send_lines()
                self._send_progress()

    def _send_progress(self) -> None:
        if self._progress is not None:
            (fraction, message), self._progress = self._progress, None
            self._sent = time.monotonic()
            self._send(Told(fraction, message))

    def line(self, level: str, message: str) -> None:
        """One line of its log: sent at once while there is room, else a little later, the last of those that came."""
        with self._unbroken(), self._lock:
            if self._closed:
                return
            self._lines.append((level, cut(message, LINE_CHARS)))
            if len(self._lines) > LINES_KEPT:
                del self._lines[0]
                self._left_out += 1
            now = time.monotonic()
            self._room, self._filled = min(_BURST, self._room + (now - self._filled) * _RATE), now
            if self._room >= len(self._lines):
                self._send_lines()
            else:
                self._later(_APART)

    def _send_lines(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            left_out, self._left_out = self._left_out, 0
            self._room = max(0.0, self._room - len(lines))
            self._send(Told(lines=lines, left_out=left_out))

    async def checkpoint(self, data: bytes) -> None:
        """Saves a checkpoint; the loop goes on meanwhile."""
        await asyncio.to_thread(self.checkpoint_now, data)

    def checkpoint_now(self, data: bytes) -> None:
        """Saves a checkpoint, and waits until the worker says that it is there.

        Raises:
            LeaseLost, Unavailable, OutcomeUnknown: as in the worker.
        """
        with self._asking:
            with self._unbroken(), self._lock:
                if self._closed:
                    raise LeaseLost("this attempt has ended; nothing was saved")
                self._number += 1
                number = self._number
                self._send(Told(checkpoint=data, number=number))
            heard = self._hear(number)
        if heard.error:
            kind = getattr(errors, heard.error, LanewayError)
            raise kind(heard.text) if issubclass(kind, LanewayError) else LanewayError(heard.text)
        self.saved = None if data == NOTHING else data

    def _hear(self, number: int) -> Heard:
        while True:
            select.select([self._sock], [], [])  # here the signal to stop may come
            with self._unbroken():
                raw = receive(self._sock)
            if raw is None:
                raise Unavailable("the worker is gone; nothing is known of the checkpoint", 1.0)
            heard = _decode(raw)
            if heard.number == number:  # (an earlier one's, when the wait for it was cut short)
                return heard

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Does it here: this process has no loop of the worker's."""
        return asyncio.run(work)

    def close(self) -> None:
        """The attempt ends: the last lines and progress are sent, and nothing more."""
        with self._asking, self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._send_lines()
            self._send_progress()
            self._closed = True

    def _send(self, told: Told) -> None:
        try:
            self._sock.sendall(frame(told))
        except ConnectionError:
            self._closed = True  # the worker is gone, and with it whoever could write this down
