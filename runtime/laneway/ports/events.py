"""The port to the event log's readers. Adapters: a capped Redis Stream, the Kafka topic, and memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from laneway.model.events import Position
from laneway.ports.history import HistoryStore


class EventFeed(Protocol):
    """Reads what a relay told (see :class:`~laneway.ports.log.EventLog`). Positions are those of the events
    themselves, so they mean the same wherever a log is kept. All methods may raise
    :class:`~laneway.errors.Unavailable`."""

    async def latest(self, most: int) -> list[bytes]:
        """The newest events, oldest first: one at least when there is any, and at most ``most``."""
        ...

    def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        """Batches of events as they were told, oldest first, for ever: from at or before the first one after ``after``
        (so skip what is not later), and then those that come. An empty batch each second or so when none does. Close
        it when it is not read to its end."""
        ...

    async def close(self) -> None:
        """Closes its connections. It can't be used after."""
        ...


class SeenStore(Protocol):
    """What a store offers beside tasks to those who look."""

    @property
    def events(self) -> EventFeed:
        """The log of events, where there is no Kafka."""
        ...

    @property
    def history(self) -> HistoryStore:
        """What is kept over time."""
        ...
