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

from laneway.adapters.tls import check_files
from laneway.model.servers import RedisServer

#: No answer came, or the connection was never made.
AWAY = (ConnectionError, TimeoutError, OSError)
#: The server answered that it can't do it now; nothing was changed.
NOT_NOW = (BusyLoadingError, ReadOnlyError, ClusterDownError, TryAgainError)

_NO_WRITES = ("NOREPLICAS", "MISCONF", "MASTERDOWN", "BUSY Redis is busy")

AnyRedis = Any  # Redis and RedisCluster share the calls used here, but no base class


def connect(server: RedisServer | str, *, cluster: bool = False, timeout: float | None = 5.0) -> AnyRedis:
    """A client that decodes nothing and repeats nothing. ``timeout`` (s) bounds connecting and each answer.

    The certificates' files are read for each new connection, so that renewed ones are taken without a restart.

    Raises:
        ConfigError: a certificate's file is missing or wrong.
    """
    server = RedisServer.of(server, cluster=cluster)
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": 2.0,
        "health_check_interval": 0,
    }
    if server.username:
        options["username"] = server.username
    if server.password:
        options["password"] = server.password
    if not server.url.startswith("unix:"):
        options["socket_keepalive"] = True
    if server.tls:
        check_files("LANEWAY_REDIS", server.ca_file, server.cert_file, server.key_file)
        for name, value in (
            ("ssl_ca_certs", server.ca_file),
            ("ssl_certfile", server.cert_file),
            ("ssl_keyfile", server.key_file),
        ):
            if value:
                options[name] = value
    if server.cluster:
        return RedisCluster.from_url(server.url, retry=Retry(NoBackoff(), 0), **options)
    return aioredis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), retry_on_error=[], **options)


def is_full(error: Exception) -> bool:
    """Whether Redis refused a write because it is at maxmemory."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and ("OOM" in str(error) or "maxmemory" in str(error))
    )


def can_not_write(error: Exception) -> bool:
    """Whether Redis refused all writes for now: too few replicas, a disk that fails, no primary in sight, or a script
    of somebody else's that blocks it. (6.2 tells what a script met in the middle of the message.)"""
    return isinstance(error, ResponseError) and any(word in str(error) for word in _NO_WRITES)
