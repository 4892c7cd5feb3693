"""Inside a child process: runs one task at a time for the worker at the other end of a socket."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import msgspec

from laneway.errors import InvalidTask
from laneway.execute.child_notes import ChildNotes
from laneway.execute.spans import ChildSpans
from laneway.execute.task_logs import TaskLogHandler
from laneway.execute.wire import Reply, Request, frame, receive
from laneway.kit.ids import id_text
from laneway.kit.logs import Scope, enter_task, leave_task
from laneway.model.context import ContextData, ContextFactory
from laneway.model.envelope import Envelope, decode_stored
from laneway.model.task import HandlerKind, TaskDef
from laneway.policy import outcome
from laneway.policy.outcome import Attempt, Decision

_decode = msgspec.msgpack.Decoder(Request).decode


class HandlerStopped(BaseException):
    """Raised inside a handler that runs in a process, when it is asked to stop. It may clean up and let it pass."""


class _StopSignal:
    """SIGTERM, as a handler in this process meets it: an exception, or the cancellation of its asyncio task."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.raises = False
        self.cancel: Callable[[], object] | None = None
        self._unbroken = 0
        self._late = False
        self._thread = threading.get_ident()
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, stack: FrameType | None) -> None:
        self.seen.set()
        if self.cancel is not None:
            self.cancel()
        elif self._unbroken:
            self._late = True
        elif self.raises:
            self.raises = False
            raise HandlerStopped("asked to stop")

    @contextlib.contextmanager
    def unbroken(self) -> Iterator[None]:
        """Within this, a handler is not stopped; right after it, it is. (Only this thread is ever interrupted.)"""
        if threading.get_ident() != self._thread:
            yield
            return
        self._unbroken += 1
        try:
            yield
        finally:
            self._unbroken -= 1
        if self._late and not self._unbroken:
            self._late = False
            if self.raises:
                self.raises = False
                raise HandlerStopped("asked to stop")


def serve(sock: socket.socket, tasks: Mapping[str, TaskDef], make_context: ContextFactory | None) -> None:
    """Answers requests until the worker closes the socket, or until a handler was asked to stop."""
    stop, spans, notes = _StopSignal(), ChildSpans(), _Present()
    TaskLogHandler(notes.keep).attach()
    try:
        while (raw := receive(sock)) is not None:
            request = _decode(raw)
            entered = spans.enter(request.trace) if request.trace else None
            if request.notes:
                notes.now = ChildNotes(sock, request.saved, stop.unbroken)
            decision, raised = _run(request, tasks, make_context, stop, notes.now)
            notes.end()
            spans.leave(entered)
            asked = stop.seen.is_set()
            try:
                sock.sendall(frame(Reply(decision.kind, decision.delay_ms, decision.data, raised, asked)))
            except ConnectionError:
                return  # The worker is gone, and with it whoever could settle this.
            if asked:
                return
    finally:
        spans.close()


class _Present:
    """The notes of the attempt that runs now."""

    def __init__(self) -> None:
        self.now: ChildNotes | None = None

    def keep(self, scope: Scope, level: str, message: str) -> None:
        """Keeps a line of a standard logger."""
        if self.now is not None:
            self.now.line(level, message)

    def end(self) -> None:
        """The attempt has ended."""
        if self.now is not None:
            self.now.close()
            self.now = None


def _run(
    request: Request,
    tasks: Mapping[str, TaskDef],
    make_context: ContextFactory | None,
    stop: _StopSignal,
    notes: ChildNotes | None,
) -> tuple[Decision, bool]:
    env = decode_stored(request.stored)
    task = tasks.get(env.body.type)
    started = time.time_ns() // 1_000_000
    facts = Attempt(
        request.attempt, request.max_attempts, request.worker, started, env.body.backoff, request.queue_backoff
    )
    if task is None:
        return outcome.of_unknown_type(facts, env.body.type, tasks.keys()), True
    token = enter_task(id_text(request.id), request.attempt, env.body.trace)
    try:
        try:
            arguments = task.decode(env.body.payload)
        except InvalidTask as error:
            return outcome.of_bad_arguments(task, facts, error), True
        if task.takes_context is not None:
            context = _context(request, env, stop, started, arguments, notes)
            arguments = {**arguments, task.takes_context: make_context(context) if make_context else context}
        result = _call(task, arguments, stop)
    except BaseException as error:
        facts.at_ms = time.time_ns() // 1_000_000
        return outcome.of_exception(task, facts, error), True
    finally:
        stop.raises, stop.cancel = False, None
        leave_task(token)
    facts.at_ms = time.time_ns() // 1_000_000
    return outcome.of_result(task, facts, result, request.max_result), False


def _context(
    request: Request,
    env: Envelope,
    stop: _StopSignal,
    started: int,
    arguments: dict[str, Any],
    notes: ChildNotes | None,
) -> ContextData:
    return ContextData(
        id=request.id,
        fence=request.fence,
        type=env.body.type,
        attempt=request.attempt,
        max_attempts=request.max_attempts,
        crashes=request.crashes,
        lane=request.lane,
        tenant=env.tenant,
        priority=env.priority,
        labels=env.body.labels or {},
        trace=env.body.trace,
        worker=request.worker,
        submitted_ms=env.submitted_ms,
        started_ms=started,
        deadline=time.monotonic() + request.timeout if request.timeout else None,
        cancelled=stop.seen,
        arguments=arguments,
        notes=notes,
    )


def _call(task: TaskDef, arguments: dict[str, Any], stop: _StopSignal) -> Any:
    if task.kind is HandlerKind.ASYNC:
        return asyncio.run(_await(task, arguments, stop))
    stop.raises = True
    if stop.seen.is_set():
        raise HandlerStopped("asked to stop before it began")
    return task.fn(**arguments)


async def _await(task: TaskDef, arguments: dict[str, Any], stop: _StopSignal) -> Any:
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    assert running is not None
    stop.cancel = lambda: loop.call_soon_threadsafe(running.cancel)
    if stop.seen.is_set():
        raise HandlerStopped("asked to stop before it began")
    try:
        return await task.fn(**arguments)
    finally:
        stop.cancel = None


def flush_streams() -> None:
    """Writes out what handlers printed: a child ends without the interpreter's own farewell."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
