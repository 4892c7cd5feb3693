"""The fence: whether this process may still write.

The elector opens it until a moment that lies before the earliest one at which another process could lead, by
more than the longest time that a request takes. So a write that passed the fence has ended, in one way or the
other, when another process begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from laneway_operator.engine.errors import NotLeading


def machine_clock() -> float:
    """Seconds that go on while the process, or the whole machine, is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Fence:
    """Shut at first. ``clock`` gives seconds that never stand still or go back."""

    def __init__(self, clock: Callable[[], float] = machine_clock) -> None:
        self.clock = clock
        self.epoch = 0
        """The number of this leadership (the Lease's leaseTransitions): it grows with each new leader."""
        self.refused = 0
        """How many writes were refused."""
        self._until = float("-inf")

    @property
    def leading(self) -> bool:
        """Whether writes may begin now."""
        return self.clock() < self._until

    @property
    def remaining(self) -> float:
        """For how many seconds writes may begin, if the lease is not renewed; 0 when shut."""
        return max(0.0, self._until - self.clock())

    def check(self) -> None:
        """To be called right before each write, to whatever server.

        Raises:
            NotLeading: the write must not be made.
        """
        if not self.leading:
            self.refused += 1
            raise NotLeading("this process does not lead (any more), so it writes nothing")

    def open(self, epoch: int, until: float) -> None:
        """Lets writes begin until ``until`` (by :attr:`clock`). The elector's to call."""
        self.epoch = epoch
        self._until = until

    def shut(self) -> None:
        """Lets no write begin."""
        self._until = float("-inf")


def open_fence(clock: Callable[[], float] = machine_clock) -> Fence:
    """A fence that stays open: for `laneway-operator check`, the adapter and tests, where nobody is elected."""
    fence = Fence(clock)
    fence.open(0, float("inf"))
    return fence
