"""What every pass is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from laneway.kit.health import Health
from laneway.kit.service import Service
from laneway_operator.apply.events import EventRecorder
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.fence import Fence
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.keys import ObjectKey
from laneway_operator.settings import OperatorSettings


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of passes; one per process."""

    cluster: Cluster
    """Requests to the API server; its writes ask the fence by themselves."""
    cache: ObjectCache
    """The newest body of each watched object. Indexes: "queue" and "pool" (names)."""
    settings: OperatorSettings
    fence: Fence
    """``check()`` it right before each write to Kafka or Redis."""
    events: EventRecorder
    metrics: OperatorMetrics
    wake: Callable[[ObjectKey], None]
    """Asks for a pass for another object, as soon as there is room."""
    health: Health
    """Where loops show that they get somewhere."""


class Pass(Protocol):
    """Looks at one object, and does what is wanting: observe, plan, apply, say so in the status.

    It starts from what is there now, never from what has changed, and may be cancelled at any await. It reads
    the object from the cache: when it is not there, it is gone, and the pass forgets what it knew of it.
    """

    async def __call__(self, key: ObjectKey) -> float | None:
        """Returns in how many seconds to look again; None: only when woken."""


class Work(Protocol):
    """All passes of a process and what they share; ``work.build(toolbox)`` makes it."""

    @property
    def passes(self) -> Mapping[str, Pass]:
        """The pass for each kind."""

    @property
    def services(self) -> Sequence[Service]:
        """Loops that run while this process leads, such as the watch of depths. They are started when it begins
        to lead, and stopped, and made anew by :meth:`renew`, when it ends."""

    async def renew(self) -> None:
        """Forgets what was known under an earlier leadership: another process may have changed all of it."""

    async def close(self) -> None:
        """Closes connections to Redis and Kafka."""
