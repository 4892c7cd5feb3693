"""Connections to Redis, and what its errors mean.

redis-py repeats a command by itself after a broken connection; scripts must not be repeated blindly, so that is off
and :mod:`laneway.adapters.redis.calls` repeats those that say they are idempotent.
"""

from __future__ import annotations

import ssl
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from laneway.adapters.redis.tls import use_tls
from laneway.adapters.tls import check_files
from laneway.errors import Unavailable
from laneway.model.servers import RedisServer

#: No answer came, or the connection was never made.
AWAY = (ConnectionError, TimeoutError, OSError)
#: The server answered that it can't do it now; nothing was changed.
NOT_NOW = (BusyLoadingError, ReadOnlyError, ClusterDownError, TryAgainError)

#: Seconds until trying again after Redis turned somebody away: that is cured by people, or by a pod's restart.
_DENIED_S = 5.0

#: What is told of a right that a script's user lacks, by 7.2, 7.0 and 6.2.
_NO_RIGHT = ("ACL failure in script", "The user executing the script", "NOPERM")
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
        # (it would tell its own name with CLIENT SETINFO, which a user then needs the right to)
        "driver_info": None,
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
    client: AnyRedis
    if server.cluster:
        client = RedisCluster.from_url(server.url, retry=Retry(NoBackoff(), 0), **options)
    else:
        client = aioredis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), retry_on_error=[], **options)
    if server.tls:
        use_tls(client)
    return client


def is_full(error: Exception) -> bool:
    """Whether Redis refused a write because it is at maxmemory."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and ("OOM" in str(error) or "maxmemory" in str(error))
    )


def can_not_write(error: Exception) -> bool:
    """Whether Redis refused all writes for now: too few replicas, a disk that fails, no primary in sight, or a script
    of somebody else's that blocks it. (6.2 tells what a script met in the middle of the message.)"""
    return isinstance(error, ResponseError) and any(word in str(error) for word in _NO_WRITES)


def not_allowed(error: Exception) -> bool:
    """Whether the ACL of this user lacks a command or key. A script that meets one has changed nothing yet, or has no
    right to what it needs first."""
    return isinstance(error, NoPermissionError) or (
        isinstance(error, ResponseError) and any(word in str(error) for word in _NO_RIGHT)
    )


def turned_away(server: RedisServer, error: Exception) -> Unavailable | None:
    """The error to raise when trying again at once is in vain: a wrong password, certificate or ACL. It says what would
    be right. None for every other error."""
    at = f"Redis at {server.address}"
    if isinstance(error, AuthenticationError):
        wants = any(word in str(error) for word in ("NOAUTH", "required", "HELLO must be called"))
        what = "wants a password" if wants else "refuses the login"
        return Unavailable(
            f"{at} {what} of user {server.user!r} ({error}): see LANEWAY_REDIS_USERNAME and LANEWAY_REDIS_PASSWORD",
            _DENIED_S,
        )
    if not_allowed(error):
        return Unavailable(f"{at} does not allow it to the user {server.user!r} ({error}): extend its ACL", _DENIED_S)
    problem = _tls_problem(error)
    if problem is None:
        return None
    if isinstance(problem, ssl.SSLCertVerificationError):
        trusted = (
            "LANEWAY_REDIS_CA_FILE must hold the certificate of the authority that signed it"
            if server.ca_file
            else "name the certificate of the authority that signed it in LANEWAY_REDIS_CA_FILE"
        )
        return Unavailable(
            f"{at} shows a certificate that is not accepted ({problem.verify_message}): {trusted}", _DENIED_S
        )
    if problem.reason == "WRONG_VERSION_NUMBER":
        return Unavailable(f"{at} does not speak TLS there: name its port for TLS, or write redis://", _DENIED_S)
    if "CERTIFICATE" in (problem.reason or "") or "UNKNOWN_CA" in (problem.reason or ""):
        return Unavailable(
            f"{at} does not accept this client's certificate ({problem.reason}): see LANEWAY_REDIS_CERT_FILE and "
            "LANEWAY_REDIS_KEY_FILE",
            _DENIED_S,
        )
    return None


def _tls_problem(error: Exception) -> ssl.SSLError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
