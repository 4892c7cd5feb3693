"""Ports to Kafka: reading dispatched tasks, publishing them, and logging what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from laneway.ports.store import Claimed


class TaskReader(Protocol):
    """Reads one leased partition."""

    async def count(self) -> int:
        """How many partitions there are."""
        ...

    async def seek_to_end(self, partition: int) -> None:
        """Takes a partition from its end on; what is published after is surely read."""
        ...

    def records(self) -> AsyncIterator[list[bytes]]:
        """Batches of record values, for ever; an empty one each second or so when there are none."""
        ...

    async def commit(self) -> None:
        """Commits how far it has read, for people who watch the lag."""
        ...

    async def close(self) -> None:
        """Stops reading."""
        ...


class Unpublished(msgspec.Struct):
    """A dispatched task that was not acknowledged. ``too_large``: it never will be."""

    incarnation: bytes
    task: Claimed
    too_large: bool


class TaskPublisher(Protocol):
    """Publishes dispatched tasks to their workers' partitions."""

    async def publish(self, tasks: Sequence[tuple[bytes, int, Claimed]]) -> list[Unpublished]:
        """Publishes (incarnation, partition, task); returns those that were not acknowledged."""
        ...

    async def close(self) -> None:
        """Ends it."""
        ...


class EventLog(Protocol):
    """Where events and dead letters are told."""

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Appends (key, value) records to ``events`` or ``dead`` and returns when all are acknowledged.

        Raises:
            Unavailable: they may not have been; appending them again is right (consumers deduplicate).
        """
        ...

    async def close(self) -> None:
        """Ends it."""
        ...
