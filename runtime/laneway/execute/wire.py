"""What a worker and its child processes say to each other: msgpack after a length of four bytes (big-endian)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec

from laneway.model.envelope import Backoff
from laneway.model.settlement import Kind

_SIZE = 4


class Request(msgspec.Struct, array_like=True):
    """One task for a child. ``stored`` is its envelope as Redis keeps it; ``timeout`` is in seconds (0: unbounded);
    ``queue_backoff`` is for tasks that say nothing of it themselves; ``trace`` is the traceparent of the run's span, ''
    when it has none; ``saved`` is the checkpoint of an earlier attempt, and ``notes`` says whether the worker wants to
    know what the handler tells of itself."""

    id: bytes
    fence: int
    attempt: int
    crashes: int
    max_attempts: int
    worker: str
    lane: str
    timeout: float
    max_result: int
    stored: bytes
    queue_backoff: Backoff
    trace: str = ""
    saved: bytes | None = None
    notes: bool = False


class Told(msgspec.Struct, array_like=True, tag="told"):
    """What a handler tells of itself while it runs: how far it is, a checkpoint (``number`` counts them, and each is
    answered by a :class:`Heard`), log lines as (level, text), and how many lines were left out before them."""

    fraction: float | None = None
    message: str = ""
    checkpoint: bytes | None = None
    number: int = 0
    lines: list[tuple[str, str]] = []
    left_out: int = 0


class Heard(msgspec.Struct, array_like=True):
    """What became of checkpoint ``number``; ``error`` names the class of an error, '' when it is saved."""

    number: int
    error: str = ""
    text: str = ""


class Reply(msgspec.Struct, array_like=True, tag="reply"):
    """What became of it. ``asked``: the handler ended because the child was asked to stop."""

    kind: Kind
    delay_ms: float
    data: bytes | None
    raised: bool
    asked: bool


class Order(msgspec.Struct, array_like=True):
    """A worker's order to its fork server: ``fork`` (a socket comes with it), or ``signal`` child ``number``."""

    verb: str
    number: int
    signal: int = 0


class Event(msgspec.Struct, array_like=True):
    """What a fork server tells: ``ready``, ``born`` (value: pid), ``exit`` (value: exit code, negative: signal)
    or ``failed`` (text says why)."""

    verb: str
    number: int = 0
    value: int = 0
    text: str = ""


_encode = msgspec.msgpack.Encoder().encode


def frame(message: msgspec.Struct) -> bytes:
    """A message as sent."""
    body = _encode(message)
    return len(body).to_bytes(_SIZE, "big") + body


class Frames:
    """Cuts a stream of bytes into the bodies of messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete with ``data``."""
        self._buffer += data
        while len(self._buffer) >= _SIZE:
            end = _SIZE + int.from_bytes(self._buffer[:_SIZE], "big")
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_SIZE:end])
            del self._buffer[:end]
            yield body


def receive(sock: socket.socket) -> bytes | None:
    """Waits for one message; None when the other end is gone."""
    head = _exactly(sock, _SIZE)
    return None if head is None else _exactly(sock, int.from_bytes(head, "big"))


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            data = sock.recv(min(size - len(parts), 1_048_576))
        except ConnectionError:
            return None
        if not data:
            return None
        parts += data
    return bytes(parts)
