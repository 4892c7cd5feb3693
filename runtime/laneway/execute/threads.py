"""Threads for handlers that block. They are daemons: a handler that never returns must not keep the process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

_Job = tuple["asyncio.Future[Any]", Context, Callable[[], Any]]


class ThreadCrew:
    """At most ``size`` threads, started when first needed.

    Finished calls are handed to the event loop in batches: many at once cost it one wake-up.
    """

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop, name: str = "laneway-handler") -> None:
        self._size = size
        self._loop = loop
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._threads = 0
        self._busy = 0

    def call(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        """Calls ``fn`` in a thread, with a copy of the present context. Cancelling the future ends nothing."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._busy += 1
        if self._busy > self._threads and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put((future, copy_context(), fn))
        return future

    def close(self) -> None:
        """Lets idle threads end; those that work end after their handler."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            future, context, fn = job
            result, error = None, None
            try:
                result = context.run(fn)
            except BaseException as raised:
                error = raised
            self._done.append((future, result, error))
            del job, future, context, fn, result, error
            if not self._waking:
                self._waking = True
                try:
                    self._loop.call_soon_threadsafe(self._collect)
                except RuntimeError:
                    return  # The loop is closed: nobody waits for handlers any more.

    def _collect(self) -> None:
        # The flag falls first: what is appended from here on wakes the loop again, or is found below.
        self._waking = False
        while self._done:
            future, result, error = self._done.popleft()
            self._busy -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                # A future refuses this one, as a coroutine does.
                wrapped = RuntimeError("the handler raised StopIteration")
                wrapped.__cause__ = error
                future.set_exception(wrapped)
            else:
                future.set_exception(error)
