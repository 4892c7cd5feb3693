"""Parts that several kinds of manifest share: metadata, references and rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from laneway.kit import names
from laneway.model.manifests.base import Model, Rule, Text

DEFAULT_NAMESPACE = "default"

_LABEL_RULE = "of the characters a-z, 0-9 and '-', with a letter or digit at both ends"


def _label(check: Callable[[str], str], what: str, most: int = names.MAX_NAME) -> Text:
    return Text(check, names.LABEL_PATTERN, 1, most, f"{what} has 1 to {most} {_LABEL_RULE}")


Label = Annotated[str, _label(names.dns_label, "a name")]
LaneName = Annotated[str, _label(names.lane_name, "the name of a lane")]
TenantName = Annotated[
    str,
    Text(
        names.tenant_name,
        names.TENANT_PATTERN,
        0,
        names.MAX_NAME,
        "the name of a tenant has 1 to 63 of the characters A-Z, a-z, 0-9, '.', '_' and '-'",
    ),
]

_SECRET_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_SECRET_KEY_RULE = "a key in a Secret has 1 to 253 of A-Z, a-z, 0-9, '-', '_' and '.'"
_OBJECT_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_OBJECT = re.compile(_OBJECT_PATTERN)

#: Names of queues and pools are part of those of Deployments and Services, which have at most 63 characters.
MAX_OWNER_NAME = 40


def _object_name(what: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if len(name) <= names.MAX_PREFIX and _OBJECT.fullmatch(name):
            return name
        raise ValueError(f"{_object_rule(what)}, not {name[:60]!r}")

    return check


def _object_rule(what: str) -> str:
    return (
        f"the name of a {what} has 1 to 253 of the characters a-z, 0-9, '-' and '.', with a letter or digit at both"
        " ends"
    )


def object_name_of(what: str) -> Text:
    """The name of an object of another kind, such as a Secret."""
    return Text(_object_name(what), _OBJECT_PATTERN, 1, names.MAX_PREFIX, _object_rule(what))


def _owner_name(name: str) -> str:
    names.dns_label(name)
    if len(name) > MAX_OWNER_NAME:
        raise ValueError(
            f"the name of a queue or pool has at most {MAX_OWNER_NAME} characters, so that the names of its"
            f" Deployments and Services fit 63; {name!r} has {len(name)}"
        )
    return name


def each_once(found: Sequence[str], what: str) -> None:
    """Raises ValueError when a name is there twice."""
    seen: set[str] = set()
    for name in found:
        if name in seen:
            raise ValueError(f"must name each {what} once; {name!r} is there twice")
        seen.add(name)


def list_map(*keys: str) -> dict[str, Any]:
    """Says to an API server that the entries of a list are told apart by these of their fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SecretName = Annotated[str, object_name_of("Secret")]
OwnerName = Annotated[str, _label(_owner_name, "the name of a queue or pool", MAX_OWNER_NAME)]


def _secret_key(key: str) -> str:
    if _SECRET_KEY.fullmatch(key):
        return key
    raise ValueError(f"{_SECRET_KEY_RULE}, not {key[:60]!r}")


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


class OwnerMetadata(Metadata):
    """What Kubernetes knows an object by whose name is part of those of other objects."""

    name: OwnerName = Field(
        description="The object's name, unique among those of its kind in its namespace; Deployments and Services of"
        " it are named after it."
    )


class SecretKey(Model):
    """One value in a Secret of the same namespace."""

    name: SecretName = Field(description="The Secret's name.")
    key: Annotated[str, Text(_secret_key, r"^[-._A-Za-z0-9]+$", 1, 253, _SECRET_KEY_RULE)] = Field(
        description="The key of the value in the Secret."
    )


class QueueRef(Model):
    """The TaskQueue that an object belongs to, in the same namespace. It can't be changed later."""

    RULES = (
        Rule(
            "self == oldSelf",
            "queueRef can't be changed: delete the object, and make one that refers to the other queue",
            at=".name",
        ),
    )

    name: OwnerName = Field(description="The TaskQueue's name.")


class Tls(Model):
    """TLS to servers whose certificates are verified."""

    caSecretRef: SecretKey | None = Field(
        default=None,
        description="The Secret with the certificates (PEM) of the authorities to trust. Absent: those that the"
        " image trusts.",
    )
    clientCertSecret: SecretName | None = Field(
        default=None,
        description="A Secret of the type kubernetes.io/tls with the client's certificate (tls.crt) and key (tls.key)."
        " Absent: the client shows none.",
    )


class Rate(Model):
    """A token bucket: so many per second in the long run, and so many at once after a pause."""

    RULES = (
        Rule(
            "self.perSecond > 0 || !has(self.burst)",
            "burst means nothing with perSecond 0 (unlimited): leave it out, or set perSecond",
            at=".burst",
        ),
    )

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
