"""WorkerPool: workers that run the handlers of one app for one queue."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from laneway.model.manifests.base import API_VERSION, Duration, Model, Rule, Size, Text
from laneway.model.manifests.parts import OwnerMetadata, QueueRef, SecretKey, each_once, list_map
from laneway.model.manifests.pods import (
    EnvFrom,
    EnvName,
    EnvValue,
    Image,
    PodSettings,
    Resources,
    Volume,
    VolumeMount,
)

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_APP_PATTERN = rf"^{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*$"
_APP = re.compile(_APP_PATTERN)
_APP_RULE = "must be package.module:app, at most 253 characters"


def _app(app: str) -> str:
    if len(app) <= 253 and _APP.fullmatch(app):
        return app
    hint = ""
    if app.endswith(".py") or "/" in app:
        hint = "; a module is named with dots and without .py"
    elif ":" not in app and "." in app:
        hint = f"; perhaps {app.rpartition('.')[0]}:{app.rpartition('.')[2]}"
    raise ValueError(f"{_APP_RULE}, not {app[:80]!r}{hint}")


class EnvVar(Model):
    """One environment variable: exactly one of value and secretRef."""

    RULES = (Rule("has(self.value) != has(self.secretRef)", "must have exactly one of value and secretRef"),)

    name: EnvName = Field(description="The variable's name.")
    value: EnvValue | None = Field(default=None, description="Its value.")
    secretRef: SecretKey | None = Field(
        default=None,
        description="The Secret that holds its value. Without a cluster, the variable must be set in the environment.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.value is None) == (self.secretRef is None):
            raise ValueError("must have exactly one of value and secretRef")
        return self


class Recycle(Model):
    """When a worker process is replaced by a fresh one, after finishing what it runs."""

    maxTasks: int = Field(default=0, ge=0, le=1_000_000_000, description="After so many tasks. 0: never.")
    maxMemory: Annotated[int | str, Size("16Mi", "1Ti", zero=True)] = Field(
        default=0, description="When it has grown to so much resident memory. 0: never."
    )


class ScalingTarget(Model):
    """What the number of replicas aims at: exactly one of the two."""

    RULES = (
        Rule(
            "has(self.tasksPerReplica) != has(self.drainTime)",
            "must have exactly one of tasksPerReplica and drainTime",
        ),
    )

    tasksPerReplica: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Tasks that wait or run, per replica."
    )
    drainTime: Annotated[str, Duration("1s", "24h")] | None = Field(
        default=None,
        description="How long the queue as it is now should take to empty, by measured durations.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.tasksPerReplica is None) == (self.drainTime is None):
            raise ValueError("must have exactly one of tasksPerReplica and drainTime")
        return self


class Scaling(Model):
    """How the number of replicas follows the queue. Only in a cluster."""

    RULES = (
        Rule(
            "!has(self.min) || self.min <= self.max",
            "min must be at most max",
            "'min must be at most max (%d), not %d'.format([self.max, self.min])",
            at=".min",
        ),
    )

    min: int = Field(default=0, ge=0, le=1_000, description="Fewest replicas; 0 is allowed.")
    max: int = Field(ge=1, le=1_000, description="Most replicas.")
    target: ScalingTarget = Field(description="What the number of replicas aims at.")
    controller: Literal["Operator", "HorizontalPodAutoscaler", "None"] = Field(
        default="Operator",
        description="Who sets the number. Operator: Laneway's. HorizontalPodAutoscaler: one that the"
        " operator makes. None: nobody, so that kubectl scale, KEDA or an HPA of one's own can.",
    )
    stabilization: Annotated[str, Duration("1s", "1h", zero=True)] = Field(
        default="60s", description="How long fewer replicas must be enough before there are fewer."
    )
    shadow: bool = Field(default=False, description="Decide and show it in the status, but change nothing.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min must be at most max ({self.max}), not {self.min}")
        return self


class WorkerPoolSpec(Model):
    """What the pool shall be."""

    RULES = (
        Rule(
            "!has(self.volumeMounts)"
            " || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            "each of volumeMounts must name one of volumes",
            at=".volumeMounts",
        ),
    )

    queueRef: QueueRef = Field(description="The queue whose tasks the pool runs.")
    app: Annotated[str, Text(_app, _APP_PATTERN, 3, 253, _APP_RULE)] = Field(
        description="The App with the handlers: package.module:app."
    )
    image: Image | None = Field(
        default=None,
        description="The image that has the app and Laneway installed. Only in a cluster. Absent: that of the"
        " installation.",
    )
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When a node pulls the image. Only in a cluster. Absent: Kubernetes's default."
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=1_000,
        description="Pods; on one machine, how many times processes. kubectl scale sets it. With scaling by an"
        " HPA, where it starts; with scaling by the operator, which starts at scaling.min, of no meaning.",
    )
    processes: int = Field(default=1, ge=1, le=64, description="Worker processes in each replica.")
    concurrency: int = Field(
        default=16, ge=1, le=10_000, description="Slots of each process: tasks that it runs at once."
    )
    threads: int = Field(
        default=8, ge=1, le=1_000, description="Threads of each process for handlers that are not async."
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=256,
        description="Environment of the handlers, by name.",
        json_schema_extra=list_map("name"),
    )
    envFrom: list[EnvFrom] = Field(
        default_factory=list,
        max_length=32,
        description="Secrets and ConfigMaps whose keys all become variables; env wins. Only in a cluster.",
    )
    volumes: list[Volume] = Field(
        default_factory=list,
        max_length=32,
        description="Volumes of the pods. Only in a cluster.",
        json_schema_extra=list_map("name"),
    )
    volumeMounts: list[VolumeMount] = Field(
        default_factory=list,
        max_length=32,
        description="Where the volumes are mounted. Only in a cluster.",
        json_schema_extra=list_map("mountPath"),
    )
    resources: Resources | None = Field(
        default=None, description="What each pod asks for and may use. Only in a cluster."
    )
    pod: PodSettings | None = Field(default=None, description="Where and as whom the pods run. Only in a cluster.")
    drainTimeout: Annotated[str, Duration("1s", "24h", zero=True)] = Field(
        default="30s",
        description="How long a worker that is told to stop waits for what it runs, before it hands that back.",
    )
    recycle: Recycle = Field(default_factory=Recycle, description="When a worker process is replaced by a fresh one.")
    scaling: Scaling | None = Field(
        default=None,
        description="How the number of replicas follows the queue. Only in a cluster. Absent: replicas is kept.",
    )

    @field_validator("env")
    @classmethod
    def _each_variable_once(cls, env: list[EnvVar]) -> list[EnvVar]:
        each_once([var.name for var in env], "variable")
        return env

    @field_validator("volumes")
    @classmethod
    def _each_volume_once(cls, volumes: list[Volume]) -> list[Volume]:
        each_once([volume.name for volume in volumes], "volume")
        return volumes

    @field_validator("volumeMounts")
    @classmethod
    def _each_path_once(cls, mounts: list[VolumeMount]) -> list[VolumeMount]:
        each_once([mount.mountPath for mount in mounts], "mountPath")
        return mounts

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        there = [volume.name for volume in self.volumes]
        for mount in self.volumeMounts:
            if mount.name not in there:
                raise ValueError(
                    f"each of volumeMounts must name one of volumes; {mount.name!r} is not among"
                    f" {', '.join(there) if there else 'them: there are none'}"
                )
        return self


class WorkerPool(Model):
    """Workers that run the handlers of one app for one queue."""

    apiVersion: Literal["laneway.dev/v1alpha1"] = Field(default=API_VERSION, description="Always laneway.dev/v1alpha1.")
    kind: Literal["WorkerPool"] = Field(default="WorkerPool", description="Always WorkerPool.")
    metadata: OwnerMetadata = Field(description="What Kubernetes knows the object by.")
    spec: WorkerPoolSpec = Field(description="What the pool shall be.")
