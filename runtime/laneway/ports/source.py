"""The port for where a worker's tasks come from. Adapters: ``laneway.dispatch.direct`` and ``laneway.dispatch.kafka``.

Everything else about a worker is the same for both: leases, fences, execution, settlement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from laneway.model.settlement import Settlement
from laneway.ports.store import Claimed


class Exchange(msgspec.Struct):
    """What an exchange brought: tasks that run from now on, and which settlements were not accepted.

    ``status`` as in :class:`~laneway.ports.store.Turn`; ``again_ms`` says when to ask again though nothing calls
    (-1: only when called); ``full`` that there is likely more.
    """

    status: str
    now_ms: int
    tasks: Sequence[Claimed]
    refused: dict[int, str]
    again_ms: int = -1
    full: bool = False


class Source(Protocol):
    """Gives a worker its tasks and takes their outcomes."""

    @property
    def mode(self) -> str:
        """What the registration says: direct or kafka."""
        ...

    async def partitions(self) -> int:
        """How many partitions there are to lease (0: none needed)."""
        ...

    async def open(self, inc: bytes, partition: int, news: Callable[[], None]) -> None:
        """Begins to listen for this incarnation; ``news()`` is called whenever asking may bring something.

        A second call replaces the incarnation.
        """
        ...

    def listen(self, idle: int = 0) -> None:
        """Says that slots are free and the last exchange brought fewer tasks than wanted. ``idle``: nothing at all runs
        here, and so many tasks may be taken on the worker's behalf as soon as there are some."""
        ...

    async def exchange(self, settled: Sequence[Settlement], want: int) -> Exchange:
        """Settles a batch and brings up to ``want`` tasks that have started. After an error the same call must be
        repeated, with the same settlements (more may follow them): each is accepted once."""
        ...

    async def hand_back(self) -> int:
        """Returns tasks that were received but not started; burns no attempt. Returns how many."""
        ...

    async def close(self) -> None:
        """Stops listening."""
        ...
