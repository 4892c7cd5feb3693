"""The App: an application's tasks, and its way to the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakKeyDictionary

import msgspec

from laneway.client.context import Context, Extend
from laneway.client.define import Policy, TaskDecorator, define_task
from laneway.client.handle import Handle, parse_id
from laneway.client.middleware import Middleware, MiddlewareChain
from laneway.client.options import Options, apply_options
from laneway.client.settings import ClientSettings, load_settings
from laneway.client.task import AsyncTask, Call, SyncTask, Task
from laneway.errors import ConfigError, InvalidTask, LanewayError
from laneway.kit.tracing import present_tracing
from laneway.model.context import ContextData, ContextFactory
from laneway.model.notes import TaskType
from laneway.model.task import TaskDef
from laneway.ports.store import TaskStore
from laneway.submit import NewTask, Receipt, Submitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from laneway.client.sync import SyncApp

P = ParamSpec("P")
R = TypeVar("R")


class _Session(msgspec.Struct, frozen=True):
    """The connection of one event loop. ``own``: it was made here, and is closed here."""

    store: TaskStore
    submitter: Submitter
    own: bool


class App:
    """An application's tasks and its queue.

    Making an App connects to nothing and reads nothing from the environment. ``redis``, ``queue``,
    ``namespace`` and ``cluster`` say where the queue is; what is left out is taken from LANEWAY_REDIS_URL,
    LANEWAY_QUEUE, LANEWAY_NAMESPACE and LANEWAY_CLUSTER at the first use. ``lifespan`` is called in
    each worker process and gives an async context manager; what that yields is ``context.state``.

    Each event loop that uses an App has a connection of its own; ``async with app:`` closes it at the end.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str | None = None,
        queue: str | None = None,
        namespace: str | None = None,
        cluster: bool | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.name = name
        self.middleware = tuple(middleware)
        self._where = (redis, queue, namespace, cluster)
        self._lifespan = lifespan
        self._tasks: dict[str, Task[..., Any]] = {}
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()
        self._sync: SyncApp | None = None
        self._make_store: Callable[[], TaskStore] | None = None

    def __repr__(self) -> str:
        return f"<App {self.name}: {', '.join(self._tasks) or 'no tasks'}>"

    # -- tasks

    @overload
    def task(self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, fn: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, fn: None = None, /, **policy: Unpack[Policy]) -> TaskDecorator: ...
    def task(self, fn: Callable[..., Any] | None = None, /, **policy: Any) -> Any:
        """Makes a task of a function, with all its policy (see :class:`~laneway.client.define.Policy`):
        ``@app.task`` or ``@app.task(lane="high", timeout=30)``.

        Raises:
            ConfigError: the function or the policy can't be a task's, or the name is taken.
        """
        unknown = policy.keys() - Policy.__annotations__.keys()
        if unknown:
            raise ConfigError(
                f"@app.task has no {', '.join(sorted(unknown))}; it takes {', '.join(Policy.__annotations__)}"
            )

        def decorate(fn: Callable[..., Any]) -> Task[..., Any]:
            made = define_task(self, fn, policy)  # type: ignore[arg-type]  # its names are checked above
            if made.name in self._tasks:
                raise ConfigError(f"app {self.name!r} has a task {made.name!r} already: give one of them another name")
            self._tasks[made.name] = made
            return made

        return decorate if fn is None else decorate(fn)

    @property
    def tasks(self) -> dict[str, TaskDef]:
        """The task definitions by name, as a worker takes them."""
        return {name: task.definition for name, task in self._tasks.items()}

    def call(self, type: str, arguments: Mapping[str, Any] | None = None, **options: Unpack[Options]) -> Call[Any]:
        """A call of a task type by its name, for those who don't have its code. Arguments of a type that this
        App has are checked as :meth:`Task.call` does; of others, the worker checks them.

        Raises:
            InvalidTask: an argument or option is wrong.
        """
        known = self._tasks.get(type)
        if known is not None:
            return known.options(**options).call(**(arguments or {}))
        try:
            payload = msgspec.msgpack.encode(dict(arguments or {}))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidTask(f"task {type!r}: {error}") from error
        return Call(apply_options(NewTask(type=type, payload=payload), options), _decode_any)

    def describe_tasks(self) -> list[TaskType]:
        """The task types with the JSON Schemas of their payloads, as workers announce them."""
        from laneway.client.schemas import describe_types  # only workers tell their types

        return describe_types(self.name, self.tasks, lambda name: self._tasks[name].schema)

    # -- submitting

    async def submit(self, call: Call[R]) -> Handle[R]:
        """Submits one call; raises what :meth:`Task.submit` raises. The same call may be submitted again
        after OutcomeUnknown: it stays one task."""
        session = self._session()
        receipt = await session.submitter.submit(self._prepared(call))
        return Handle(self, receipt.id, call.decode, receipt.duplicate)

    async def submit_many(self, calls: Iterable[Call[R]]) -> list[Handle[R] | LanewayError]:
        """Submits calls in order, 500 to a round trip. The result of each is its handle, or the error that
        submitting it alone would have raised: a refusal touches no other.

        Raises:
            ConfigError: the queue is not configured.
            Unavailable: Redis is away and nothing was submitted.
        """
        session = self._session()
        calls = list(calls)
        answers: list[Handle[R] | LanewayError | None] = [None] * len(calls)
        tasks: list[NewTask] = []
        for i, call in enumerate(calls):
            try:
                tasks.append(self._prepared(call))
            except LanewayError as error:  # a middleware's refusal of this one
                answers[i] = error
        results = iter(await session.submitter.submit_many(tasks))
        return [answer or self._answer(call, next(results)) for call, answer in zip(calls, answers, strict=True)]

    def _answer(self, call: Call[R], result: Receipt | LanewayError) -> Handle[R] | LanewayError:
        if isinstance(result, LanewayError):
            return result
        return Handle(self, result.id, call.decode, result.duplicate)

    def handle(self, id: str) -> Handle[Any]:
        """The handle of a task that was submitted before, by its id; its result comes as plain data.

        Raises:
            UnknownTask: that is not the form of a task id.
        """
        return Handle(self, parse_id(id), _decode_any)

    def _prepared(self, call: Call[Any]) -> NewTask:
        """What is sent: the call as the middlewares leave it. They see each call once, so that it stays one
        task."""
        if call.prepared or not self.middleware:
            return call.new
        task = call.new
        if task.labels is not None:
            task.labels = dict(task.labels)  # shared by all calls of the task; this one may be changed
        for each in self.middleware:
            task = each.before_submit(task)
        call.new, call.prepared = task, True
        return task

    # -- connections

    def settings(self) -> ClientSettings:
        """Where the queue is, by what was given and the environment now.

        Raises:
            ConfigError: a value is wrong.
        """
        return load_settings(*self._where)

    async def connect(self, store: TaskStore | None = None) -> Self:
        """Connects the running event loop, and makes sure that the queue is there. ``store`` is used in place
        of a connection of its own; it stays the caller's to close.

        Raises:
            ConfigError: a setting is wrong, or the queue is not configured.
            Unavailable: Redis is away.
        """
        if store is not None:
            await self.close()
            self._sessions[asyncio.get_running_loop()] = _Session(store, _submitter(store, self.name), False)
        await self._session().store.config()
        return self

    async def close(self) -> None:
        """Closes the running event loop's connection; the next use opens another."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None and session.own:
            await session.store.close()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def store(self) -> TaskStore:
        """The store of the running event loop."""
        return self._session().store

    def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            store = self._make_store() if self._make_store is not None else self._redis_store()
            session = self._sessions[loop] = _Session(store, _submitter(store, self.name), True)
        return session

    def _redis_store(self) -> TaskStore:
        from laneway.adapters.redis import RedisStore  # redis-py is not for those who only define tasks

        where = self.settings()
        return RedisStore(where.server, where.queue, namespace=where.namespace)

    @contextmanager
    def stand_in(self, make_store: Callable[[], TaskStore]) -> Iterator[None]:
        """Within this, every event loop that uses the App gets what ``make_store()`` makes in place of a
        connection to Redis, also after :meth:`close`. Connections made before are back at the end. For tests:
        :class:`laneway.testing.TestQueue` puts its queue in here."""
        before = self._make_store, self._sessions
        self._make_store, self._sessions = make_store, WeakKeyDictionary()
        try:
            yield
        finally:
            self._make_store, self._sessions = before

    @property
    def sync(self) -> SyncApp:
        """The same for code without an event loop: each call blocks until it is done."""
        if self._sync is None:
            from laneway.client.sync import SyncApp

            self._sync = SyncApp(self)
        return self._sync

    # -- for workers

    def make_context(self, data: ContextData) -> Context:
        """The Context of what an executor knows, without a way to Redis: for child processes."""
        return Context(data)

    def context_factory(self, extend: Extend | None = None) -> ContextFactory:
        """What makes a Context of what a worker's executor knows; ``extend`` asks Redis about a held task."""

        def make(data: ContextData) -> Context:
            return Context(data, extend)

        return make

    def execution_middleware(self, extend: Extend | None = None) -> list[MiddlewareChain]:
        """The middlewares as an executor takes them: one for all, or none when they do nothing there."""
        chain = MiddlewareChain(self.middleware, lambda data: Context(data, extend))
        return [chain] if chain else []

    @asynccontextmanager
    async def run_lifespan(self) -> AsyncIterator[Any]:
        """Enters the App's lifespan and gives its value, which becomes ``context.state`` (None without
        one)."""
        if self._lifespan is None:
            yield None
            return
        async with self._lifespan() as state:
            yield state


def _submitter(store: TaskStore, queue: str) -> Submitter:
    """What submits; it makes spans where the application makes some by now. ``queue`` is its name where the store
    has none."""
    tracing = present_tracing()
    if tracing is None:
        return Submitter(store)
    from laneway.submit.spans import SubmitSpans, TracedSubmitter

    return TracedSubmitter(store, SubmitSpans(tracing, getattr(store, "queue", queue)))


def _decode_any(raw: bytes | None) -> Any:
    return None if raw is None else msgspec.msgpack.decode(raw)
