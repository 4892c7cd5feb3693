"""Which queue a client command means, and its store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.options import DEFAULT_NAMESPACE, DEFAULT_REDIS, log_format
from laneway.errors import ConfigError, LanewayError, Unavailable
from laneway.model.servers import KafkaServer, RedisServer

if TYPE_CHECKING:
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore

#: What a running ``laneway up`` writes about itself.
UP_FILE = Path(".laneway") / "up.json"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """One queue on one Redis."""

    redis: RedisServer
    queue: str
    namespace: str

    @property
    def name(self) -> str:
        """The queue as messages name it."""
        return f"{self.namespace}/{self.queue}"


def resolve(
    redis: str | None, queue: str | None, namespace: str | None, cluster: bool, *, quiet: bool = False
) -> Target:
    """The queue that the options, the environment and a running ``laneway up`` mean, in this order. That it is one of
    the latter is told, unless ``quiet``.

    Raises:
        click.UsageError: no queue is named, and it does not follow from what runs.
        ConfigError: a setting of Redis in the environment is wrong.
    """
    up = running_up() if redis is None else None
    if up is not None:
        namespace = namespace or up.namespace
        if queue is None and len(up.queues) == 1:
            queue = up.queues[0]
    if queue is None:
        names = ""
        if up is not None and up.queues:
            names = f"; the laneway up in this folder has {', '.join(up.queues)}"
        elif redis is None:
            names = "; no laneway up runs in this folder"
        raise click.UsageError(f"say which queue: --queue NAME, or LANEWAY_QUEUE in the environment{names}")
    namespace = namespace or DEFAULT_NAMESPACE
    if up is not None and not quiet:
        click.echo(f"laneway: using queue {namespace}/{queue} of the laneway up in this folder", err=True)
    return Target(_server(redis, cluster, up), queue, namespace)


def resolve_role(options: dict[str, Any]) -> dict[str, Any]:
    """A role's options with Redis, Kafka and namespace filled in: as given, else of the environment, else of the
    ``laneway up`` in this folder, else the defaults.

    Raises:
        ConfigError: a setting of a server in the environment is wrong.
    """
    redis, namespace = options["redis"], options["namespace"]
    up = running_up() if redis is None else None
    server = _server(redis, options["cluster"], up)
    if up is not None:
        click.echo(f"laneway: using the Redis of the laneway up in this folder, {server.address}", err=True)
    filled = options | {
        "redis": server,
        "namespace": namespace or (up.namespace if up else DEFAULT_NAMESPACE),
        "log_format": log_format(options["log_format"]),
    }
    del filled["cluster"]
    if "kafka" in options:
        filled["kafka"] = KafkaServer.from_env(os.environ, bootstrap=options["kafka"])
    return filled


def named_servers(redis: str | None, kafka: str | None) -> tuple[RedisServer | None, KafkaServer | None]:
    """The servers that an option or the environment names, with what the environment says of them.

    Raises:
        ConfigError: a setting of a server in the environment is wrong.
    """
    server = RedisServer.from_env(os.environ, url=redis) if redis else None
    return server, KafkaServer.from_env(os.environ, bootstrap=kafka)


def _server(redis: str | None, cluster: bool, up: Up | None) -> RedisServer:
    if up is None:
        return RedisServer.from_env(os.environ, url=redis or DEFAULT_REDIS, cluster=cluster)
    if up.environment:
        return RedisServer.from_env(os.environ, url=up.redis, cluster=cluster or up.cluster)
    # What the environment says is of another Redis than that of up.
    return RedisServer(up.redis, cluster=cluster or up.cluster)


@dataclass(frozen=True, slots=True)
class Up:
    """A ``laneway up`` that runs. ``environment``: its Redis also needs what LANEWAY_REDIS_* of the environment says,
    such as a password."""

    redis: str
    namespace: str
    queues: list[str]
    cluster: bool = False
    environment: bool = False


def running_up() -> Up | None:
    """What the ``laneway up`` of this folder says of itself; None when none runs."""
    try:
        said = json.loads(UP_FILE.read_text("utf-8"))
        pid = int(said["pid"])
        up = Up(
            str(said["redis"]), str(said["namespace"]), [str(q) for q in said["queues"]],
            bool(said.get("cluster")), bool(said.get("environment")),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        click.echo(
            f"laneway: {UP_FILE} is ignored, since it can't be read ({type(error).__name__}: {error})",
            err=True,
        )
        return None
    return up if _lives(pid) else None


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[tuple[TaskStore, QueueConfig]]:
    """The target's store and configuration.

    Raises:
        Failure: there is no such queue (3), or its Redis can't be reached (5).
    """
    from laneway.adapters.redis import RedisStore

    store = RedisStore(target.redis, target.queue, namespace=target.namespace)
    try:
        yield store, await _config(store, target)
    finally:
        await store.close()


async def _config(store: TaskStore, target: Target) -> QueueConfig:
    try:
        return await store.config()
    except ConfigError as error:
        raise Failure(Exit.NOT_FOUND, str(error)) from error
    except Unavailable as error:
        raise _away(error, target.redis) from error


def _away(error: Unavailable, server: RedisServer) -> Failure:
    """That a Redis is not there, with what leads elsewhere."""
    if server.address in str(error):  # it says what is wrong with this server
        return Failure(Exit.UNAVAILABLE, str(error))
    source = " (from LANEWAY_REDIS_URL)" if os.environ.get("LANEWAY_REDIS_URL") == server.url else ""
    return Failure(Exit.UNAVAILABLE, f"{error}: is a Redis at {server.address}{source}? Name another with --redis URL")


async def queues_of(redis: str, namespace: str | None, cluster: bool) -> list[str]:
    """The names of the queues that a Redis has, at least one.

    Raises:
        Failure: there is none (3), or the Redis can't be reached (5).
        ConfigError: a setting of Redis in the environment is wrong, or its user may not look for queues.
    """
    from laneway.adapters.redis.queue_names import queue_names

    server, namespace = _server(redis, cluster, None), namespace or DEFAULT_NAMESPACE
    try:
        names = await queue_names(server, namespace)
    except Unavailable as error:
        raise _away(error, server) from error
    except ConfigError as error:
        raise ConfigError(f"say which queue, with --queue NAME: {error}") from error
    if not names:
        raise Failure(
            Exit.NOT_FOUND,
            f"{server.address} has no queue of namespace {namespace}: apply a TaskQueue, or name another place with "
            "--redis or --namespace",
        )
    return names


async def only_queue(redis: str, namespace: str | None, cluster: bool) -> str:
    """The name of the one queue that a Redis has. Raises as :func:`queues_of`, and click.UsageError when there are
    several."""
    names = await queues_of(redis, namespace, cluster)
    if len(names) == 1:
        return names[0]
    raise click.UsageError(
        f"say which queue: --queue NAME, or LANEWAY_QUEUE in the environment; that Redis has {', '.join(names)}"
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C end a blocking read of the terminal or a pipe at once.

    asyncio only notes the first one, for when the running coroutine waits the next time: when it comes between two
    waits, it is lost on what blocks. So it goes around all of a stretch that reads.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def why(error: LanewayError) -> str:
    """The stable name of an error, the same as in the HTTP API's problems."""
    from laneway.gateway.problems import problem_of

    return problem_of(error).kind.name
