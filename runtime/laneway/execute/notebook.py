"""What one attempt has told of itself and Redis does not know yet: bounded, and safe to use from any thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from laneway.model.notes import BYTES_KEPT, LINE_CHARS, LINES_KEPT, MESSAGE_CHARS, LogLine, Note, Progress

#: What a line costs beside its text, in bytes.
LINE_COST = 32


class LineBudget:
    """How many log lines one worker writes for all its handlers: ``lines`` and ``size`` (bytes) a second, and
    ``burst`` times as much at once. ``refused`` counts those that it did not grant. Belongs to one thread."""

    def __init__(
        self, lines: float, size: float, burst: float = 4.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = (lines, size)
        self._most = (lines * burst, size * burst)
        self._lines, self._size = self._most
        self._clock = clock
        self._at = clock()
        self.refused = 0

    @property
    def spent(self) -> bool:
        """Whether not a line is left now."""
        self._fill()
        return self._lines < 1 or self._size < LINE_COST

    def grant(self, lines: Sequence[LogLine]) -> int:
        """How many of these may be written, the last ones first."""
        self._fill()
        granted = 0
        for line in reversed(lines):
            size = len(line.message) + LINE_COST
            if self._lines < 1 or self._size < size:
                break
            self._lines -= 1
            self._size -= size
            granted += 1
        self.refused += len(lines) - granted
        return granted

    def _fill(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._lines = min(self._most[0], self._lines + passed * self._rates[0])
        self._size = min(self._most[1], self._size + passed * self._rates[1])


class NoteBook:
    """The notes of one attempt, from a handler (any thread) to the scribe (the event loop's thread).

    Of progress the last value counts; of lines, the last are kept, and how many are not. What was taken with
    :meth:`take` is out until :meth:`taken` or :meth:`failed` says what became of it.
    """

    __slots__ = (
        "_attempt", "_checkpoint", "_clock_ms", "_fence", "_id", "_left_out", "_lines", "_lock", "_number", "_out",
        "_out_waiters", "_progress", "_size", "_waiters", "closed", "due", "held", "urgent",
    )  # fmt: skip

    def __init__(self, id: bytes, fence: int, attempt: int, clock_ms: Callable[[], int]) -> None:
        self._id = id
        self._fence = fence
        self._attempt = attempt
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._number = 0
        self._progress: Progress | None = None
        self._checkpoint: bytes | None = None
        self._lines: deque[LogLine] = deque()
        self._size = 0
        self._left_out = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._out: Note | None = None
        self._out_waiters: list[asyncio.Future[None]] = []
        self.due = 0.0  # when it may be written next, on the clock of time.monotonic()
        self.urgent = False
        self.held = True  # as far as is known
        self.closed = False

    # -- from the handler

    def progress(self, fraction: float, message: str) -> None:
        """Notes how far the handler is."""
        self._progress = Progress(fraction, cut(message, MESSAGE_CHARS))

    def line(self, level: str, message: str) -> None:
        """Notes a log line."""
        line = LogLine(self._clock_ms(), self._attempt, level, cut(message, LINE_CHARS))
        size = len(line.message) + LINE_COST
        with self._lock:
            self._lines.append(line)
            self._size += size
            while len(self._lines) > LINES_KEPT or (self._size > BYTES_KEPT and len(self._lines) > 1):
                self._size -= len(self._lines.popleft().message) + LINE_COST
                self._left_out += 1

    # -- on the event loop

    def checkpoint(self, data: bytes, waiter: asyncio.Future[None]) -> None:
        """Notes what the next attempt shall go on from; ``waiter`` is done once it is written."""
        self._checkpoint = data  # of two at once the later one counts, and both are told when that is there
        self.urgent = True
        self._waiters.append(waiter)

    def wait(self, waiter: asyncio.Future[None]) -> None:
        """``waiter`` is done once all is written that is here now."""
        self.urgent = True
        self._waiters.append(waiter)

    @property
    def news(self) -> bool:
        """Whether there is anything that is not written yet."""
        return bool(self._out or self._progress or self._lines) or self._checkpoint is not None

    def has_to_go(self) -> bool:
        """Whether there is anything to write, and it would be taken."""
        return self.news and self.held

    def only_lines(self) -> bool:
        """Whether log lines are all that there is to write."""
        return self._out is None and self._progress is None and self._checkpoint is None

    def take(self, budget: LineBudget) -> Note | None:
        """What is to be written now, with as many lines as the budget grants; None when there is nothing. What was out
        and failed comes first, alone and unchanged, so that it is taken once."""
        self.urgent = False
        if self._out is not None:
            self.urgent = bool(self._waiters)
            return self._out
        with self._lock:
            lines, self._lines, self._size = self._lines, deque(), 0
            left_out, self._left_out = self._left_out, 0
        for _ in range(len(lines) - budget.grant(lines)):
            lines.popleft()
            left_out += 1
        progress, self._progress = self._progress, None
        checkpoint, self._checkpoint = self._checkpoint, None
        self._out_waiters, self._waiters = self._waiters, []
        if progress is None and checkpoint is None and not lines:
            with self._lock:
                self._left_out += left_out  # (it alone is not worth a call)
            self._resolve(self._out_waiters, None)
            return None
        told = list(lines)
        if left_out:
            if len(told) >= LINES_KEPT:  # (else the line that tells of it would be the first to go)
                del told[0]
                left_out += 1
            told.insert(0, self._told_of(left_out, lines))
        self._number += 1
        self._out = Note(self._id, self._fence, self._number, progress, checkpoint, told)
        return self._out

    def _told_of(self, left_out: int, lines: deque[LogLine]) -> LogLine:
        at = lines[0].at if lines else self._clock_ms()
        what = "line was" if left_out == 1 else "lines were"
        return LogLine(at, self._attempt, "warning", f"({left_out} {what} left out: more came than are kept)")

    def taken(self, held: bool) -> None:
        """What was out is written; or refused, because the attempt does not hold its task any more."""
        self._out = None
        self.held = held
        if not held:
            self._forget()
        waiters, self._out_waiters = self._out_waiters, []
        self._resolve(waiters, None)

    def failed(self, error: Exception) -> None:
        """It is not known to be written. Who waits is told so, and what can wait will be tried again."""
        if self._out is not None:
            self._out.checkpoint = None
            if self._out.progress is None and not self._out.lines:
                self._out = None
        self._checkpoint, self.urgent = None, False
        waiters = self._out_waiters + self._waiters
        self._out_waiters, self._waiters = [], []
        self._resolve(waiters, error)

    def close(self) -> None:
        """The attempt has ended: whatever is left is nobody's any more."""
        self.closed = True
        self._forget()
        waiters = self._out_waiters + self._waiters
        self._out_waiters, self._waiters = [], []
        self._resolve(waiters, None)

    def _forget(self) -> None:
        with self._lock:
            self._lines, self._size, self._left_out = deque(), 0, 0
        self._progress = self._checkpoint = self._out = None

    def _resolve(self, waiters: list[asyncio.Future[None]], error: Exception | None) -> None:
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` characters that can be sent as UTF-8."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
