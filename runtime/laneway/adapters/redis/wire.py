"""The shortest way to Redis: one packed command, one reply, on a connection that redis-py has made.

The client's own path costs a multiple per call (a timer for each write and read, a stream between the socket and the
parser, packing in Python); scripts are what every task pays for, so they take this one. redis-py connects: it knows
addresses, logins and TLS. From then on what arrives goes from the event loop straight to the parser, and the call that
waits for it goes on with the next turn of the loop. A watchdog ends calls that get no answer in time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import hiredis
from hiredis import pack_command
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError, InvalidResponse, RedisError, ResponseError

from laneway.adapters.redis.connection import AnyRedis

#: A command as it is packed: its name and arguments.
Command = tuple[bytes | str | int | float, ...]

_NOTHING = object()  # the parser has no whole reply yet
#: What the server tells unasked (hiredis before 3.2 knows no such thing).
_PUSHED: Any = getattr(hiredis, "PushNotification", ())


_GIVEN_UP = ConnectionError("the connection was closed here")


class _Line(asyncio.Protocol):
    """The socket of a connection of redis-py after its login: takes the replies to one call at a time."""

    __slots__ = ("_before", "_left", "_parser", "_refused", "_transport", "_waiter", "_writer", "began", "lost")

    def __init__(self, connection: Any) -> None:
        # From here on it is closed by this one alone.
        self._writer: asyncio.StreamWriter = connection._writer
        connection._reader = connection._writer = None
        self._transport: Any = self._writer.transport
        self._before: Any = self._transport.get_protocol()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_NOTHING
        )
        self._waiter: asyncio.Future[Any] | None = None
        self._left = 0
        self._refused: ResponseError | None = None
        self.began = 0.0
        self.lost = False
        self._transport.set_protocol(self)

    def send(self, packed: bytes, replies: int, waiter: asyncio.Future[Any]) -> None:
        """Sends a call. ``waiter`` gets the last of so many replies, or the last error among them."""
        self._waiter, self._left, self._refused = waiter, replies, None
        self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        try:
            parser.feed(data)
            while self._left:
                reply = parser.gets()
                if reply is _NOTHING:
                    return
                if isinstance(reply, _PUSHED):
                    continue
                self._left -= 1
                if isinstance(reply, ResponseError):
                    self._refused = reply
                elif isinstance(reply, RedisError):
                    raise reply
        except RedisError as error:
            self.cut(error)
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if self._refused is not None:
            waiter.set_exception(self._refused)
        else:
            waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"the connection broke: {exc}" if exc else "the server closed the connection"))
        self._before.connection_lost(None)  # (what waits for the writer to be closed)

    def eof_received(self) -> None:
        """(The transport closes itself then.)"""

    def pause_writing(self) -> None:
        """One call at a time is written, and it waits for its reply: nothing piles up."""

    def resume_writing(self) -> None:
        """See :meth:`pause_writing`."""

    def _fail(self, error: Exception) -> None:
        self.lost = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def cut(self, error: Exception) -> None:
        """Closes the connection now; who waits for a reply gets ``error``."""
        self._fail(error)
        self._transport.abort()

    async def closed(self) -> None:
        """Returns when it is closed."""
        with suppress(OSError):
            await self._writer.wait_closed()


class Wire:
    """Calls on one event loop. ``timeout`` (s) bounds each; an answer that comes later is lost with its connection. At
    most ``most`` are under way at once, each on a connection of its own; others wait their turn."""

    def __init__(self, client: AnyRedis, *, timeout: float, most: int = 32) -> None:
        self._pool = client.connection_pool
        self._timeout = timeout
        self._turn = asyncio.Semaphore(most)
        self._free: list[_Line] = []
        self._busy: set[_Line] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._closed = False

    async def execute(self, *command: bytes | str | int | float) -> Any:
        """Sends one command and returns its reply; what the server refuses is raised as ResponseError.

        Raises:
            redis.exceptions.ConnectionError: there was no connection, or it broke before the answer.
        """
        return await self._exchange(pack_command(command), 1)  # type: ignore[arg-type]  # (its stub knows no such tuples)

    async def execute_both(self, first: Command, second: Command) -> Any:
        """Sends two commands at once, the second of which runs as soon as the first is over, and returns the reply to
        the second. Raises as :meth:`execute`, for either."""
        return await self._exchange(pack_command(first) + pack_command(second), 2)  # type: ignore[arg-type]

    async def _exchange(self, packed: bytes, replies: int) -> Any:
        """Sends, reads so many replies, and returns the last."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._watchdog = loop.create_task(self._watch(), name="laneway-redis-watchdog")
        async with self._turn:
            line = self._free.pop() if self._free else None
            while line is None or line.lost:
                line = self._free.pop() if self._free else await self._connect()
            if self._closed:
                line.cut(_GIVEN_UP)
                raise _GIVEN_UP
            waiter: asyncio.Future[Any] = loop.create_future()
            line.began = loop.time()
            self._busy.add(line)
            try:
                line.send(packed, replies, waiter)
                return await waiter
            finally:
                self._busy.discard(line)
                if waiter.cancelled():
                    line.cut(_GIVEN_UP)  # its next bytes would answer another call
                elif not line.lost:
                    self._free.append(line)

    async def _connect(self) -> _Line:
        connection = self._pool.make_connection()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise ConnectionError(f"no answer for {self._timeout:g} s when connecting to Redis") from None
            raise
        return _Line(connection)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._timeout / 4)
            late = loop.time() - self._timeout
            for line in list(self._busy):
                if line.began < late:
                    line.cut(ConnectionError(f"no answer for {self._timeout:g} s"))

    async def close(self) -> None:
        """Closes the connections."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
        for line in (lines := [*self._free, *self._busy]):
            line.cut(_GIVEN_UP)
        for line in lines:
            await line.closed()
        self._free.clear()
