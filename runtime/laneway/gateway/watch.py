"""Looks at a queue each second: its numbers for metrics, and whether Redis answers at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from laneway.adapters.queue_metrics import QueueCollector
from laneway.errors import ConfigError, LanewayError, OutcomeUnknown
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.ports.store import QueueStats, TaskStore

_log = get_logger(__name__)


class QueueWatch(Service):
    """Reads ``store.stats()`` every ``interval`` seconds, oftener while Redis is away.

    ``away`` says why the queue can't be used now, or is None; requests are then refused at once instead of
    each waiting in vain. A store that says nothing for ``patience`` seconds counts as away.
    """

    def __init__(
        self,
        queue: str,
        store: TaskStore,
        collector: QueueCollector | None = None,
        *,
        interval: float = 1.0,
        patience: float = 2.0,
        health: Health | None = None,
        on_change: Callable[[str | None], None] | None = None,
    ) -> None:
        super().__init__(f"watch:{queue}", health=health, allowed_silence=10.0 + patience, grace=1.0)
        self.queue = queue
        self.away: str | None = None
        #: The numbers last read (None: not yet, or Redis is away), and how often it has looked.
        self.latest: QueueStats | None = None
        self.looks = 0
        #: Called after each look.
        self.listeners: set[Callable[[], None]] = set()
        self._store = store
        self._collector = collector
        self._interval = interval
        self._patience = patience
        self._on_change = on_change

    async def run(self) -> None:
        """Looks until stopped."""
        while not self.stopping:
            await self.look()
            self.touch()
            await self.pause(self._interval if self.away is None else min(0.25, self._interval))

    async def look(self) -> None:
        """Looks once."""
        try:
            async with asyncio.timeout(self._patience):
                stats = await self._store.stats()
        except TimeoutError:
            self._now(f"Redis has not answered for {self._patience:g} s")
        except ConfigError:
            self._now(None)  # Redis answers; each request is told that the queue is not configured
        except OutcomeUnknown:
            self._now("Redis does not answer")
        except LanewayError as error:
            self._now(str(error))
        else:
            self._now(None)
            self.latest = stats
            if self._collector is not None:
                self._collector.update(self.queue, stats)
        if self.away is not None:
            self.latest = None
        self.looks += 1
        for listener in list(self.listeners):
            listener()

    def _now(self, away: str | None) -> None:
        before, self.away = self.away, away
        if (before is None) == (away is None):
            return
        if away is None:
            _log.info("queue can be reached again", queue=self.queue)
        else:
            _log.warning("queue can't be reached", queue=self.queue, reason=away)
        if self._on_change is not None:
            self._on_change(away)
