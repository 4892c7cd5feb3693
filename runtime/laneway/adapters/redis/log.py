"""The event log and the dead letters as capped Redis Streams, where there is no Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.ports.store import TaskStore


class StreamEventLog:
    """An EventLog on two streams; ``cap`` bounds each in entries, and the oldest go first."""

    def __init__(self, store: TaskStore, *, cap: int = 10_000) -> None:
        self._store = store
        self._cap = cap

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        await self._store.append_log(stream, [value for _, value in records], self._cap)

    async def close(self) -> None:
        """The store is its owner's to close."""
