"""The janitor: forgets ended tasks past what is kept, and mends slowly what slipped (counts, keys, parked tasks)."""

from __future__ import annotations

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

_TRIM_PAGE = 100
_SWEEP_PAGE = 25
_SWEEP_PAGES = 200
_SWEEP_EVERY = 10  # rounds


class Janitor(Service):
    """A round each second: pages of trimming, and every tenth round a sweep over the tenants that wait."""

    def __init__(self, store: TaskStore, *, health: Health | None = None, counts: TendCounts | None = None) -> None:
        super().__init__("janitor", health=health, allowed_silence=30.0)
        self._store = store
        self._counts = counts or TendCounts("")
        self._cursor = ""

    async def run(self) -> None:
        turn = 0
        while await self.pause(1.0):
            try:
                await self._trim()
                if turn % _SWEEP_EVERY == 0:
                    await self._sweep()
                turn += 1
                self.trouble = None
            except LanewayError as error:
                self.trouble = str(error)
                _log.warning("can't tidy now", error=str(error))

    async def _trim(self) -> None:
        more = True
        while more and not self.stopping:
            purged, more = await self._store.trim(_TRIM_PAGE)
            self._counts.purged += purged
            self.touch()

    async def _sweep(self) -> None:
        """Goes on where the last sweep was, for a bounded number of pages: the rest is for the next round."""
        for _ in range(_SWEEP_PAGES):
            self._cursor, unparked = await self._store.sweep(self._cursor, _SWEEP_PAGE)
            self.touch()
            if unparked:
                _log.info("unparked tasks that had been left", count=unparked)
            if not self._cursor or self.stopping:
                return
