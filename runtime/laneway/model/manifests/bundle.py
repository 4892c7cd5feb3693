"""Manifests that belong together: each queue with its lanes and pools."""

from __future__ import annotations

from dataclasses import dataclass

from laneway.model.manifests.prioritylane import PriorityLane
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.manifests.workerpool import WorkerPool

Manifest = TaskQueue | PriorityLane | WorkerPool


@dataclass(frozen=True, slots=True)
class QueueManifests:
    """A queue, and the lanes and pools that refer to it."""

    queue: TaskQueue
    lanes: tuple[PriorityLane, ...] = ()
    pools: tuple[WorkerPool, ...] = ()

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.metadata.name

    @property
    def namespace(self) -> str:
        """The queue's namespace."""
        return self.queue.metadata.namespace


@dataclass(frozen=True, slots=True)
class Manifests:
    """All that was read. ``skipped`` says, per document that is not Laneway's, where it is and what it is."""

    queues: tuple[QueueManifests, ...]
    skipped: tuple[str, ...] = ()
