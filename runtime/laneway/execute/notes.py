"""The scribe: writes down what handlers tell of themselves, many at once and seldom, so that it costs them little."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from laneway.errors import ConfigError, LanewayError, LeaseLost
from laneway.execute.notebook import LineBudget, NoteBook
from laneway.execute.run import Run
from laneway.execute.task_logs import TaskLogHandler
from laneway.kit.ids import id_text
from laneway.kit.logs import Scope, get_logger
from laneway.model.notes import Note, Saved
from laneway.ports.notes import NoteStore

log = get_logger("laneway.notes")

T = TypeVar("T")

#: A task's progress and lines are written at most this often (s).
INTERVAL = 0.5
#: How long the end of an attempt waits (s) for what it has told.
END_WAIT = 1.0
#: How long after its end (s) the checkpoint of a task that succeeded goes; how many at once, and how often it is tried.
TIDY_AFTER = 2.0
_TIDY_MOST, _TIDY_TRIES = 500, 5
#: Log lines that one worker writes for all its handlers in a second, and their bytes.
LINES_RATE, BYTES_RATE = 500.0, 262_144.0


class Scribe:
    """Takes notes from handlers in any thread, and writes them in rounds on one event loop.

    ``incarnation`` gives the registration under which tasks are held; ``clock_ms`` is what lines show as their time.
    ``logs``: whether log lines are kept; ``tidy``: whether the checkpoints of tasks that succeeded go. ``budget``
    bounds what is written of lines.
    """

    def __init__(
        self,
        store: NoteStore,
        incarnation: Callable[[], bytes],
        *,
        logs: bool = True,
        tidy: bool = True,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._incarnation = incarnation
        self._clock_ms = clock_ms
        self.logs = logs
        self._tidies = tidy
        self.budget = LineBudget(LINES_RATE, BYTES_RATE)
        self._news: dict[NoteBook, None] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._call = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._unneeded: dict[bytes, int] = {}
        self._tidier: asyncio.Task[None] | None = None
        self._handler: TaskLogHandler | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to take notes on this loop, and to listen to what the standard library's loggers are told there."""
        self._loop, self._thread = loop, threading.get_ident()
        self._call = asyncio.Event()
        if self.logs and self._handler is None:
            self._handler = TaskLogHandler(self._logged)
            self._handler.attach()

    async def close(self) -> None:
        """Ends. What was not written is lost; attempts wait for theirs with :meth:`finish` before."""
        if self._handler is not None:
            self._handler.detach()
            self._handler = None
        tasks = [task for task in (self._writer, self._tidier) if task is not None]
        self._writer = self._tidier = self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for book in list(self._news):
            self.forget(book)

    # -- what handlers tell, from any thread

    def progress(self, run: Run, fraction: float, message: str) -> None:
        """How far it is. Never blocks; the last value of each half second is written."""
        book = self._book(run)
        if book is not None:
            book.progress(fraction, message)
            self._tell(book)

    def line(self, run: Run, level: str, message: str) -> None:
        """A line of its log."""
        if not self.logs:
            return
        book = self._book(run)
        if book is not None:
            book.line(level, message)
            self._tell(book)

    def _logged(self, scope: Scope, level: str, message: str) -> None:
        """A line of a standard logger, in the context of an attempt."""
        if isinstance(scope, Run):
            self.line(scope, level, message)

    async def checkpoint(self, run: Run, data: bytes) -> None:
        """Writes what the next attempt goes on from. May be awaited on any loop.

        Raises:
            LeaseLost: the task is not this attempt's any more.
            Unavailable, OutcomeUnknown: Redis gave no answer; it may or may not be there.
        """
        if asyncio.get_running_loop() is not self._loop:
            await asyncio.wrap_future(self._there(self.checkpoint(run, data)))
            return
        book = self._book(run)
        if book is None:
            raise _lost(run)
        waiter = self._loop.create_future()
        book.checkpoint(data, waiter)
        self._tell(book)
        await waiter
        if not book.held or book.closed or run.over:
            raise _lost(run)

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something on the scribe's loop while this thread waits.

        Raises:
            ConfigError: this is that loop's own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread:
            work.close()
            raise ConfigError("ctx.sync is for handlers that are plain functions; an async one awaits: await ctx....")
        return self._there(work).result()

    def _there(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            work.close()
            raise ConfigError("the worker has ended")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _book(self, run: Run) -> NoteBook | None:
        """The notebook of an attempt; None when it has ended, or lost its task."""
        book = run.book
        if book is None and not run.over:
            with self._lock:
                book = run.book
                if book is None:
                    book = run.book = NoteBook(run.id, run.fence, run.attempt, self._clock_ms)
        return None if book is None or book.closed or not book.held or run.over else book

    def _tell(self, book: NoteBook) -> None:
        loop = self._loop
        if loop is None:
            return
        if threading.get_ident() == self._thread:
            self._wake(book)
        elif book not in self._news:
            with suppress(RuntimeError):  # the loop has closed: nobody is left to write it
                loop.call_soon_threadsafe(self._wake, book)

    # -- on the event loop

    def _wake(self, book: NoteBook) -> None:
        if self._loop is None or book.closed:
            return
        self._news[book] = None
        if book.urgent:
            self._call.set()
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_task(self._write(), name="laneway-notes")

    async def finish(self, run: Run) -> None:
        """The attempt ends: what it has told is written now, if that takes no longer than :data:`END_WAIT`."""
        book, loop = run.book, self._loop
        if book is None or loop is None or not book.has_to_go() or (book.only_lines() and self.budget.spent):
            return
        try:
            async with asyncio.timeout(END_WAIT):
                while book.has_to_go():
                    waiter = loop.create_future()
                    book.wait(waiter)
                    self._wake(book)
                    await waiter
        except (TimeoutError, LanewayError) as error:
            log.warning("the last notes of an attempt are lost", task=id_text(run.id), error=str(error))

    def forget(self, book: NoteBook) -> None:
        """The attempt has ended; whatever it has told and is not written is dropped."""
        book.close()
        self._news.pop(book, None)

    async def _write(self) -> None:
        pause = 0.0
        while self._news:
            now = time.monotonic()
            due = min(book.due for book in self._news)
            if pause or (due > now and not self._call.is_set()):
                await self._called_within(max(due - now, pause))
            self._call.clear()
            now = time.monotonic()
            books = [book for book in self._news if book.urgent or book.due <= now]
            pause = 0.0 if await self._round(books) else min(2.0, max(0.1, 2 * pause)) * (0.5 + random.random() / 2)

    async def _called_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._call.wait()
        except TimeoutError:
            return

    async def _round(self, books: list[NoteBook]) -> bool:
        """Writes what these have; False when Redis gave no answer."""
        notes, writing = [], []
        for book in books:
            book.due = time.monotonic() + INTERVAL
            self._news.pop(book, None)  # first: what is told from here on brings it back
            note = book.take(self.budget)
            if note is not None:
                notes.append(note)
                writing.append(book)
        if not notes:
            return True
        try:
            held = await self._noted(notes)
        except asyncio.CancelledError:
            for book in writing:
                book.close()  # nobody else would tell those who wait
            raise
        except LanewayError as error:
            self._not_written(writing, error)
            return False
        except Exception as error:
            # A mistake somewhere must not end the notes of all handlers.
            log.exception("notes could not be written")
            self._not_written(writing, error)
            return False
        for book, holds in zip(writing, held, strict=True):
            book.taken(holds)
            self._keep(book)
        return True

    async def _noted(self, notes: list[Note]) -> list[bool]:
        """Writes notes under the registration in force, also when that changes meanwhile."""
        inc = self._incarnation()
        held = await self._store.note(inc, notes)
        if not all(held) and self._incarnation() != inc:
            held = await self._store.note(self._incarnation(), notes)
        return held

    def _not_written(self, books: list[NoteBook], error: Exception) -> None:
        for book in books:
            book.failed(error)
            self._keep(book)

    def _keep(self, book: NoteBook) -> None:
        """What has come meanwhile, or could not be written, stays to be written."""
        if book.has_to_go() and not book.closed:
            self._wake(book)

    # -- for the next attempt, and when there is none

    def succeeded(self, id: bytes) -> None:
        """The task has ended well and was told so: its checkpoint goes, once Redis knows of its end."""
        if self._loop is not None and self._tidies:
            self._unneeded[id] = 0
            if self._tidier is None:
                self._tidier = self._loop.create_task(self._tidy(), name="laneway-notes-tidy")

    async def _tidy(self) -> None:
        while self._unneeded:
            await asyncio.sleep(TIDY_AFTER)
            ids = list(self._unneeded)[:_TIDY_MOST]
            try:
                gone = await self._store.unsave(ids, succeeded=True)
            except LanewayError:
                gone = [False] * len(ids)
            for id, done in zip(ids, gone, strict=True):
                tries = self._unneeded.pop(id) + 1
                # (What is given up here goes with its task.)
                if not done and tries < _TIDY_TRIES:
                    self._unneeded[id] = tries
        self._tidier = None

    async def recall(self, id: bytes) -> Saved | None:
        """The checkpoint that an earlier attempt left. Tried until Redis answers: a handler that began without it would
        do everything again."""
        pause = 0.05
        while True:
            try:
                (saved,) = await self._store.saved([id])
                return saved
            except LanewayError as error:
                log.warning("redis is away, a checkpoint can't be read", task=id_text(id), error=str(error))
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, 1.0)


def _lost(run: Run) -> LeaseLost:
    return LeaseLost(f"task {id_text(run.id)}: attempt {run.attempt} does not hold it any more; nothing was saved")
