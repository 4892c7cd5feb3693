"""Connections to Redis, and what its errors mean.

redis-py repeats a command by itself after a broken connection; scripts must not be repeated blindly, so that is off
and :mod:`laneway.adapters.redis.calls` repeats those that say they are idempotent.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

#: No answer came, or the connection was never made.
AWAY = (ConnectionError, TimeoutError, OSError)
#: The server answered that it can't do it now; nothing was changed.
NOT_NOW = (BusyLoadingError, ReadOnlyError, ClusterDownError, TryAgainError)

_NO_WRITES = ("NOREPLICAS", "MISCONF", "MASTERDOWN", "BUSY Redis is busy")

AnyRedis = Any  # Redis and RedisCluster share the calls used here, but no base class


def connect(url: str, *, cluster: bool = False, timeout: float | None = 5.0) -> AnyRedis:
    """A client that decodes nothing and repeats nothing. ``timeout`` (s) bounds connecting and each answer."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": 2.0,
        "health_check_interval": 0,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    if cluster:
        return RedisCluster.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    return aioredis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), retry_on_error=[], **options)


def is_full(error: Exception) -> bool:
    """Whether Redis refused a write because it is at maxmemory."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and ("OOM" in str(error) or "maxmemory" in str(error))
    )


def can_not_write(error: Exception) -> bool:
    """Whether Redis refused all writes for now: too few replicas, a disk that fails, no primary in sight, or a script
    of somebody else's that blocks it. (6.2 tells what a script met in the middle of the message.)"""
    return isinstance(error, ResponseError) and any(word in str(error) for word in _NO_WRITES)
