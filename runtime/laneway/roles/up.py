"""``laneway up``: the manifests on this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from laneway.adapters.manifests import load_manifests
from laneway.errors import ConfigError, LanewayError
from laneway.kit.logs import get_logger, setup_logging
from laneway.kit.ports import free_port
from laneway.model.servers import KafkaServer, RedisServer
from laneway.policy.plan import plan_pool
from laneway.roles.local import LocalOptions, LocalStack, folders_of
from laneway.roles.process import Stop, run_role

_log = get_logger(__name__)

STATE_FOLDER = Path(".laneway")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """``data`` None: the folder ``.laneway``. ``port`` 0: any free one for the gateway."""

    paths: tuple[Path, ...]
    redis: RedisServer | str | None = None
    kafka: KafkaServer | str | None = None
    data: Path | None = None
    port: int = 8080
    namespace: str = "default"
    log_format: str = "console"
    log_level: str = "info"


def run_up(options: UpOptions) -> int:
    """Runs until SIGINT or SIGTERM; SIGHUP reads the manifests again and applies what can change live, unless its
    terminal was closed: then it stops. The exit code is 0, 2 for wrong manifests or settings, or 130 after a second
    Ctrl-C."""
    setup_logging(options.log_level, options.log_format)
    try:
        manifests = load_manifests(options.paths, namespace=options.namespace)
    except ConfigError as error:
        Console(stderr=True, highlight=False, markup=False).print(str(error))
        return 2
    stack = LocalStack(
        manifests,
        LocalOptions(
            redis=options.redis,
            kafka=options.kafka,
            data=options.data or STATE_FOLDER / "data",
            port=options.port or free_port(),
            metrics=True,
            app_folders=folders_of(options.paths),
            log_format=options.log_format,
            log_level=options.log_level,
        ),
    )
    try:
        with _alone():
            return run_role(lambda stop: _up(stack, options, stop))
    except _AnotherRuns as error:
        print(f"laneway up: {error}", file=sys.stderr)
        return 2


class _AnotherRuns(Exception):
    """Another ``laneway up`` runs in this folder."""


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Holds this folder's state, which client commands find what runs by, so that no second ``laneway up`` replaces it.
    (A lock ends with the process, however that dies; an id of a process in a file may be another's by then.)"""
    STATE_FOLDER.mkdir(exist_ok=True)
    with (STATE_FOLDER / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip()
            raise _AnotherRuns(
                f"another runs in this folder already (process {pid or 'not known'}), whatever its --data: stop it, "
                "or run this one in another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


async def _up(stack: LocalStack, options: UpOptions, stop: Stop) -> int:
    stop.now = stack.kill
    stop.waits_for = lambda: "running tasks"
    try:
        await stack.start()
    except ConfigError as error:
        print(f"laneway up: {error}", file=sys.stderr)
        return 2
    on_terminal = _has_terminal()

    def hung_up() -> None:
        # A closed terminal says the same as `kill -HUP`; only the first leaves without one.
        if on_terminal and not _has_terminal():
            stop.ask()
        else:
            _reload_soon(stack, options)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
    state = STATE_FOLDER / "up.json"
    url = f"http://127.0.0.1:{stack.options.port}"
    written = state.with_suffix(".tmp")
    written.touch(mode=0o600)  # a URL may hold a password
    written.write_text(
        json.dumps(
            {
                "redis": stack.redis.url,
                "cluster": stack.redis.cluster,
                "environment": stack.redis != RedisServer(stack.redis.url, cluster=stack.redis.cluster),
                "gateway": url,
                "namespace": stack.namespace,
                "queues": stack.queues,
                "metrics": stack.metrics_urls,
                "pid": os.getpid(),
            }
        )
    )
    written.replace(state)  # whoever reads it finds all of it or nothing
    try:
        _show(stack, url)
        await stop.wait()
    finally:
        await stack.stop()
        state.unlink(missing_ok=True)  # only now: until here client commands find the queue
    return 130 if stop.hurried else 0


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


_reloads: set[asyncio.Task[None]] = set()


def _reload_soon(stack: LocalStack, options: UpOptions) -> None:
    task = asyncio.create_task(_reload(stack, options))
    _reloads.add(task)
    task.add_done_callback(_reloads.discard)


async def _reload(stack: LocalStack, options: UpOptions) -> None:
    try:
        stack.manifests = load_manifests(options.paths, namespace=options.namespace)
        await stack.configure()
    except LanewayError as error:
        _log.error("the manifests were not applied; what was in force goes on", reason=str(error))


def _show(stack: LocalStack, url: str) -> None:
    """Says what runs and where, on stderr: logs go there too."""
    table = Table(title="laneway up", title_justify="left")
    for heading in ("queue", "lanes", "workers", "tasks come from"):
        table.add_column(heading)
    for manifest in stack.manifests.queues:
        pools = [plan_pool(pool) for pool in manifest.pools]
        lanes = ", ".join(lane.lane for lane in manifest.lanes) or "default"
        workers = ", ".join(f"{p.name}: {p.processes} x {p.slots} slots" for p in pools) or "none (add a WorkerPool)"
        table.add_row(manifest.name, lanes, workers, stack.source(manifest))
    console = Console(stderr=True)
    console.print(table)
    console.print(f"Dashboard {url}/dashboard/", soft_wrap=True)
    console.print(f"API       {url}/api/v1", soft_wrap=True)
    console.print(f"          {url}/openapi.json describes it; {url}/metrics", soft_wrap=True)
    console.print(f"Redis     {stack.redis.address}", soft_wrap=True)
    for child, metrics in stack.metrics_urls.items():
        console.print(f"Metrics   {metrics} ({child})", soft_wrap=True)
    console.print("Stop with Ctrl-C: running tasks finish first.")
