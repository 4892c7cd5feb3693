"""What the last pass of each queue found of its live configuration, for the passes of its lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from laneway.model.config import QueueConfig
from laneway_operator.keys import ObjectKey
from laneway_operator.plan.status import Finding


@dataclass(frozen=True, slots=True)
class LiveQueue:
    """``config`` is what is in force (None: nothing that was seen). ``generations`` says of each PriorityLane which
    generation of it went into that; ``beaten`` which older object owns its lane."""

    finding: Finding
    config: QueueConfig | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    beaten: Mapping[str, str] = field(default_factory=dict)


class LiveQueues:
    """The newest of each queue."""

    def __init__(self) -> None:
        self._queues: dict[ObjectKey, LiveQueue] = {}

    def get(self, key: ObjectKey) -> LiveQueue | None:
        """What the last pass of a TaskQueue found, or None when it had none yet."""
        return self._queues.get(key)

    def put(self, key: ObjectKey, live: LiveQueue) -> bool:
        """Keeps it. Returns whether it is another than before."""
        before = self._queues.get(key)
        self._queues[key] = live
        return before != live

    def forget(self, key: ObjectKey) -> None:
        """The queue is gone."""
        self._queues.pop(key, None)
