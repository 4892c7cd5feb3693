"""The historian: keeps what happens in the queue over time, for statistics.

It counts the events that the relay has told, and samples the queue's sizes while this poller's relay holds the lease,
so that several pollers make one history. Counts are told once: each batch carries the newest outbox entry in it, and
the history takes none that it has counted. What a relay had told and not yet counted when its process was killed, about
a second's events, is missing from the history (never from the log); and events that a relay told twice, since it was
killed between telling and removing them, are counted once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.ports.history import FINE, Count, HistoryStore, LaneSize, Sizes
from laneway.ports.store import OutboxEntry, QueueStats, TaskStore

_log = get_logger(__name__)

_EVERY_S = 1.0
_SAMPLE_EACH = 2  # rounds
_ANNOUNCED = 2
#: Different counts in one batch: Redis does nothing else while it takes them. (10 s of a queue with five lanes and ten
#: kinds of events are 50.) An old relay's backlog has more; what is over is let go, oldest first.
_MOST = 5_000
#: Batches that wait while Redis is away.
_MOST_BATCHES = 100

_Key = tuple[int, str, str]


class _Batch(NamedTuple):
    last: bytes
    counts: list[Count]


class Historian(Service):
    """A round each second. ``leading``: whether this process is the one that samples."""

    def __init__(
        self,
        store: TaskStore,
        history: HistoryStore,
        leading: Callable[[], bool] = lambda: True,
        *,
        health: Health | None = None,
    ) -> None:
        super().__init__("historian", health=health, allowed_silence=30.0)
        self._store = store
        self._history = history
        self._leading = leading
        self._counts: dict[_Key, int] = {}
        self._last = b""
        self._sending: list[_Batch] = []

    def count(self, entries: Sequence[OutboxEntry], lanes: Mapping[int, str]) -> None:
        """Takes what a relay has told, in the order of the outbox."""
        for entry in entries:
            at = entry.at_ms // 1000
            at -= at % FINE.width
            for lane, _, ids in entry.groups:
                key = (at, entry.kind, lanes.get(lane, str(lane)))
                self._counts[key] = self._counts.get(key, 0) + len(ids)
        if entries:
            self._last = entries[-1].entry

    async def run(self) -> None:
        """Tells the history until stopped."""
        turn = 0
        # (Not in step with anything that happens each second.)
        while await self.pause(_EVERY_S * random.uniform(0.5, 1.5)):
            try:
                await self.tell()
                if self._leading() and turn % _SAMPLE_EACH == 0:
                    await self._history.sample(sizes_of(await self._store.stats()))
                turn += 1
            except LanewayError as error:
                _log.warning("can't keep the history now", error=str(error))
            self.touch()

    async def tell(self) -> None:
        """Tells what was counted. A batch whose outcome is not known is told again as it was, so that it can be known.

        Raises:
            LanewayError: not now; the rest is told the next time.
        """
        if self._counts:
            counts = [Count(*key, n) for key, n in self._counts.items()]
            self._sending.append(_Batch(self._last, counts[-_MOST:]))
            del self._sending[:-_MOST_BATCHES]
            self._counts = {}
        while self._sending:
            last, counts = self._sending[0]
            await self._history.tally(last, counts)
            self._sending.pop(0)

    async def on_stop(self) -> None:
        try:
            await self.tell()
        except LanewayError as error:
            _log.warning("the last counts are missing from the history", error=str(error))


def sizes_of(stats: QueueStats) -> Sizes:
    """What the history keeps of a queue's statistics."""
    announced = [worker.slots for worker in stats.workers if worker.state == _ANNOUNCED]
    counts = stats.counts
    return Sizes(
        stats.now_ms // 1000,
        counts["queued"],
        counts["running"] + counts["dispatched"],
        counts["scheduled"],
        len(announced),
        sum(announced),
        [LaneSize(lane.name, lane.queued, lane.running) for lane in stats.lanes],
    )
