"""Follows a queue's event log for all who listen here: one reader of the log, a bounded memory of what came last, and
any number of listeners who each only know how far they are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import islice

import msgspec

from laneway.errors import LanewayError, Unavailable
from laneway.kit.logs import get_logger
from laneway.model.events import GAP, START, Event, Position, decode_event, position_of
from laneway.ports.events import EventFeed

_log = get_logger(__name__)

_AGAIN_S = 1.0
#: How long the log is followed on once nobody listens: who polls, or connects again, finds the follower there.
_LINGER_S = 5.0
#: So many events from before are there when following begins.
_BEFORE = 200

Bell = Callable[[], None]


class Told(msgspec.Struct):
    """One event of the log. ``frame`` is how a stream without a filter writes it, once one has."""

    position: Position
    event: Event
    size: int
    frame: bytes = b""


class Follower:
    """Keeps the newest events, at most ``most`` of them and ``most_bytes`` of their JSON. They are numbered as they
    come; :attr:`first` is the number of the oldest one kept, :attr:`end` that of the next to come. All events after
    :attr:`before`, up to :attr:`newest`, are kept."""

    def __init__(
        self,
        queue: str,
        open_feed: Callable[[], EventFeed],
        *,
        most: int = 4096,
        most_bytes: int = 4 * 1_048_576,
        linger: float = _LINGER_S,
    ) -> None:
        self.queue = queue
        self.first = 0
        self.listeners = 0
        self.before: Position = START
        self.newest: Position = START
        self.open_feed = open_feed
        self._most, self._most_bytes, self._linger = most, most_bytes, linger
        self._kept: deque[Told] = deque()
        self._bytes = 0
        self._bells: set[Bell] = set()
        self._task: asyncio.Task[None] | None = None
        self._known = asyncio.Event()
        self._failure: LanewayError | None = None
        self._leaving: asyncio.TimerHandle | None = None

    @property
    def end(self) -> int:
        """The number that the next event gets."""
        return self.first + len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of JSON that are kept."""
        return self._bytes

    @property
    def follows(self) -> bool:
        """Whether the log is being read."""
        return self._task is not None

    def since(self, number: int, most: int) -> list[Told]:
        """Up to ``most`` events from a number on, which must be kept."""
        at = number - self.first
        return list(islice(self._kept, at, at + most))

    def number_after(self, position: Position) -> int:
        """The number of the first event after a position."""
        low, high = 0, len(self._kept)
        while low < high:
            middle = (low + high) // 2
            if self._kept[middle].position <= position:
                low = middle + 1
            else:
                high = middle
        return self.first + low

    @asynccontextmanager
    async def listening(self, bell: Bell, patience: float) -> AsyncIterator[None]:
        """Follows the log while the context is open, and rings ``bell`` when there is news. Entered once it is known
        where the log stands.

        Raises:
            Unavailable: the log could not be read for ``patience`` seconds.
        """
        self.listeners += 1
        self._bells.add(bell)
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        try:
            if self._task is None:
                self._known.clear()
                self._failure = None
                self._task = asyncio.create_task(self._follow(), name=f"events:{self.queue}")
            try:
                async with asyncio.timeout(patience):
                    await self._known.wait()
            except TimeoutError:
                raise self._failure or Unavailable("the log of events does not answer", 1.0) from None
            yield
        finally:
            self.listeners -= 1
            self._bells.discard(bell)
            if not self.listeners and self._task is not None:
                self._leaving = asyncio.get_running_loop().call_later(self._linger, self._leave)

    def _leave(self) -> None:
        """Nobody has listened for a while."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._forget()

    def _forget(self) -> None:
        self.first += len(self._kept)
        self._kept.clear()
        self._bytes = 0

    async def _follow(self) -> None:
        while True:
            try:
                feed = self.open_feed()
                if not self._known.is_set():
                    await self._begin(feed)
                async with aclosing(feed.read(self.newest)) as batches:
                    async for batch in batches:
                        self.add(batch)
            except LanewayError as error:
                self._failure = error
                _log.warning("can't follow the events now", queue=self.queue, error=str(error))
            except Exception:
                _log.exception("following the events broke; it starts again", queue=self.queue)
            await asyncio.sleep(_AGAIN_S)

    async def _begin(self, feed: EventFeed) -> None:
        self._forget()
        latest = await feed.latest(_BEFORE)
        self.before = self.newest = START
        self.add(latest)
        if self._kept:
            self.before = self._kept[0].position
        self._known.set()

    def add(self, batch: list[bytes]) -> None:
        """Takes what a feed read; what is not later than the newest is known already."""
        before = self.end
        for raw in batch:
            told = told_of(raw)
            if told is None or told.position <= self.newest:
                continue
            if told.event.kind != GAP:  # (a gap has the position of the event that it stands before)
                self.newest = told.position
            self._kept.append(told)
            self._bytes += told.size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            gone = self._kept.popleft()
            self.first += 1
            self._bytes -= gone.size
            self.before = gone.position
        if self.end != before:
            for bell in list(self._bells):
                bell()

    async def close(self) -> None:
        """Ends following."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def told_of(raw: bytes) -> Told | None:
    """An event of the log; None for what is none (others may write there too)."""
    try:
        event = decode_event(raw)
        return Told(position_of(event.sequence), event, len(raw))
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("a record in the log of events can't be read; left out", error=str(error))
        return None
