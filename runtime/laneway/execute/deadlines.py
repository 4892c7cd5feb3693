"""Finds runs that are past their deadline, with one timer for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from laneway.execute.run import NEVER, Run

#: Two looks at the runs are at least this far apart (s), so that many deadlines close together cost one look.
GRAIN = 0.01


class Deadlines:
    """Calls ``expire(run)`` for each run of ``runs()`` whose deadline has passed.

    A run with a deadline costs one comparison at its start and nothing at its end: when the earliest deadline
    that was noted comes, all runs are looked at, and the timer is set for the earliest that is left. There are
    never more runs than a worker has slots, so a look is cheap; a timer per run would not be.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runs: Callable[[], Iterable[Run]],
        expire: Callable[[Run], None],
    ) -> None:
        self._loop = loop
        self._runs = runs
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.next = NEVER

    def note(self, deadline: float) -> None:
        """A run has this deadline (``time.monotonic()``). Call it when ``deadline < self.next``."""
        if deadline >= self.next:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.next = deadline
        self._timer = self._loop.call_later(max(GRAIN, deadline - time.monotonic()), self._look)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.next = NEVER

    def _look(self) -> None:
        self._timer, self.next = None, NEVER
        now = time.monotonic()
        earliest = NEVER
        for run in list(self._runs()):
            if run.deadline <= now:
                run.deadline = NEVER
                self._expire(run)
            if run.deadline < earliest:
                earliest = run.deadline
        if earliest < NEVER:
            self.note(earliest)
