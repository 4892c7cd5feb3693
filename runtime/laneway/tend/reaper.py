"""The reaper: returns what dead workers held, and what was dispatched but not started in time."""

from __future__ import annotations

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

_INTERVAL = 0.25
#: A longer time between two ticks (of all reapers) means that Redis was away: then everybody gets a full lease first.
_GAP_MS = 1_000
_PAGE = 100


class Reaper(Service):
    """Ticks four times a second. Any number of reapers may run; each page is one atomic script."""

    def __init__(self, store: TaskStore, *, health: Health | None = None, counts: TendCounts | None = None) -> None:
        super().__init__("reaper", health=health)
        self._store = store
        self._counts = counts or TendCounts("")

    async def run(self) -> None:
        while await self.pause(_INTERVAL):
            try:
                while not self.stopping:
                    got = await self._store.reap(_GAP_MS, _PAGE)
                    self.touch()
                    self.trouble = None
                    if got.workers or got.returned or got.overdue:
                        self._counts.workers_lost += got.workers
                        self._counts.taken_from_dead += got.returned
                        self._counts.overdue += got.overdue
                        _log.warning("reaped", workers=got.workers, returned=got.returned, overdue=got.overdue)
                    if not got.more:
                        break
            except LanewayError as error:
                self.trouble = str(error)
                _log.warning("can't reap now", error=str(error))
                await self.pause(0.5)
