"""Where an App's queue is. Nothing is read from the environment before somebody connects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from laneway.errors import ConfigError
from laneway.kit.names import namespace_name, queue_name
from laneway.model.servers import DEFAULT_REDIS, RedisServer, redis_url_lacks

DEFAULT_QUEUE = "default"
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where a queue is."""

    server: RedisServer = field(default_factory=RedisServer)
    """Where Redis is, and how to speak to it."""
    queue: str = DEFAULT_QUEUE
    """The queue's name."""
    namespace: str = DEFAULT_NAMESPACE
    """The namespace that the queue is in."""

    @property
    def redis(self) -> str:
        """The URL of Redis: redis://HOST:PORT/DB, rediss:// for TLS, unix:// for a socket."""
        return self.server.url

    @property
    def cluster(self) -> bool:
        """Whether that Redis is a Redis Cluster."""
        return self.server.cluster


def load_settings(
    redis: str | None = None,
    queue: str | None = None,
    namespace: str | None = None,
    cluster: bool | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> ClientSettings:
    """The settings in force: what is given; else LANEWAY_REDIS_URL, LANEWAY_QUEUE, LANEWAY_NAMESPACE and
    LANEWAY_CLUSTER of the environment; else Redis on this machine and the queue ``default``. Credentials and
    certificates are those of LANEWAY_REDIS_USERNAME, _PASSWORD, _CA_FILE, _CERT_FILE and _KEY_FILE.

    Raises:
        ConfigError: a value is wrong; the message names it and says what would be right.
    """
    env = os.environ if environ is None else environ
    url, url_from = _first(redis, "redis", env, "LANEWAY_REDIS_URL", DEFAULT_REDIS)
    if lacks := redis_url_lacks(url):
        raise ConfigError(f"{url_from} {lacks}")
    name, name_from = _first(queue, "queue", env, "LANEWAY_QUEUE", DEFAULT_QUEUE)
    space, space_from = _first(namespace, "namespace", env, "LANEWAY_NAMESPACE", DEFAULT_NAMESPACE)
    for check, value, source in ((queue_name, name, name_from), (namespace_name, space, space_from)):
        try:
            check(value)
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from error
    return ClientSettings(RedisServer.from_env(env, url=url, cluster=cluster), name, space)


def _first(given: str | None, name: str, env: Mapping[str, str], variable: str, default: str) -> tuple[str, str]:
    """The value that counts, and where it is from."""
    if given is not None:
        return given, name
    return env.get(variable) or default, variable
