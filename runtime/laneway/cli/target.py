"""Which queue a client command means, and its store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.options import DEFAULT_NAMESPACE, DEFAULT_REDIS
from laneway.errors import ConfigError, LanewayError, OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore

#: What a running ``laneway up`` writes about itself.
UP_FILE = Path(".laneway") / "up.json"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """One queue on one Redis."""

    redis: str
    queue: str
    namespace: str
    cluster: bool = False

    @property
    def name(self) -> str:
        """The queue as messages name it."""
        return f"{self.namespace}/{self.queue}"


def resolve(redis: str | None, queue: str | None, namespace: str | None, cluster: bool) -> Target:
    """The queue that the options, the environment and a running ``laneway up`` mean, in this order.

    Raises:
        click.UsageError: no queue is named, and it does not follow from what runs.
    """
    up = _running_up() if redis is None else None
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
    if up is not None:
        click.echo(f"laneway: using queue {namespace}/{queue} of the laneway up in this folder", err=True)
    return Target(redis or (up.redis if up else DEFAULT_REDIS), queue, namespace, cluster)


def resolve_role(redis: str | None, namespace: str | None) -> dict[str, str]:
    """The Redis and namespace of a role: as given, else of the ``laneway up`` in this folder, else the defaults."""
    up = _running_up() if redis is None else None
    if up is not None:
        click.echo(f"laneway: using the Redis of the laneway up in this folder, {_without_secret(up.redis)}", err=True)
    return {
        "redis": redis or (up.redis if up else DEFAULT_REDIS),
        "namespace": namespace or (up.namespace if up else DEFAULT_NAMESPACE),
    }


@dataclass(frozen=True, slots=True)
class _Up:
    redis: str
    namespace: str
    queues: list[str]


def _running_up() -> _Up | None:
    """What the ``laneway up`` of this folder says of itself; None when none runs."""
    try:
        said = json.loads(UP_FILE.read_text("utf-8"))
        pid, up = (
            int(said["pid"]),
            _Up(str(said["redis"]), str(said["namespace"]), [str(q) for q in said["queues"]]),
        )
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

    store = RedisStore(target.redis, target.queue, namespace=target.namespace, cluster=target.cluster)
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
        source = " (from LANEWAY_REDIS_URL)" if os.environ.get("LANEWAY_REDIS_URL") == target.redis else ""
        raise Failure(
            Exit.UNAVAILABLE,
            f"{error}: is a Redis at {_without_secret(target.redis)}{source}? Name another with --redis URL",
        ) from error


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


async def reading(call: Awaitable[_T]) -> _T:
    """Awaits a call that only reads: without an answer nothing can have happened."""
    try:
        return await call
    except OutcomeUnknown as error:
        raise Unavailable(f"no answer from Redis ({error.__cause__ or error})") from error


def on_queue(target: Target, work: Callable[[TaskStore, QueueConfig], Coroutine[Any, Any, int]]) -> int:
    """Runs ``work`` with the target's store, and returns its exit code."""

    import asyncio

    async def run() -> int:
        async with opened(target) as (store, config):
            return await work(store, config)

    return asyncio.run(run())


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
