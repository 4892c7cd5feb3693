"""The manifests of ``laneway.dev/v1alpha1``, as they are applied to a cluster or read by ``laneway up``.

These models are the source of all that is said of the fields: validation, the reference page and the CRDs.
"""

from laneway.model.manifests.base import API_VERSION, GROUP, Model
from laneway.model.manifests.bundle import Manifest, Manifests, QueueManifests
from laneway.model.manifests.prioritylane import PriorityLane
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.manifests.workerpool import WorkerPool

#: Every kind, by its name in manifests.
KINDS: dict[str, type[TaskQueue] | type[PriorityLane] | type[WorkerPool]] = {
    "TaskQueue": TaskQueue,
    "PriorityLane": PriorityLane,
    "WorkerPool": WorkerPool,
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "Manifest",
    "Manifests",
    "Model",
    "PriorityLane",
    "QueueManifests",
    "TaskQueue",
    "WorkerPool",
]
