"""TestQueue: an App's queue in a test's own memory, whose time passes only when there is something to do."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.client import App
from laneway.errors import ConfigError
from laneway.execute.executor import Executor
from laneway.execute.notes import Scribe
from laneway.execute.run import TaskDefaults
from laneway.model.config import DEFAULT_LANE, MAX_LANES, Keep, Kept, LaneConfig, QueueConfig
from laneway.model.states import FINAL, State
from laneway.ports.store import TaskView
from laneway.testing.crew import Crew
from laneway.testing.driver import IDLE_MOST_MS, LIMIT, Driver, QueueStuck
from laneway.testing.elsewhere import from_elsewhere
from laneway.testing.handlers import Handlers
from laneway.testing.store import QueueStore, driven_by
from laneway.testing.submissions import Submissions
from laneway.testing.submitted import SubmittedTask

if TYPE_CHECKING:
    from laneway.testing.sync import SyncTestQueue

#: Ended tasks are kept whatever their age: a test looks at them after it has made a day pass.
KEPT = Kept(ended=Keep(n=1_000_000, ms=0), dead=Keep(n=1_000_000, ms=0))
_BY_LIFESPAN = object()


class TestQueue(Submissions):
    """Takes the place of an App's Redis and of its workers, within ``async with``.

    All that uses the App, on any event loop and by ``app.sync`` too, submits to this queue in memory. Handlers run in
    :meth:`run` and the like, by the real executor: retries, outcomes, contexts, middleware and the lifespan are as in
    production. Delays, backoffs, snoozes, start timeouts, rates and retention follow the queue's own time, which
    stands still until something here makes it pass. What handlers sleep or wait for themselves takes real time, and so
    does the ``timeout`` of an execution.

    * ``lanes`` are the queue's, best first; by default those that the App's tasks name, and ``default``. ``config``
      gives all of the configuration instead (of ended tasks, none is forgotten by default).
    * ``seed`` makes the jitter of backoffs the same in each run of a test (None: at random).
    * ``start`` is the time at the beginning, with a time zone; by default the real one.
    * ``slots``: how many handlers run at once. With 1, tasks run one after another, in the order of their priorities;
      a handler that waits for another task's result lends its slot meanwhile.
    * ``stubs`` are called in place of handlers, with the arguments by name: ``{"send_mail": AsyncMock()}``. They may
      be async, return a result or an outcome, and raise. A task type that the App does not have needs one to be run.
    * ``state`` is ``context.state`` in place of what the App's lifespan gives, which is not entered then.
    * ``app_path`` (``package.module:app``): process handlers get processes of their own; else they run in threads.
    * ``patience``: seconds of real time for which a handler may do nothing that the queue sees (None: for ever).

    Example::

        async with TestQueue(app) as queue:
            handle = await resize.submit("a.png")
            await queue.run()
            assert await handle.result() == "a@128.png"

    Raises:
        ConfigError: ``lanes`` and ``config`` are both given, ``start`` has no time zone, or ``slots`` is below 1.
    """

    __test__ = False  # for pytest: this is not a class of tests

    def __init__(
        self,
        app: App,
        *,
        lanes: Sequence[str] | None = None,
        config: QueueConfig | None = None,
        seed: int | None = 0,
        start: datetime | None = None,
        slots: int = 1,
        stubs: Mapping[str, Callable[..., Any]] | None = None,
        state: Any = _BY_LIFESPAN,
        app_path: str | None = None,
        patience: float | None = 30.0,
    ) -> None:
        if lanes is not None and config is not None:
            raise ConfigError("give lanes or config, not both: config has lanes of its own")
        if start is not None and start.tzinfo is None:
            raise ConfigError(
                f"start needs a time zone: {start.isoformat()} could be anywhere; give datetime(..., tzinfo=UTC)"
            )
        if slots < 1:
            raise ConfigError(f"slots is the number of handlers that run at once, 1 or more, not {slots}")
        super().__init__(app, Handlers(app, stubs or {}, app_path is not None))
        self._given = lanes
        self._config = config
        self._seed = seed
        self._start = start
        self._slots = slots
        self._state = state
        self._app_path = app_path
        self._patience = patience
        self._clock = VirtualClock()
        self._crew: Crew | None = None
        self._driver: Driver | None = None
        self._open: AsyncExitStack | None = None
        self._lock = asyncio.Lock()
        self._idle: dict[bytes, tuple[float, int]] = {}

    def __repr__(self) -> str:
        return f"<TestQueue of {self._app.name}>"

    def sync(self) -> SyncTestQueue:
        """The same for tests without an event loop: ``with TestQueue(app).sync() as queue:``."""
        from laneway.testing.sync import SyncTestQueue

        return SyncTestQueue(self)

    # -- life

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise ConfigError("this TestQueue is open already: make another one for another test")
        start = time.time_ns() // 1_000_000 if self._start is None else math.ceil(self._start.timestamp() * 1000)
        self._clock = VirtualClock(start)
        self._store = store = QueueStore(self._clock, self._await_end)
        self._crew = self._driver = None
        self._idle = {}
        self._lock = asyncio.Lock()
        await store.configure(self._config or self._default_config(), {}, expected="")
        home = asyncio.get_running_loop()

        def make_store() -> Any:
            return store if asyncio.get_running_loop() is home else from_elsewhere(store, home)

        self._open = AsyncExitStack()
        self._open.enter_context(self._app.stand_in(make_store))
        return self

    async def __aexit__(self, *_: object) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.aclose()

    def _default_config(self) -> QueueConfig:
        names = list(dict.fromkeys(self._given or self._named_lanes()))
        if len(names) > MAX_LANES:
            raise ConfigError(f"a queue has at most {MAX_LANES} lanes, not {len(names)}")
        lanes = tuple(LaneConfig(n=n, name=name) for n, name in enumerate(names, 1))
        return QueueConfig(lanes=lanes, default_lane=DEFAULT_LANE if DEFAULT_LANE in names else names[-1], keep=KEPT)

    def _named_lanes(self) -> list[str]:
        named = [task.lane for task in self._app.tasks.values() if task.lane is not None]
        return named if DEFAULT_LANE in named else [*named, DEFAULT_LANE]

    @asynccontextmanager
    async def _driving(self) -> AsyncIterator[Driver]:
        """The driver, for one caller at a time. It is made when something is to run for the first time, with what the
        App's lifespan gives."""
        store = self._opened()
        if self._open is None:
            raise ConfigError("this TestQueue is closed: run it within `async with TestQueue(app) as queue:`")
        if driven_by.get() is store:
            raise ConfigError("a handler can't run the queue that runs it: submit tasks, and await their results")
        async with self._lock:
            self._handlers.refresh()
            if self._driver is None:
                self._driver = await self._made(store, self._open)
            yield self._driver

    async def _made(self, store: QueueStore, opened: AsyncExitStack) -> Driver:
        state = self._state
        if state is _BY_LIFESPAN:
            state = await opened.enter_async_context(self._app.run_lifespan())
        self._crew = crew = Crew(store, self._app.name, self._handlers, self._executor_maker(store, state))
        await crew.register()
        opened.push_async_callback(crew.leave)  # it ends before the lifespan does, which its handlers use
        return Driver(store, self._clock, crew, self._slots, self._patience)

    def _executor_maker(self, store: QueueStore, state: Any) -> Callable[..., Executor]:
        config = store.live_config()

        def lane_name(n: int) -> str:
            lane = store.live_config().lane_number(n)
            return lane.name if lane else str(n)

        async def extend(task_id: bytes, fence: int) -> bool | None:
            assert self._crew is not None
            return await store.extend(self._crew.incarnation, task_id, fence)

        def incarnation() -> bytes:
            return self._crew.incarnation if self._crew is not None else b""

        # (Checkpoints stay, for tests to see.)
        scribe = Scribe(store.notes, incarnation, tidy=False, clock_ms=self._clock.now_ms)

        def make(**callbacks: Any) -> Executor:
            return Executor(
                self._handlers,
                lane_name=lane_name,
                threads=max(10, self._slots),
                app_path=self._app_path,
                context_path="laneway.client.context:Context",
                middleware=self._app.execution_middleware(extend),
                make_context=self._app.context_factory(extend),
                state=state,
                scribe=scribe,
                defaults=TaskDefaults(config.max_attempts, config.backoff),
                rand=None if self._seed is None else random.Random(self._seed),
                clock_ms=self._clock.now_ms,
                **callbacks,
            )

        return make

    # -- running

    async def run(self, *, skip_time: bool = True, limit: int = LIMIT) -> int:
        """Runs what is due, and what that submits, until nothing is left to do. Returns how many attempts there were.

        When nothing is due, time skips to the next delayed task, retry or snooze; with ``skip_time=False`` it stands
        still, and those stay. A failing handler raises nothing here: see :meth:`drain`.

        Raises:
            QueueStuck: more than ``limit`` attempts, or a handler that does not end.
            UnknownTask: the App has no such task, and no stub stands in for it.
        """
        async with self._driving() as driver:
            return await driver.go(skip_time=skip_time, limit=limit)

    async def run_one(self, *, skip_time: bool = False) -> SubmittedTask | None:
        """Runs one attempt of the task whose turn it is, and returns that task as it is then; None when nothing is due.
        With ``skip_time``, time skips to the next task that will be.

        Raises:
            QueueStuck, UnknownTask: as :meth:`run`.
        """
        async with self._driving() as driver:
            await driver.go(skip_time=skip_time, one=True)
            return self._view(driver.first) if driver.first else None

    async def drain(self, *, limit: int = LIMIT) -> int:
        """As :meth:`run`, for tests in which all has to go well. Returns how many attempts there were.

        Raises:
            AssertionError: a task is dead, cancelled or expired, with its errors; or one is left that won't run.
            QueueStuck, UnknownTask: as :meth:`run`.
        """
        attempts = await self.run(limit=limit)
        bad = [task for task in self.submitted() if task.state not in (State.SUCCEEDED, None)]
        if bad:
            raise AssertionError("not every task succeeded:\n" + "\n".join(_with_errors(task) for task in bad))
        return attempts

    async def advance(self, seconds: float | timedelta, *, run: bool = True) -> int:
        """Lets time pass. What comes due meanwhile runs at its moment, and in its order; with ``run=False`` nothing
        runs, though tasks may expire. Returns how many attempts there were.

        Raises:
            ValueError: ``seconds`` is negative, or no number.
            QueueStuck, UnknownTask: as :meth:`run`.
        """
        length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not (math.isfinite(length) and length >= 0):
            raise ValueError(f"time goes forward: give 0 seconds or more, not {seconds!r}")
        async with self._driving() as driver:
            if run:
                return await driver.go(deadline_ms=self._clock.now_ms() + round(length * 1000))
            await driver.pass_ms(round(length * 1000))
            return 0

    async def _await_end(self, id: bytes, timeout: float) -> TaskView | None:
        """What ``handle.result()`` does in a test: it runs the queue until the task has ended, for at most
        ``timeout`` seconds of the queue's time."""
        store, deadline = self._opened(), self._clock.now_ms() + round(timeout * 1000)
        if not store.ended_or_gone(id) and timeout > 0:
            async with self._driving() as driver:
                attempts = await driver.go(until=lambda: store.ended_or_gone(id), deadline_ms=deadline)
            if not store.ended_or_gone(id):
                self._count_idle(driver, id, timeout, attempts)
        view = store.view(id)
        return view if view is None or view.state.final else None

    def _count_idle(self, driver: Driver, id: bytes, seconds: float, attempts: int) -> None:
        """A wait without a timeout comes here again and again: that must end when nothing will end the task."""
        waited, ran = self._idle.get(id, (0.0, 0))
        waited = waited + seconds if self._opened().next_due_ms() is None and not attempts else 0.0
        ran += attempts
        self._idle[id] = (waited, ran)
        if waited * 1000 > IDLE_MOST_MS or ran > LIMIT:
            raise QueueStuck(
                f"the result of {driver.describe(id)}, was waited for in vain: nothing in the queue will end it. Is "
                "its lane or the queue paused, or does it always snooze?"
            )

    # -- looking

    @property
    def store(self) -> MemoryStore:
        """The queue itself, for what is not here: replay, purge, configure, statistics."""
        return self._opened()

    @property
    def now(self) -> datetime:
        """The queue's time."""
        self._opened()
        return datetime.fromtimestamp(self._clock.now_ms() / 1000.0, UTC)


def _with_errors(task: SubmittedTask) -> str:
    lines = [str(task)]
    for error in task.errors:
        lines.append(f"  attempt {error.attempt}: {error.kind}: {error.message}")
    if task.errors and task.errors[-1].traceback:
        lines += ["    " + line for line in task.errors[-1].traceback.rstrip().splitlines()]
    if task.state not in FINAL:
        lines.append("  it is left, and nothing due will run it")
    return "\n".join(lines)
