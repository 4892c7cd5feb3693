"""The App for code without an event loop. It runs the async App on a loop in the background; there is no
second implementation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from laneway.client.handle import CancelAnswer, Handle, TaskStatus
from laneway.client.task import Call
from laneway.errors import ConfigError, LanewayError
from laneway.model.notes import LogPage, Progress

if TYPE_CHECKING:
    from laneway.client.app import App

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread, started when first used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine there and waits for its result.

        Raises:
            ConfigError: the caller is itself on an event loop, which would stand still.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._wait(work)
        work.close()
        raise ConfigError("app.sync blocks, and this is an event loop: await the App's own methods instead")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in the caller: nobody waits for it any more
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="laneway-sync", daemon=True)
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        """Ends the loop and its thread; the next use starts others."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class SyncHandle(Generic[R_co]):
    """A handle whose methods block."""

    def __init__(self, loop: LoopThread, handle: Handle[R_co]) -> None:
        self._loop = loop
        self._handle = handle

    @property
    def id(self) -> str:
        """The task's id: 23 characters."""
        return self._handle.id

    @property
    def duplicate(self) -> bool:
        """Whether it had been submitted before, under the same key or id."""
        return self._handle.duplicate

    def status(self) -> TaskStatus:
        """As :meth:`Handle.status`."""
        return self._loop.run(self._handle.status())

    def result(self, timeout: float | None = None) -> R_co:
        """As :meth:`Handle.result`."""
        return self._loop.run(self._handle.result(timeout))

    def progress(self) -> Progress | None:
        """As :meth:`Handle.progress`."""
        return self._loop.run(self._handle.progress())

    def logs(self, after: int = 0) -> LogPage:
        """As :meth:`Handle.logs`."""
        return self._loop.run(self._handle.logs(after))

    def cancel(self) -> CancelAnswer:
        """As :meth:`Handle.cancel`."""
        return self._loop.run(self._handle.cancel())


class SyncApp:
    """An App whose methods block; ``app.sync`` gives it. Safe to use from several threads."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop = LoopThread()

    def submit(self, call: Call[R]) -> SyncHandle[R]:
        """As :meth:`App.submit`: ``app.sync.submit(resize.call(path="a"))``."""
        return SyncHandle(self._loop, self._loop.run(self._app.submit(call)))

    def submit_many(self, calls: Iterable[Call[R]]) -> list[SyncHandle[R] | LanewayError]:
        """As :meth:`App.submit_many`."""
        results = self._loop.run(self._app.submit_many(calls))
        return [result if isinstance(result, LanewayError) else SyncHandle(self._loop, result) for result in results]

    def handle(self, id: str) -> SyncHandle[Any]:
        """As :meth:`App.handle`."""
        return SyncHandle(self._loop, self._app.handle(id))

    def close(self) -> None:
        """Closes the connection and ends the thread; the next use opens others."""
        self._loop.run(self._app.close())
        self._loop.stop()

    def __enter__(self) -> SyncApp:
        self._loop.run(self._app.connect())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
