"""The promoter: moves due tasks to their lanes, and expires what was not started in time."""

from __future__ import annotations

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

_PAGE = 100
#: Seconds without a look at the clock of Redis, though nothing seems due: start timeouts have no wake-up.
_LONGEST = 0.5


class Promoter(Service):
    """Sleeps until the next task is due, or until a submission says that an earlier one came."""

    def __init__(self, store: TaskStore, *, health: Health | None = None, counts: TendCounts | None = None) -> None:
        super().__init__("promoter", health=health)
        self._store = store
        self._counts = counts or TendCounts("")

    async def run(self) -> None:
        while not self.stopping:
            try:
                got = await self._store.promote(_PAGE)
                self.touch()
                self.trouble = None
                self._counts.promoted += got.promoted
                self._counts.expired += got.expired
                if got.promoted + got.expired >= _PAGE:
                    continue
                wait = _LONGEST if got.next_ms < 0 else min(_LONGEST, got.next_ms / 1000)
                # (a blocking pop with 0 would wait for ever)
                await self._store.wait_tend(max(wait, 0.005))
            except LanewayError as error:
                self.trouble = str(error)
                _log.warning("can't promote now", error=str(error))
                await self.pause(0.5)
