"""The port to what is kept of a queue over time: counts of what happened, sizes, and how long tasks waited and ran.

There are two rings of buckets, :data:`FINE` and :data:`COARSE`; everything told goes into both. Adapters: Redis and
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec


class Ring(NamedTuple):
    """Buckets of ``width`` seconds, of which the newest ``places`` are kept."""

    width: int
    places: int

    @property
    def seconds(self) -> int:
        """How far it reaches back."""
        return self.width * self.places


#: Ten seconds each, for two hours.
FINE: Final = Ring(10, 720)
#: Five minutes each, for fourteen days.
COARSE: Final = Ring(300, 4032)
RINGS: Final = (FINE, COARSE)


class Count(msgspec.Struct, array_like=True, frozen=True):
    """So many tasks of a lane met with ``kind`` (as events have it) within the ten seconds from ``at`` (s) on."""

    at: int
    kind: str
    lane: str
    n: int


class LaneSize(msgspec.Struct, array_like=True):
    """A lane at one instant; ``running`` tasks are those that occupy a slot."""

    lane: str
    queued: int
    running: int


class Sizes(msgspec.Struct):
    """A queue at one instant, ``at`` s since 1970; ``running`` as in :class:`LaneSize`, ``workers`` are the announced
    ones, and ``slots`` theirs."""

    at: int
    queued: int
    running: int
    scheduled: int
    workers: int
    slots: int
    lanes: list[LaneSize]


class LaneTimes(msgspec.Struct, array_like=True):
    """How long tasks of a lane waited and ran: how many in each bucket of ``kit.metrics.WAIT_BUCKETS`` and
    ``RUN_BUCKETS`` (and over the last bound), and then the seconds in all. Empty: none."""

    lane: str
    waits: list[float]
    runs: list[float]


class Bucket(msgspec.Struct, omit_defaults=True):
    """One bucket as it is kept, from ``at`` (s) on: ``n`` how many by kind and lane; ``g`` samples of the queue's sizes
    (how many, then the last of queued, running, scheduled, workers and slots, then the sum of each), ``l`` of its
    lanes' (how many, the last queued and running, the sums), ``w`` waits and ``r`` run times by lane as in
    :class:`LaneTimes`."""

    at: int
    n: dict[str, dict[str, float]] = {}
    g: list[float] = []
    l: dict[str, list[float]] = {}  # noqa: E741  (as stored)
    w: dict[str, list[float]] = {}
    r: dict[str, list[float]] = {}


class HistoryStore(Protocol):
    """One queue's history. All methods may raise Unavailable and OutcomeUnknown."""

    async def tally(self, last: bytes, counts: Sequence[Count]) -> int:
        """Adds counts. ``last`` is the newest outbox entry among them: what was counted up to it, or later, is not
        counted again. Returns how many rings took it."""
        ...

    async def sample(self, sizes: Sizes) -> None:
        """Adds the sizes of now."""
        ...

    async def observe(self, times: Sequence[LaneTimes]) -> None:
        """Adds how long tasks waited and ran, at the store's time."""
        ...

    async def read(self, ring: Ring, since: int, until: int) -> list[Bucket]:
        """The buckets that begin from ``since`` on and before ``until`` (s), oldest first; those of which nothing was
        told are missing."""
        ...
