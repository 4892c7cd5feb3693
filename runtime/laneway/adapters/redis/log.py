"""The event log and the dead letters as capped Redis Streams, where there is no Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.ports.store import TaskStore

#: Bytes that each stream may take, about; the oldest entries go first.
_CAP_BYTES = 33_554_432
_FEWEST, _WEIGHT = 100, 0.05


class StreamEventLog:
    """An EventLog on two streams. Redis caps them by entries, so the cap follows from how large entries are lately."""

    def __init__(self, store: TaskStore, *, cap_bytes: int = _CAP_BYTES) -> None:
        self._store = store
        self._cap_bytes = cap_bytes
        self._average: dict[str, float] = {}

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        average = self._average.get(stream, 1000.0)
        for _, value in records:
            average += _WEIGHT * (len(value) + 100 - average)
        self._average[stream] = average
        cap = max(_FEWEST, int(self._cap_bytes / average))
        await self._store.append_log(stream, [value for _, value in records], cap)

    async def close(self) -> None:
        """The store is its owner's to close."""
