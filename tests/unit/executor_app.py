"""An application that the executor's tests load, in this process and in its children.

Handlers that have to show where they are write a file; tests wait for it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from laneway.errors import InvalidTask
from laneway.execute.child import HandlerStopped
from laneway.model.context import ContextData
from laneway.model.envelope import Backoff
from laneway.model.outcomes import Cancel, Discard, Retry, Snooze
from laneway.model.task import HandlerKind, TaskDef

MARK: ContextVar[str] = ContextVar("mark", default="clean")


class Picky(Exception):
    """A failure with a backoff of its own."""


class Hopeless(Exception):
    """A failure for good."""


def mark(path: str, text: str = "") -> None:
    """Writes a file in one step."""
    part = Path(f"{path}.part{os.getpid()}-{threading.get_ident()}")
    part.write_text(text or str(os.getpid()))
    part.rename(path)


def exists(path: str) -> bool:
    """Whether a test has written a file."""
    return os.path.exists(path)


async def echo(value: Any = None) -> Any:
    return value


async def leak(value: str) -> str:
    seen = MARK.get()
    MARK.set(value)
    await asyncio.sleep(0)
    return seen


async def ends(how: str, delay: Any = None) -> Any:
    outcome = {
        "retry": Retry(delay, "later"),
        "snooze": Snooze(delay, "not now"),
        "cancel": Cancel("unwanted"),
        "discard": Discard("broken for good"),
    }[how.removeprefix("raise-")]
    if how.startswith("raise-"):
        raise outcome
    return outcome


async def fails(kind: str = "value") -> None:
    raise {
        "value": ValueError("no good"),
        "picky": Picky("picky"),
        "hopeless": Hopeless("hopeless"),
        "exit": SystemExit(3),
        "cancelled": asyncio.CancelledError(),
        "stop": StopIteration(1),
    }[kind]


async def waits(started: str = "") -> None:
    if started:
        mark(started)
    await asyncio.Event().wait()


async def swallows(release: str, result: Any = None) -> Any:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        mark(release + ".asked")
    while not exists(release):
        await asyncio.to_thread(time.sleep, 0.005)
    return result


def blocks(release: str, ctx: ContextData | None = None, result: Any = None) -> Any:
    mark(release + ".started", threading.current_thread().name)
    while not exists(release):
        if ctx is not None and ctx.cancelled.wait(0.005):
            return result
        time.sleep(0.005)
    return result


def about(ctx: ContextData) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "lane": ctx.lane,
        "tenant": ctx.tenant,
        "deadline": ctx.deadline is not None,
        "worker": ctx.worker,
    }


def stubborn(started: str) -> None:
    """Ignores SIGTERM as native code would that never comes back to the interpreter."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mark(started, f"{os.getpid()} {helper.pid}")
    while True:
        time.sleep(60)


def obeys(started: str) -> None:
    mark(started)
    try:
        while True:
            time.sleep(60)
    except HandlerStopped:
        mark(started + ".cleaned")
        raise


def dies(how: str, started: str = "") -> None:
    if started:
        mark(started)
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(60)


async def dies_async(code: int) -> None:
    os._exit(code)


def raises(text: str) -> None:
    raise ValueError(text)


async def unencodable() -> Any:
    return object()


async def where() -> int:
    await asyncio.sleep(0)
    return os.getpid()


def _decode(payload: bytes) -> dict[str, Any]:
    arguments = msgspec.msgpack.decode(payload)
    if "forbidden" in arguments:
        raise InvalidTask("forbidden: no such argument")
    if "broken" in arguments:
        raise RuntimeError("the decoder is broken")
    return arguments  # type: ignore[no-any-return]


_A, _T, _P = HandlerKind.ASYNC, HandlerKind.THREAD, HandlerKind.PROCESS


def _task(name: str, fn: Any, kind: HandlerKind, **more: Any) -> TaskDef:
    return TaskDef(name, fn, kind, _decode, msgspec.msgpack.encode, backoff=Backoff(jitter=0.0), **more)


tasks = {
    task.name: task
    for task in (
        _task("echo", echo, _A),
        _task("leak", leak, _A),
        _task("ends", ends, _A),
        _task(
            "fails", fails, _A,
            backoff_for=((Picky, Backoff(base=60.0, jitter=0.0)),), give_up_on=(Hopeless,),
        ),
        _task("waits", waits, _A),
        _task("swallows", swallows, _A),
        _task("blocks", blocks, _T),
        _task("blocks-aware", blocks, _T, takes_context="ctx"),
        _task("about", about, _T, takes_context="ctx"),
        _task("thread-raises", raises, _T),
        _task("about-process", about, _P, takes_context="ctx"),
        _task("stubborn", stubborn, _P),
        _task("obeys", obeys, _P),
        _task("dies", dies, _P),
        _task("dies-async", dies_async, _A),
        _task("raises", raises, _P),
        _task("unencodable", unencodable, _A),
        _task("where", where, _A),
    )
}  # fmt: skip
