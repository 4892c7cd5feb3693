"""TestQueue for tests without an event loop: its loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from laneway.client import Task
from laneway.client.sync import LoopThread
from laneway.errors import ConfigError
from laneway.model.states import State
from laneway.testing.driver import LIMIT
from laneway.testing.submitted import Expected, SubmittedTask

if TYPE_CHECKING:
    from laneway.testing.queue import TestQueue

T = TypeVar("T")


class SyncTestQueue:
    """A TestQueue whose methods block; ``TestQueue(app).sync()`` makes it. Submit with ``app.sync``::

    with TestQueue(app).sync() as queue:
        handle = app.sync.submit(resize.call("a.png"))
        queue.run()
        assert handle.result() == "a@128.png"
    """

    def __init__(self, queue: TestQueue) -> None:
        self._queue = queue
        self._loop = LoopThread()
        self._open = False

    def __enter__(self) -> SyncTestQueue:
        self._on_loop(self._queue.__aenter__())
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        try:
            self._on_loop(self._queue.__aexit__(None, None, None))
        finally:
            self._loop.stop()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop.run(work)
        work.close()
        raise ConfigError("this test runs on an event loop, which would stand still: use `async with TestQueue(app)`")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it on the queue's loop.

        Raises:
            ConfigError: the caller is itself on an event loop, or the queue is not open.
        """
        if not self._open:
            work.close()
            raise ConfigError("this queue is not open: use it within `with TestQueue(app).sync() as queue:`")
        return self._on_loop(work)

    def _look(self, look: Callable[[], T]) -> T:
        """Looks from the queue's own loop, where nothing changes meanwhile; at the end, from here."""
        if not self._open:
            return look()

        async def there() -> T:
            return look()

        return self._run(there())

    def run(self, *, skip_time: bool = True, limit: int = LIMIT) -> int:
        """As :meth:`TestQueue.run`."""
        return self._run(self._queue.run(skip_time=skip_time, limit=limit))

    def run_one(self, *, skip_time: bool = False) -> SubmittedTask | None:
        """As :meth:`TestQueue.run_one`."""
        return self._run(self._queue.run_one(skip_time=skip_time))

    def drain(self, *, limit: int = LIMIT) -> int:
        """As :meth:`TestQueue.drain`."""
        return self._run(self._queue.drain(limit=limit))

    def advance(self, seconds: float | timedelta, *, run: bool = True) -> int:
        """As :meth:`TestQueue.advance`."""
        return self._run(self._queue.advance(seconds, run=run))

    @property
    def now(self) -> datetime:
        """The queue's time."""
        return self._queue.now

    def submitted(self, task: Task[..., Any] | str | None = None, *, state: State | None = None) -> list[SubmittedTask]:
        """As :meth:`TestQueue.submitted`."""
        return self._look(lambda: self._queue.submitted(task, state=state))

    def dead(self) -> list[SubmittedTask]:
        """As :meth:`TestQueue.dead`."""
        return self._look(self._queue.dead)

    def counts(self) -> dict[State, int]:
        """As :meth:`TestQueue.counts`."""
        return self._look(self._queue.counts)

    def assert_submitted(
        self,
        task: Task[..., Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        times: int | None = None,
        **options: Unpack[Expected],
    ) -> SubmittedTask:
        """As :meth:`TestQueue.assert_submitted`."""
        return self._look(lambda: self._queue.assert_submitted(task, arguments, times=times, **options))

    def assert_not_submitted(
        self, task: Task[..., Any] | str, arguments: Mapping[str, Any] | None = None, **options: Unpack[Expected]
    ) -> None:
        """As :meth:`TestQueue.assert_not_submitted`."""
        self._look(lambda: self._queue.assert_not_submitted(task, arguments, **options))
