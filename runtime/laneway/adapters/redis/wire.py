"""The shortest way through redis-py: one packed command, one reply, on a connection of its pool.

The client's own path costs about twice as much per call (a timer for each write and read, packing in Python); scripts
are what every task pays for, so they take this one. A watchdog ends calls that get no answer in time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis.exceptions import RedisError, ResponseError

from laneway.adapters.redis.connection import AnyRedis

#: A command as it is packed: its name and arguments.
Command = tuple[bytes | str | int | float, ...]


class Wire:
    """Calls on one event loop. ``timeout`` (s) bounds each; an answer that comes later is lost with its connection. At
    most ``most`` are under way at once, each on a connection of its own; others wait their turn."""

    def __init__(self, client: AnyRedis, *, timeout: float, most: int = 32) -> None:
        self._pool = client.connection_pool
        self._timeout = timeout
        self._turn = asyncio.Semaphore(most)
        self._free: list[Any] = []
        self._busy: dict[Any, float] = {}
        self._watchdog: asyncio.Task[None] | None = None

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
        if self._watchdog is None:
            self._watchdog = asyncio.create_task(self._watch(), name="laneway-redis-watchdog")
        async with self._turn:
            connection = self._free.pop() if self._free else self._pool.make_connection()
            self._busy[connection] = asyncio.get_running_loop().time()
            left = replies
            reply: Any = None
            refused: ResponseError | None = None
            try:
                await connection.send_packed_command(packed, check_health=False)
                while left:
                    try:
                        reply = await connection.read_response(disconnect_on_error=False)
                    except ResponseError as error:
                        refused = error
                    left -= 1
                if refused is not None:
                    raise refused
                return reply
            finally:
                del self._busy[connection]
                if not left:
                    self._free.append(connection)
                else:
                    # Broken, or given up half-way: its next bytes would answer another call.
                    await connection.disconnect(nowait=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._timeout / 4)
            late = asyncio.get_running_loop().time() - self._timeout
            for connection, began in list(self._busy.items()):
                if began < late:
                    with suppress(OSError, RedisError):  # (however it ends, the connection is gone)
                        await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Closes the connections."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
            self._watchdog = None
        for connection in [*self._free, *self._busy]:
            await connection.disconnect()
        self._free.clear()
