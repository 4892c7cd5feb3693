"""Durability `replica`: waiting until enough replicas have a submission.

WAIT speaks of the writes of its own connection. On another one than the submission's it would answer at once with the
number of replicas that are connected, whatever they have. So a small write goes first here, on WAIT's own connection:
it comes after the submission in the one stream that replicas follow, and whoever has it has the submission too.
"""

from __future__ import annotations

from typing import Any

from hiredis import pack_command
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ConnectionError

from laneway.adapters.redis.connection import AnyRedis


class Replicas:
    """Counts acknowledgements for the queue whose numbers are in ``meta``. Calls may overlap: WAIT blocks its
    connection, so each call has one of its own while it waits."""

    def __init__(self, client: AnyRedis, meta: str) -> None:
        self._client = client
        self._meta = meta
        self._free: list[Any] = []

    async def acknowledged(self, wanted: int, ms: int) -> int:
        """How many replicas have all that was written before this call, after ``wanted`` do or ``ms`` passed.

        Raises:
            redis.exceptions.RedisError: the server does not answer, or refuses to write.
        """
        connection = self._free.pop() if self._free else await self._connection()
        whole = False
        try:
            write = pack_command((b"HSET", self._meta, b"replicated", b"1"))  # type: ignore[arg-type]
            wait = pack_command((b"WAIT", wanted, ms))  # type: ignore[arg-type]
            await connection.send_packed_command(write + wait, check_health=False)
            written = await connection.read_response(disconnect_on_error=False)
            count = await connection.read_response(disconnect_on_error=False)
            whole = True
        finally:
            if whole:
                self._free.append(connection)
            else:
                await connection.disconnect(nowait=True)
        if isinstance(written, Exception):
            raise written
        return int(count)

    async def _connection(self) -> Any:
        if not isinstance(self._client, RedisCluster):
            return self._client.connection_pool.make_connection()
        await self._client.initialize()
        node = self._client.get_node_from_key(self._meta)
        if node is None:
            raise ConnectionError("no node of the cluster has this queue's slot now")
        return node.connection_class(**node.connection_kwargs)

    async def close(self) -> None:
        """Ends the connections."""
        while self._free:
            await self._free.pop().disconnect()
