"""A TCP proxy between clients and Redis that loses what it is told to lose.

It counts whole commands and replies, so a test can say "the second EVALSHA is carried out, and nobody hears
of it". Its own thread runs the traffic; the methods may be called from any thread, also from one that runs
an event loop.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeVar

from servers.ports import free_port
from servers.resp import PUSH, Frames, arguments

Command = tuple[bytes, ...]
Match = str | Callable[[Command], bool]
Moment = Literal["before-request", "before-reply"]
T = TypeVar("T")

# After these, replies no longer answer commands one by one: such a connection is passed through uncounted.
_UNPAIRED = {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR", b"SYNC", b"PSYNC"}
_CHUNK = 1 << 16


@dataclass(eq=False)
class Fault:
    """One loss to come: the connection that sends the nth matching command is closed at the given moment."""

    nth: int
    match: Callable[[Command], bool]
    moment: Moment
    seen: int = 0
    command: Command | None = None
    """The command that was hit, once it was."""
    _fired: threading.Event = field(default_factory=threading.Event)

    @property
    def fired(self) -> bool:
        """True once the connection was closed."""
        return self._fired.is_set()

    def wait(self, timeout: float = 10.0) -> Command:
        """The command that was hit, as soon as it is; an error after `timeout` seconds."""
        if not self._fired.wait(timeout) or self.command is None:
            raise TimeoutError(f"no fault within {timeout:g} s: {self.seen} of {self.nth} commands were seen")
        return self.command

    def _takes(self, command: Command) -> bool:
        if self.command is not None or not self.match(command):
            return False
        self.seen += 1
        if self.seen < self.nth:
            return False
        self.command = command
        return True


@dataclass(eq=False)
class _Link:
    """One client's connection and its twin to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    waiting: deque[Fault | None] = field(default_factory=deque)  # one for each command without its reply yet
    paired: bool = True

    def abort(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class RedisProxy:
    """Listens on loopback and passes everything on to the server at `upstream_port`, until told otherwise."""

    def __init__(self, upstream_port: int, *, port: int | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = free_port() if port is None else port
        self.upstream_port = upstream_port
        self.requests = 0
        """Commands passed on to the server."""
        self.replies = 0
        """Replies passed back to clients."""
        self._faults: list[Fault] = []
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._flowing = asyncio.Event()

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._links)

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> "RedisProxy":
        """Start listening. Starting twice is fine."""
        if self._thread is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name="redis-proxy", daemon=True)
            self._thread.start()
            self._do(self._heal())
        return self

    def stop(self) -> None:
        """Close everything. Stopping twice, or before starting, is fine."""
        if self._loop is None or self._thread is None:
            return
        self._do(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def __enter__(self) -> "RedisProxy":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- faults -------------------------------------------------------------------------------------

    def drop_reply(self, nth: int = 1, match: Match | None = None) -> Fault:
        """Let the server carry out the nth matching command from now on, and close before its reply.

        Replies to earlier commands on that connection are delivered. `match` is a command's name, or a
        function of its arguments (name first); None matches every command.
        """
        return self._add(nth, match, "before-reply")

    def drop_request(self, nth: int = 1, match: Match | None = None) -> Fault:
        """Close the connection on the nth matching command, which the server never gets."""
        return self._add(nth, match, "before-request")

    def clear(self) -> None:
        """Forget the faults that have not happened."""
        self._do(self._forget())

    def refuse(self) -> None:
        """Close all connections and stop listening: clients get "connection refused" until `heal`."""
        self._do(self._refuse())

    def blackhole(self) -> None:
        """Keep all connections, pass nothing on in either direction, until `heal` delivers what waited."""
        self._do(self._blackhole())

    def heal(self) -> None:
        """Listen and pass everything on again."""
        self._do(self._heal())

    def cut(self) -> None:
        """Close all connections now; new ones are welcome."""
        self._do(self._cut())

    @contextmanager
    def partition(self, kind: Literal["refuse", "blackhole"] = "blackhole") -> Iterator[None]:
        """Refuse or swallow all traffic for the length of a `with` block."""
        (self.refuse if kind == "refuse" else self.blackhole)()
        try:
            yield
        finally:
            self.heal()

    # -- from here on: in the proxy's own thread ----------------------------------------------------

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the proxy is not started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _add(self, nth: int, match: Match | None, moment: Moment) -> Fault:
        fault = Fault(nth, _predicate(match), moment)

        async def add() -> None:
            self._faults.append(fault)

        self._do(add())
        return fault

    async def _forget(self) -> None:
        self._faults.clear()

    async def _heal(self) -> None:
        self._flowing.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, self.host, self.port)

    async def _blackhole(self) -> None:
        self._flowing.clear()

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._cut()

    async def _cut(self) -> None:
        for link in list(self._links):
            link.abort()

    async def _close_all(self) -> None:
        self._faults.clear()
        await self._refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(self.host, self.upstream_port)
        except OSError:
            writer.transport.abort()  # the server is away: so are we
            return
        link = _Link(writer, server)
        self._links.add(link)
        pumps = [
            asyncio.ensure_future(self._requests(reader, link)),
            asyncio.ensure_future(self._replies(answers, link)),
        ]
        try:
            # When either side ends, so does the other, as with one connection.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            link.abort()
            self._links.discard(link)

    async def _requests(self, reader: asyncio.StreamReader, link: _Link) -> None:
        frames = Frames()
        while data := await _read(reader):
            await self._flowing.wait()
            if not link.paired:
                await _write(link.server, frames.rest() + data)
                continue
            for frame in frames.feed(data):
                fault = self._judge(frame, link)
                if fault is not None and fault.moment == "before-request":
                    self._fire(fault, link)
                    return
                self.requests += 1
                link.server.write(frame)
            await _write(link.server, b"")

    async def _replies(self, reader: asyncio.StreamReader, link: _Link) -> None:
        frames = Frames()
        while data := await _read(reader):
            await self._flowing.wait()
            if not link.paired:
                await _write(link.client, frames.rest() + data)
                continue
            for frame in frames.feed(data):
                fault = link.waiting.popleft() if frame[0] != PUSH and link.waiting else None
                if fault is not None:
                    await _closed(link.client)
                    self._fire(fault, link)
                    return
                self.replies += 1
                link.client.write(frame)
            await _write(link.client, b"")

    def _judge(self, frame: bytes, link: _Link) -> Fault | None:
        """The fault that this command meets, if any; it also enters the queue of awaited replies."""
        command = arguments(frame)
        if command and command[0].upper() in _UNPAIRED:
            link.paired = False
            return None
        fault = next((fault for fault in self._faults if fault._takes(command)), None)
        link.waiting.append(fault)
        return fault

    def _fire(self, fault: Fault, link: _Link) -> None:
        with suppress(ValueError):
            self._faults.remove(fault)
        link.abort()
        fault._fired.set()


def _predicate(match: Match | None) -> Callable[[Command], bool]:
    if match is None:
        return lambda command: True
    if isinstance(match, str):
        name = match.upper().encode()
        return lambda command: bool(command) and command[0].upper() == name
    return match


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except OSError:
        return b""


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(OSError):
        if data:
            writer.write(data)
        await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Deliver what was written, and close."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
