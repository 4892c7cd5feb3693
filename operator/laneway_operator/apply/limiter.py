"""Writes the live configuration of a queue, and erases what Redis has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from redis.exceptions import ResponseError

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import turned_away
from laneway.errors import Unavailable
from laneway.lanes.configure import apply_configuration
from laneway.model.config import QueueConfig, TenantConfig
from laneway.model.servers import RedisServer
from laneway_operator.engine.fence import Fence
from laneway_operator.observe.limiter import AccessDenied, SeenLimiter

_T = TypeVar("_T")
Plan = Callable[[QueueConfig | None, frozenset[str]], tuple[QueueConfig, Mapping[str, TenantConfig]]]

#: With many parked tasks, moving those on that a new limit frees takes long: the poller's sweep does the rest.
_LONGEST_S: Final = 15.0


async def write_limiter(
    server: RedisServer,
    namespace: str,
    queue: str,
    plan: Plan,
    seen: SeenLimiter,
    fence: Fence,
    *,
    known: QueueConfig | None = None,
) -> QueueConfig:
    """Brings the live configuration to what ``plan`` makes of the present one. ``known`` is the one that was written
    last, for the case that somebody has broken what is there.

    Raises:
        Unavailable: Redis is away or full; or somebody else keeps changing it.
        AccessDenied: the operator's user may not.
        SchemaTooNew: a newer Laneway wrote the queue's data.
        ConfigError: no configuration can be made of the manifests.
        NotLeading: nothing was written.
    """

    def fenced(current: QueueConfig | None, empty: frozenset[str]) -> tuple[QueueConfig, Mapping[str, TenantConfig]]:
        """It is asked right before each attempt to write, and there may be several."""
        fence.check()
        return plan(current, empty)

    async def write(store: RedisStore) -> QueueConfig:
        if seen.whole:
            return await apply_configuration(store, fenced)
        # One owner writes the configuration, and that is the operator: what does not fit together is replaced.
        config, tenants = fenced(known or seen.config, frozenset())
        await store.configure(config, dict(tenants), expected=None)
        return config

    return await _with_store(server, namespace, queue, write)


async def erase_queue(server: RedisServer, namespace: str, queue: str, fence: Fence) -> int:
    """Deletes all that Redis has of the queue; returns how many keys there were. Raises as :func:`write_limiter`."""

    async def erase(store: RedisStore) -> int:
        fence.check()
        return await store.erase()

    return await _with_store(server, namespace, queue, erase)


async def _with_store(
    server: RedisServer, namespace: str, queue: str, call: Callable[[RedisStore], Awaitable[_T]]
) -> _T:
    """A store of its own for each write: writes are rare, and hundreds of stores that wait would hold connections."""
    store = RedisStore(server, queue, namespace=namespace, patience=1.0)
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await call(store)
    except TimeoutError:
        raise Unavailable(f"Redis at {server.address} took longer than {_LONGEST_S:g} s", 1.0) from None
    except Unavailable as error:
        if isinstance(error.__cause__, Exception) and (denied := turned_away(server, error.__cause__)):
            raise AccessDenied(str(denied)) from error
        raise
    except ResponseError as error:
        raise Unavailable(f"Redis at {server.address} refused: {error}", 1.0) from error
    finally:
        await store.close()
