"""Runs handlers: each claimed task once, on the event loop, in a thread or in a process, to exactly one settlement."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from laneway.errors import ConfigError, InvalidTask
from laneway.execute.attempt_log import log_attempt
from laneway.execute.deadlines import Deadlines
from laneway.execute.isolation import Isolation
from laneway.execute.notes import Scribe
from laneway.execute.run import NEVER, Asked, Decided, Middleware, Run, RunObservation, TaskDefaults, wall_ms
from laneway.execute.threads import ThreadCrew
from laneway.execute.verdicts import BadArguments, StaleLease, Verdicts
from laneway.execute.wire import Request
from laneway.kit.logs import get_logger, set_scope
from laneway.model.context import ContextData, ContextFactory
from laneway.model.envelope import decode_stored
from laneway.model.notes import NOTED
from laneway.model.record import HAS_ERRORS, SUSPECT
from laneway.model.settlement import Kind, Settlement
from laneway.model.task import HandlerKind, TaskDef
from laneway.policy import outcome
from laneway.policy.outcome import MAX_RESULT, Attempt, Decision
from laneway.ports.store import Claimed

log = get_logger("laneway.executor")

_COMPLETE = Kind.COMPLETE
_ASYNC, _PROCESS = HandlerKind.ASYNC, HandlerKind.PROCESS


class Executor:
    """Runs the tasks that a worker holds. All of it but :meth:`running` belongs to one event loop's thread.

    Each task given to :meth:`start` ends in exactly one call of ``on_settled(settlement)`` or ``on_dropped(task_id)``;
    either may come before :meth:`start` returns. It is dropped, which writes nothing, when the lease was lost
    (:meth:`lose`) or ``may_start()`` says that it is not known to be fresh at the moment when the handler would begin.

    * ``threads`` bounds handlers in threads, ``processes`` those in processes (None: as many as processors); those
      beyond wait here, and their timeout counts from when they begin. Suspects (tasks that ran on a worker that died)
      run in a process of their own, outside that bound.
    * ``app_path`` (``package.module:app``) is what child processes load: an object with ``tasks``, or that mapping;
      ``context_path`` names the maker of contexts there. Without it suspects run in this process like all others.
    * The timeout of a handler in a process counts from when it has its process.
    * A handler past its timeout is asked to stop: an async one is cancelled, one in a process gets SIGTERM and, after
      ``kill_after`` seconds, SIGKILL. One in a thread can't be interrupted: its context's ``cancelled`` is set, and
      like an async handler that swallows the cancellation it keeps its slot until it returns, and is settled then.
    * ``make_context`` turns a ContextData into what handlers get; ``observe`` hears of every attempt that was settled.
    * ``linger`` (s) is what child processes get at the end for what they still have to send.
    * ``scribe`` writes down what handlers tell of themselves: progress, checkpoints, log lines. It is this one's own.
    * ``max_result`` (bytes) bounds an encoded result.
    * ``rand`` gives the jitter of backoffs and ``clock_ms`` the time (ms since 1970) that contexts and errors show:
      tests with virtual time put their own in.

    Raises:
        ConfigError: a task runs in processes, and ``app_path`` is not known.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskDef],
        *,
        worker_name: str,
        on_settled: Callable[[Settlement], None],
        on_dropped: Callable[[bytes], None],
        may_start: Callable[[], bool],
        lane_name: Callable[[int], str],
        threads: int = 10,
        processes: int | None = None,
        app_path: str | None = None,
        context_path: str = "",
        middleware: Sequence[Middleware] = (),
        make_context: ContextFactory | None = None,
        state: Any = None,
        observe: Callable[[RunObservation], None] | None = None,
        linger: float = 0.0,
        scribe: Scribe | None = None,
        defaults: TaskDefaults = TaskDefaults(),  # noqa: B008  (frozen)
        max_result: int = MAX_RESULT,
        kill_after: float = 2.0,
        rand: random.Random | None = None,
        clock_ms: Callable[[], int] = wall_ms,
    ) -> None:
        in_process = sorted(name for name, task in tasks.items() if task.kind is _PROCESS)
        if in_process and app_path is None:
            raise ConfigError(
                f"tasks {', '.join(in_process)} run in processes of their own, which load the application by its path: "
                "give it as package.module:app"
            )
        self._tasks = tasks
        self._worker = worker_name
        self._on_settled = on_settled
        self._on_dropped = on_dropped
        self._may_start = may_start
        self._lane_name = lane_name
        self._threads = max(1, threads)
        self._processes = max(1, processes or os.cpu_count() or 1)
        self._app_path = app_path
        self._context_path = context_path
        self._middleware = tuple(middleware)
        self._make_context = make_context
        self._state = state
        self._observe = observe
        self._linger = linger
        self._scribe = scribe
        self._defaults = defaults
        self._max_result = max_result
        self._rand = rand
        self._clock_ms = clock_ms
        self._verdicts = Verdicts(worker_name, defaults, max_result, kill_after, rand, clock_ms)
        self._kill_after = kill_after
        self._runs: dict[bytes, Run] = {}
        self._lost: list[Run] = []  # not this worker's any more, but their handlers have not returned yet
        self._stopping = False
        self._warned = False
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- what the worker asks

    @property
    def busy(self) -> int:
        """How many slots are taken, by handlers of lost tasks too."""
        return len(self._runs) + len(self._lost)

    @property
    def overdue(self) -> int:
        """How many handlers were asked to stop for their timeout and have not returned: stuck ones stay."""
        return sum(run.asked is Asked.TIMEOUT for run in [*self._runs.values(), *self._lost])

    def running(self) -> list[tuple[bytes, int]]:
        """(id, fence) of what runs or waits here, lost tasks left out. May be called from any thread."""
        return [(run.id, run.fence) for run in list(self._runs.values())]

    async def prepare(self) -> None:
        """Loads the application in the fork server ahead of the first task that needs it.

        Raises:
            ChildUnavailable: it can't be loaded there.
        """
        self._bind(asyncio.get_running_loop())
        if self._isolation is not None:
            await self._isolation.server.ready()

    def start(self, claimed: Claimed, now_ms: int) -> None:
        """Takes on a task; ``now_ms`` is Redis time. Never blocks, and a bad task is settled, not raised."""
        loop = self._loop
        if loop is None:
            loop = self._bind(asyncio.get_running_loop())
        task_id = claimed.id
        if task_id in self._runs and not self._replaces(claimed):
            return
        try:
            envelope = decode_stored(claimed.envelope)
        except ValueError as error:
            facts = Attempt(claimed.attempt, claimed.attempt, self._worker, now_ms)
            self._settle_unread(claimed, "(unreadable)", facts, outcome.of_corrupt(facts, error))
            return
        definition = self._tasks.get(envelope.body.type)
        if definition is None:
            facts = Attempt(claimed.attempt, envelope.max_attempts or self._defaults.max_attempts, self._worker, now_ms)
            unknown = outcome.of_unknown_type(facts, envelope.body.type, self._tasks.keys(), self._rand)
            self._settle_unread(claimed, envelope.body.type, facts, unknown)
            return
        if self._stopping:
            self._hand_back(claimed)
            return
        run = Run(
            task_id,
            claimed.fence,
            claimed.attempt,
            claimed.crashes,
            envelope,
            claimed.envelope,
            definition,
            now_ms,
        )
        self._runs[task_id] = run
        if claimed.flags:
            run.again = bool(claimed.flags & HAS_ERRORS)
        work: Coroutine[Any, Any, None]
        if definition.kind is _ASYNC and not self._middleware and not claimed.flags & _UNLIKE_OTHERS:
            work = self._run_plain(run)
        else:
            run.suspect = bool(claimed.flags & SUSPECT) and self._isolates()
            run.noted = bool(claimed.flags & NOTED) and self._scribe is not None
            work = self._run_any(run)
        if sys.version_info >= (3, 12):
            handle = asyncio.Task(work, loop=loop, name=definition.name, eager_start=True)
        else:
            handle = asyncio.Task(work, loop=loop, name=definition.name)
        run.handle = handle

    def cancel(self, task_id: bytes) -> None:
        """Somebody asked for the task's cancellation: its handler is asked to stop. It settles as CANCEL, unless the
        handler returns a result all the same."""
        run = self._runs.get(task_id)
        if run is not None and run.asked < Asked.CANCEL:  # (once: what it does to clean up is not interrupted again)
            self._ask(run, Asked.CANCEL)

    def lose(self, task_id: bytes) -> None:
        """The lease was lost: the handler is asked to stop, and nothing is settled whatever it does."""
        run = self._runs.pop(task_id, None)
        if run is not None:
            self._lost.append(run)
            self._ask(run, Asked.LOST)

    async def stop(self, grace: float) -> None:
        """Ends all work; what is started from here on is handed back at once.

        What waits for a thread or process is handed back. Handlers may finish for ``grace`` seconds; then async ones
        are cancelled and processes killed, and what has not returned ``kill_after`` seconds later is handed back as
        well: a handler in a thread may go on running until the process exits, so exit it.
        """
        self._bind(asyncio.get_running_loop())
        self._stopping = True
        for run in list(self._runs.values()):
            if not run.began and run.handle is not None:
                self._ask(run, Asked.STOP)
        if not await self._ended_within(grace):
            for run in [*self._runs.values(), *self._lost]:
                self._ask(run, Asked.STOP)
                if run.child is not None:
                    run.killed = True
                    run.child.kill()
            if not await self._ended_within(self._kill_after):
                for run in list(self._runs.values()):
                    self._end(run, outcome.of_drain())
                for run in list(self._lost):
                    self._end(run, None)
        self._deadlines.close()
        self._crew.close()
        if self._isolation is not None:
            await self._isolation.close()
        if self._scribe is not None:
            await self._scribe.close()
        self._loop = None

    # -- one attempt, step by step

    async def _run_plain(self, run: Run) -> None:
        """An async handler with nothing around it: the hot path."""
        if not self._begin(run):
            return
        task = run.definition
        result: Any
        try:
            arguments = self._arguments(run)
            if task.takes_context is not None:
                context = self._context(run, arguments)
                arguments = {**arguments, task.takes_context: self._contextual(context)}
            result = await task.fn(**arguments)
        except GeneratorExit:
            raise
        except BaseException as error:
            decision = self._verdicts.raised(run, error)
        else:
            decision = _DONE if result is None and not run.asked else self._verdicts.returned(run, result)
        if run.book is not None:
            decision = await self._told(run, decision)
        self._end(run, decision)

    async def _run_any(self, run: Run) -> None:
        """A handler in a thread or process, or with middleware around it."""
        result: Any
        try:
            async with self._place(run):
                if run.noted and self._scribe is not None:
                    saved = await self._scribe.recall(run.id)
                    run.saved = saved.data if saved is not None else None
                if not self._begin(run):
                    return
                result = await self._wrapped(run)
        except GeneratorExit:
            raise
        except BaseException as error:
            decision = self._verdicts.raised(run, error)
        else:
            decision = self._verdicts.returned(run, result)
        if run.book is not None or run.noted:
            decision = await self._told(run, decision)
        self._end(run, decision)

    async def _told(self, run: Run, decision: Decision | None) -> Decision | None:
        """Before an attempt ends, what its handler told of itself is written: later its fence would not let it pass.
        Returns what is settled then: nothing, when the task was lost meanwhile."""
        run.deadline = NEVER
        if self._scribe is not None and decision is not None:
            with contextlib.suppress(asyncio.CancelledError):  # asked to stop: it ends at once
                await self._scribe.finish(run)
            if run.saved is not None and decision.kind is _COMPLETE:
                self._scribe.succeeded(run.id)
        return None if run.asked is Asked.LOST else decision

    def _place(self, run: Run) -> contextlib.AbstractAsyncContextManager[Any]:
        """What a handler waits for before it begins."""
        if run.suspect or run.definition.kind is _ASYNC:
            return _NO_WAIT
        return self._process_slots if run.definition.kind is _PROCESS else self._thread_slots

    def _begin(self, run: Run) -> bool:
        """Whether the handler begins now. Only here is it known that it does, so here the lease is looked at."""
        if run.ended:
            return False
        if not self._may_start():
            self._end(run, None)
            return False
        run.began = now = time.monotonic()
        timeout = run.envelope.body.timeout_ms * 0.001 or run.definition.timeout
        if timeout:
            run.timeout = timeout
            if not run.suspect and run.definition.kind is not _PROCESS:
                run.deadline = deadline = now + timeout
                if deadline < self._deadlines.next:
                    self._deadlines.note(deadline)
        set_scope(run)
        return True

    def _begin_in_child(self, run: Run) -> None:
        """As :meth:`_begin`, once there is a child, which may have taken long: the clock starts again."""
        if not self._may_start():
            raise StaleLease
        run.began = time.monotonic()
        if run.timeout:
            run.deadline = run.began + run.timeout
            self._deadlines.note(run.deadline)

    def _arguments(self, run: Run) -> dict[str, Any]:
        try:
            return run.definition.decode(run.envelope.body.payload)
        except InvalidTask as error:
            raise BadArguments from error

    async def _wrapped(self, run: Run) -> Any:
        if not self._middleware and self._in_child(run):
            return await self._call_child(run)
        arguments = self._arguments(run)
        task = run.definition
        if self._middleware or task.takes_context is not None:
            context = self._context(run, arguments)
        if task.takes_context is not None and not self._in_child(run):
            arguments = {**arguments, task.takes_context: self._contextual(context)}
        if not self._middleware:
            return await self._call(run, arguments)
        call: Callable[[], Awaitable[Any]] = partial(self._call, run, arguments)
        for layer in reversed(self._middleware):
            call = partial(layer.around_execute, context, call)
        return await call()

    async def _call(self, run: Run, arguments: dict[str, Any]) -> Any:
        task = run.definition
        if self._in_child(run):
            return await self._call_child(run)
        if task.kind is _ASYNC:
            return await task.fn(**arguments)
        run.in_thread = True
        try:
            return await self._crew.call(partial(task.fn, **arguments))
        finally:
            run.in_thread = False

    def _in_child(self, run: Run) -> bool:
        return run.suspect or run.definition.kind is _PROCESS

    async def _call_child(self, run: Run) -> Decided:
        assert self._isolation is not None
        return await self._isolation.call(run, self._begin_in_child, self._request, self._verdicts.crashed)

    def _request(self, run: Run) -> Request:
        lane = self._lane_name(run.envelope.lane)
        request = run.request(lane, self._worker, self._defaults, self._max_result)
        run.scribe = self._scribe
        request.saved, request.notes = run.saved, self._scribe is not None
        return request

    def _context(self, run: Run, arguments: dict[str, Any]) -> ContextData:
        lane = self._lane_name(run.envelope.lane)
        run.scribe = self._scribe
        return run.context(arguments, lane, self._worker, self._defaults, self._state, self._clock_ms())

    def _contextual(self, data: ContextData) -> Any:
        return data if self._make_context is None else self._make_context(data)

    # -- how it ends

    def _end(self, run: Run, decision: Decision | None) -> None:
        """The one end of an attempt: frees its slot and tells, once."""
        if run.ended:
            return
        run.ended = True
        run.deadline = NEVER
        runs = self._runs
        if runs.get(run.id) is run:
            del runs[run.id]
        else:
            self._lost.remove(run)
        if run.book is not None and self._scribe is not None:
            self._scribe.forget(run.book)
        if decision is None:
            self._on_dropped(run.id)
        else:
            self._on_settled(
                Settlement(decision.kind, run.id, run.fence, decision.delay_ms, decision.data, decision.crashed)
            )
            if decision.kind is not _COMPLETE:
                limit = run.max_attempts(self._defaults)
                log_attempt(run.id, run.definition.name, run.attempt, limit, decision)
            if self._observe is not None:
                self._observe(run.observation(decision.kind, decision.crashed, time.monotonic()))
        if self._idle is not None and not runs and not self._lost:
            self._idle.set()

    def _settle_unread(self, claimed: Claimed, type: str, facts: Attempt, decision: Decision) -> None:
        """Settles a task that never became a run, for what is wrong with it."""
        self._on_settled(Settlement(decision.kind, claimed.id, claimed.fence, decision.delay_ms, decision.data))
        log_attempt(claimed.id, type, facts.attempt, facts.max_attempts, decision)

    def _hand_back(self, claimed: Claimed) -> None:
        self._on_settled(Settlement(Kind.RELEASE, claimed.id, claimed.fence))

    def _replaces(self, claimed: Claimed) -> bool:
        """Whether a task that runs here already was claimed anew. The same fence is a record delivered twice."""
        old = self._runs[claimed.id]
        if old.fence >= claimed.fence:
            return False
        self.lose(claimed.id)
        return True

    # -- asking handlers to stop

    def _ask(self, run: Run, why: Asked) -> None:
        if run.ended:
            return
        run.asked = max(run.asked, why)
        if run.flag is not None:
            run.flag.set()
        if run.child is not None:
            run.child.terminate()
            if not run.killed:
                run.deadline = time.monotonic() + self._kill_after
                self._deadlines.note(run.deadline)
        elif not run.in_thread and run.handle is not None and run.began:
            run.handle.cancel()
        elif not run.began and run.handle is not None:
            # It waits for a thread or process: it never will have one.
            run.handle.cancel()
            self._end(run, self._verdicts.raised(run, asyncio.CancelledError()))

    def _expired(self, run: Run) -> None:
        """A deadline has passed: of the execution, or of the time a child has to obey."""
        if run.asked and run.child is not None:
            run.killed = True
            run.child.kill()
        elif not run.asked:
            self._ask(run, Asked.TIMEOUT)

    # -- around

    def _bind(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        """Makes what belongs to one event loop."""
        if self._loop is loop:
            return loop
        self._loop = loop
        if self._scribe is not None:
            self._scribe.open(loop)
        self._deadlines = Deadlines(loop, self._all_runs, self._expired)
        self._crew = ThreadCrew(self._threads, loop)
        self._thread_slots = asyncio.Semaphore(self._threads)
        self._process_slots = asyncio.Semaphore(self._processes)
        self._isolation: Isolation | None = None
        if self._app_path is not None:
            self._isolation = Isolation(self._app_path, self._context_path, self._processes, loop, self._linger)
        return loop

    def _all_runs(self) -> Iterable[Run]:
        return [*self._runs.values(), *self._lost]

    def _isolates(self) -> bool:
        if self._app_path is not None:
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                "a task that ran on a worker which died runs in this process again: "
                "the application's path is not known, so it can't be isolated"
            )
        return False

    async def _ended_within(self, seconds: float) -> bool:
        """Waits until nothing runs, at most ``seconds``."""
        if not self._runs and not self._lost:
            return True
        if self._idle is None:
            self._idle = asyncio.Event()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True


_DONE = Decision(Kind.COMPLETE)
#: Tasks that ran before and left something: a dead worker, or a checkpoint.
_UNLIKE_OTHERS = SUSPECT | NOTED
_NO_WAIT = contextlib.nullcontext()
