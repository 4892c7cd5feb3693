"""PriorityLane: one lane of a queue."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from laneway.model.manifests.base import API_VERSION, Model, Rule
from laneway.model.manifests.parts import LaneName, Metadata, QueueRef, Rate


class PriorityLaneSpec(Model):
    """What the lane shall be."""

    queueRef: QueueRef = Field(description="The queue that the lane is of.")
    laneName: LaneName | None = Field(
        default=None,
        description="The lane's name in its queue, so that lanes of several queues may have the same one."
        " It can't be changed later. Absent: metadata.name.",
    )
    priority: int = Field(
        default=0,
        ge=-1_000_000,
        le=1_000_000,
        description="Lanes with a higher priority go first; among equal ones, the first by name.",
    )
    paused: bool = Field(
        default=False,
        description="While true, tasks are accepted and wait; those that run go on, and no others start.",
    )
    maxRunning: int = Field(
        default=0, ge=0, le=1_000_000, description="Tasks of the lane that may run at once. 0: unlimited."
    )
    minSharePercent: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Part of the queue's slots that the lane gets before better lanes, while it has tasks."
        " All lanes of a queue together have at most 100.",
    )
    submitRate: Rate | None = Field(default=None, description="Submissions to the lane. Absent: unlimited.")
    dispatchRate: Rate | None = Field(
        default=None, description="Starts of tasks, to protect what the handlers call. Absent: unlimited."
    )
    ordering: Literal["FairByTenant", "Fifo"] = Field(
        default="FairByTenant",
        description="Order among tasks of equal priority. FairByTenant: tenants in turn, by weight. Fifo:"
        " as they came.",
    )


class PriorityLane(Model):
    """A lane of a queue. When it is deleted it accepts no more tasks; those that it has are still worked off,
    and a pause or minimum share of it ends."""

    RULES = (
        Rule(
            "(has(self.spec.laneName) ? self.spec.laneName : self.metadata.name)"
            " == (has(oldSelf.spec.laneName) ? oldSelf.spec.laneName : oldSelf.metadata.name)",
            "laneName can't be changed, which is metadata.name where it is absent: make another PriorityLane for"
            " the other name",
            "'laneName can\\'t be changed: it stays ' + (has(oldSelf.spec.laneName) ? oldSelf.spec.laneName :"
            " oldSelf.metadata.name) + '; make another PriorityLane for another name'",
            at=".spec.laneName",
        ),
    )

    apiVersion: Literal["laneway.dev/v1alpha1"] = Field(default=API_VERSION, description="Always laneway.dev/v1alpha1.")
    kind: Literal["PriorityLane"] = Field(default="PriorityLane", description="Always PriorityLane.")
    metadata: Metadata = Field(description="What Kubernetes knows the object by.")
    spec: PriorityLaneSpec = Field(description="What the lane shall be.")

    @property
    def lane(self) -> str:
        """The lane's name in its queue."""
        return self.spec.laneName or self.metadata.name
