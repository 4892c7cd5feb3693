"""The id that a queue's data in Redis carries: it is made once, and goes wherever the data goes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.exceptions import RedisError

from laneway.adapters.redis.connection import AWAY, AnyRedis, connect, turned_away
from laneway.adapters.redis.keys import QueueKeys
from laneway.errors import Unavailable
from laneway.model.servers import RedisServer
from laneway_operator.engine.fence import Fence
from laneway_operator.observe.limiter import AccessDenied

_T = TypeVar("_T")
_FIELD: Final = "id"
_LONGEST_S: Final = 3.0


async def read_id(server: RedisServer, namespace: str, queue: str) -> str | None:
    """The id of the queue's data there; None: there is no data, or it has none yet.

    Raises:
        Unavailable, AccessDenied: Redis is away, or refused.
    """
    return await _with_client(server, lambda client: _read(client, QueueKeys(namespace, queue).key("meta")))


async def ensure_id(server: RedisServer, namespace: str, queue: str, fence: Fence) -> str:
    """The id of the queue's data there, which gets one if it has none.

    Raises:
        Unavailable, AccessDenied: Redis is away, or refused.
        NotLeading: nothing was written.
    """

    async def ensure(client: AnyRedis) -> str:
        key = QueueKeys(namespace, queue).key("meta")
        if known := await _read(client, key):
            return known
        fence.check()  # (one operator leads, so nobody else writes it meanwhile)
        made = secrets.token_hex(8)
        await client.hset(key, _FIELD, made)
        return made

    return await _with_client(server, ensure)


async def _read(client: AnyRedis, key: str) -> str | None:
    raw = await client.hget(key, _FIELD)
    return raw.decode() if raw else None


async def _with_client(server: RedisServer, call: Callable[[AnyRedis], Awaitable[_T]]) -> _T:
    client: AnyRedis = connect(server)
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await call(client)
    except (*AWAY, RedisError) as error:
        if denied := turned_away(server, error):
            raise AccessDenied(str(denied)) from error
        what = "is away" if isinstance(error, AWAY) else "refused"
        raise Unavailable(f"Redis at {server.address} {what} ({str(error) or 'no answer in time'})", 1.0) from error
    finally:
        await client.aclose()
