"""The manifests of ``laneway.dev/v1alpha1``, as they are applied to a cluster or read by ``laneway up``.

These models are the source of all that is said of the fields: validation, the reference page and the CRDs.
"""

from laneway.model.manifests.base import API_VERSION, GROUP, Model
from laneway.model.manifests.bundle import Manifest, Manifests, QueueManifests
from laneway.model.manifests.prioritylane import PriorityLane
from laneway.model.manifests.status import PriorityLaneStatus, Status, TaskQueueStatus, WorkerPoolStatus
from laneway.model.manifests.taskqueue import TaskQueue
from laneway.model.manifests.workerpool import WorkerPool

#: Every kind, by its name in manifests.
KINDS: dict[str, type[TaskQueue] | type[PriorityLane] | type[WorkerPool]] = {
    "TaskQueue": TaskQueue,
    "PriorityLane": PriorityLane,
    "WorkerPool": WorkerPool,
}

#: What the operator writes into the status of each kind.
STATUSES: dict[str, type[Status]] = {
    "TaskQueue": TaskQueueStatus,
    "PriorityLane": PriorityLaneStatus,
    "WorkerPool": WorkerPoolStatus,
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "STATUSES",
    "Manifest",
    "Manifests",
    "Model",
    "PriorityLane",
    "PriorityLaneStatus",
    "QueueManifests",
    "Status",
    "TaskQueue",
    "TaskQueueStatus",
    "WorkerPool",
    "WorkerPoolStatus",
]
