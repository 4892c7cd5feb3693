"""Parts that several kinds of manifest share: metadata, references and rates."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from laneway.kit import names
from laneway.model.manifests.base import Model, Text

DEFAULT_NAMESPACE = "default"

Label = Annotated[str, Text(names.dns_label, names.LABEL_PATTERN, 1, names.MAX_NAME)]
LaneName = Annotated[str, Text(names.lane_name, names.LABEL_PATTERN, 1, names.MAX_NAME)]
TenantName = Annotated[str, Text(names.tenant_name, names.TENANT_PATTERN, 0, names.MAX_NAME)]

_SECRET_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def _secret_name(name: str) -> str:
    if len(name) <= names.MAX_PREFIX and _SECRET_NAME.fullmatch(name):
        return name
    raise ValueError(
        "the name of a Secret has 1 to 253 of the characters a-z, 0-9, '-' and '.', with a letter or digit"
        f" at both ends, not {name[:60]!r}"
    )


def _secret_key(key: str) -> str:
    if _SECRET_KEY.fullmatch(key):
        return key
    raise ValueError(f"a key in a Secret has 1 to 253 of A-Z, a-z, 0-9, '-', '_' and '.', not {key[:60]!r}")


class Metadata(Model):
    """What Kubernetes knows an object by."""

    name: Label = Field(description="The object's name, unique among those of its kind in its namespace.")
    namespace: Annotated[str, Text(names.namespace_name, names.LABEL_PATTERN, 1, names.MAX_NAME)] = Field(
        DEFAULT_NAMESPACE,
        description="The namespace, which is part of every Redis key and Kafka topic of a queue.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict, max_length=64, description="Kubernetes labels; Laneway gives them no meaning."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        max_length=256,
        description="Kubernetes annotations; Laneway gives them no meaning.",
    )

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            names.label_key(key)
            names.label_value(value)
        return labels

    @field_validator("annotations")
    @classmethod
    def _annotations(cls, annotations: dict[str, str]) -> dict[str, str]:
        return names.annotation_map(annotations)


class SecretKey(Model):
    """One value in a Secret of the same namespace."""

    name: Annotated[str, Text(_secret_name, r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", 1, 253)] = Field(
        description="The Secret's name."
    )
    key: Annotated[str, Text(_secret_key, r"^[-._A-Za-z0-9]+$", 1, 253)] = Field(
        description="The key of the value in the Secret."
    )


class QueueRef(Model):
    """The TaskQueue that an object belongs to, in the same namespace. It can't be changed later."""

    name: Annotated[str, Text(names.queue_name, names.LABEL_PATTERN, 1, names.MAX_NAME)] = Field(
        description="The TaskQueue's name."
    )


class Rate(Model):
    """A token bucket: so many per second in the long run, and so many at once after a pause."""

    perSecond: int = Field(ge=0, le=1_000_000, description="Tasks per second; 0: unlimited.")
    burst: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Tasks at once after a pause. Absent: as many as perSecond.",
    )

    @model_validator(mode="after")
    def _burst_of_something(self) -> Self:
        if self.perSecond == 0 and self.burst is not None:
            raise ValueError("burst means nothing with perSecond 0 (unlimited): leave it out, or set perSecond")
        return self
