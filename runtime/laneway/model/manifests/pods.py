"""Settings of pods that Laneway runs in a cluster: image, resources, where they run and what they mount.

They are in Kubernetes's own form, so that they can be handed on as they are. Parts that Kubernetes defines in
depth (volumes, affinities) are kept unchecked: the API server checks them when it gets the Deployment.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from laneway.kit import names
from laneway.model.manifests.base import Model, Open, OpenModel, Quantity, Rule, Text
from laneway.model.manifests.parts import Label, SecretName, each_once, list_map, object_name_of

_IMAGE_PATTERN = r"^[A-Za-z0-9][-A-Za-z0-9._:/@]*$"
_IMAGE = re.compile(_IMAGE_PATTERN)
_IMAGE_RULE = "must be an image, such as registry.example.com/team/handlers:1.4, at most 512 characters"
_ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
_ENV = re.compile(_ENV_PATTERN)
_ENV_RULE = "the name of an environment variable has letters, digits and '_', with no digit first"
_OWN_RULE = "variables named LANEWAY_... are the operator's to set, by the other fields"
_PATH_PATTERN = r"^/[^:\x00]*$"
_PATH = re.compile(_PATH_PATTERN)
_PATH_RULE = "must be an absolute path without ':', such as /data, at most 512 characters"
_KEY_PATTERN = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_VALUE_RULE = (
    "the value of a label has at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends"
)
_KEY_RULE = "must be the key of a taint or label, such as example.com/gpu"

#: Labels with these prefixes are how the operator finds what it owns.
RESERVED_PREFIXES = ("laneway.dev/", "app.kubernetes.io/")
#: Volumes that the operator gives to pods, and where it mounts them.
RESERVED_VOLUMES = ("tmp", "redis-tls", "kafka-tls")
RESERVED_PATHS = ("/tmp", "/etc/laneway")
_RESERVED_VOLUME_RULE = f"volumes named {', '.join(RESERVED_VOLUMES)} are the operator's"
_RESERVED_PATH_RULE = f"must be a path outside {' and '.join(RESERVED_PATHS)}, which are the operator's"
_RESERVED_RULE = f"keys that start with {' or '.join(RESERVED_PREFIXES)} are the operator's"


def _image(image: str) -> str:
    if len(image) <= 512 and _IMAGE.fullmatch(image):
        return image
    raise ValueError(f"{_IMAGE_RULE}, not {image[:80]!r}")


def _mount_path(path: str) -> str:
    if len(path) <= 512 and _PATH.fullmatch(path):
        return path
    raise ValueError(f"{_PATH_RULE}, not {path[:80]!r}")


def _not_ours(path: str) -> str:
    if path in RESERVED_PATHS or path.startswith(tuple(f"{taken}/" for taken in RESERVED_PATHS)):
        raise ValueError(f"{_RESERVED_PATH_RULE}, not {path[:80]!r}")
    return _mount_path(path)


def _volume_name(name: str) -> str:
    if name in RESERVED_VOLUMES:
        raise ValueError(f"{_RESERVED_VOLUME_RULE}; name it otherwise than {name!r}")
    return names.dns_label(name)


def _annotation_value(value: str) -> str:
    if len(value) <= 4_096:
        return value
    raise ValueError(f"the value of an annotation of pods has at most 4096 characters, not {len(value)}")


def _qualified_key(key: str) -> str:
    if len(key) <= 317 and re.fullmatch(_KEY_PATTERN, key):
        return key
    raise ValueError(f"{_KEY_RULE}, not {key[:60]!r}")


Image = Annotated[str, Text(_image, _IMAGE_PATTERN, 1, 512, _IMAGE_RULE)]
LabelValue = Annotated[str, Text(names.label_value, _VALUE_PATTERN, 0, names.MAX_NAME, _VALUE_RULE)]
AnnotationValue = Annotated[str, Text(_annotation_value, r"", 0, 4_096)]
Amount = Annotated[int | str, Quantity()]

_UNITS = {"m": Decimal("0.001"), "": Decimal(1)}
_UNITS |= {unit: Decimal(1000) ** n for n, unit in enumerate("kMGTP", 1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** n for n, unit in enumerate("KMGTP", 1)}


def amount(value: int | str) -> Decimal:
    """A checked quantity as a number: "500m" is 0.5."""
    text = str(value)
    number = text.rstrip("mkMGTPKi")
    return Decimal(number) * _UNITS[text[len(number) :]]


#: Resources of which requests and limits are compared; of others, the API server does when it gets the pods.
_COMPARED = ("cpu", "memory", "ephemeral-storage")


def _at_most_its_limit(name: str) -> Rule:
    there = f"has(self.requests) && has(self.limits) && '{name}' in self.requests && '{name}' in self.limits"
    asked, most = (f"quantity(string(self.{field}['{name}']))" for field in ("requests", "limits"))
    return Rule(
        f"!({there}) || {asked}.compareTo({most}) <= 0",
        f"requests.{name} must be at most limits.{name}",
        at=".requests",
    )


class Resources(Model):
    """What a container asks for and may use, by resource: cpu, memory, and others that the cluster has."""

    RULES = tuple(_at_most_its_limit(name) for name in _COMPARED)

    requests: dict[str, Amount] = Field(
        default_factory=dict, max_length=16, description="What a node must have free for it; at most the limit."
    )
    limits: dict[str, Amount] = Field(
        default_factory=dict, max_length=16, description="What it may use at most; beyond its memory it is killed."
    )

    @field_validator("requests", "limits")
    @classmethod
    def _known_by_name(cls, amounts: dict[str, int | str]) -> dict[str, int | str]:
        for key in amounts:
            names.label_key(key)
        return amounts

    @model_validator(mode="after")
    def _asks_for_no_more_than_it_may_use(self) -> Self:
        for name in _COMPARED:
            asked, most = self.requests.get(name), self.limits.get(name)
            if asked is not None and most is not None and amount(asked) > amount(most):
                raise ValueError(f"requests.{name} must be at most limits.{name} ({most}), not {asked!r}")
        return self


class Toleration(Model):
    """Lets pods run on nodes with a taint."""

    RULES = (
        Rule(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "a toleration without a key needs operator: Exists, which is for every taint",
            at=".operator",
        ),
        Rule(
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "value means nothing with operator Exists: leave it out, or set operator: Equal",
            at=".value",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds needs effect: NoExecute",
            at=".effect",
        ),
    )

    key: Annotated[str, Text(_qualified_key, _KEY_PATTERN, 1, 317, _KEY_RULE)] | None = Field(
        default=None, description="The taint's key. Absent, with operator Exists: every taint."
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists: whatever the taint's value. Equal: the value must be that of value."
    )
    value: LabelValue | None = Field(default=None, description="The taint's value, with operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect. Absent: every effect."
    )
    tolerationSeconds: int | None = Field(
        default=None, ge=0, le=31_536_000, description="How long pods stay on such a node, with effect NoExecute."
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.key is None and self.operator != "Exists":
            raise ValueError("a toleration without a key needs operator: Exists, which is for every taint")
        if self.operator == "Exists" and self.value:
            raise ValueError("value means nothing with operator Exists: leave it out, or set operator: Equal")
        if self.tolerationSeconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds needs effect: NoExecute")
        return self


class Affinity(Model):
    """Near which nodes and pods the pods run, as Kubernetes has it."""

    nodeAffinity: Annotated[dict[str, Any], Open(8)] | None = Field(
        default=None, description="Which nodes they may or should run on."
    )
    podAffinity: Annotated[dict[str, Any], Open(8)] | None = Field(
        default=None, description="Which pods they must or should be near."
    )
    podAntiAffinity: Annotated[dict[str, Any], Open(8)] | None = Field(
        default=None, description="Which pods they must not or should not be near."
    )


class SpreadConstraint(OpenModel):
    """How the pods spread over zones or nodes, as Kubernetes has it; more fields are handed on."""

    maxSkew: int = Field(ge=1, le=1_000, description="How many more pods one place may have than another.")
    topologyKey: Annotated[str, Text(_qualified_key, _KEY_PATTERN, 1, 317, _KEY_RULE)] = Field(
        description="The nodes' label whose values are the places, such as topology.kubernetes.io/zone."
    )
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What becomes of a pod that would break this: it waits, or it runs anyway."
    )


class PullSecret(Model):
    """A Secret to pull images with."""

    name: SecretName = Field(description="The Secret's name.")


def _reserved(field: str) -> Rule:
    taken = " || ".join(f"key.startsWith('{prefix}')" for prefix in RESERVED_PREFIXES)
    return Rule(f"!has(self.{field}) || !self.{field}.exists(key, {taken})", _RESERVED_RULE, at=f".{field}")


class PodSettings(Model):
    """Where and as whom pods run."""

    RULES = (_reserved("labels"), _reserved("annotations"))

    labels: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=32, description="More labels; laneway.dev/ and app.kubernetes.io/ are taken."
    )
    annotations: dict[str, AnnotationValue] = Field(
        default_factory=dict, max_length=32, description="More annotations; these prefixes are taken too."
    )
    nodeSelector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=32, description="Taints of nodes that do not keep them away."
    )
    affinity: Affinity | None = Field(default=None, description="Near which nodes and pods they run.")
    topologySpreadConstraints: list[SpreadConstraint] = Field(
        default_factory=list,
        max_length=8,
        description="How they spread over zones or nodes.",
        json_schema_extra=list_map("topologyKey", "whenUnsatisfiable"),
    )
    priorityClassName: Annotated[str, object_name_of("PriorityClass")] | None = Field(
        default=None, description="Their PriorityClass. Absent: the cluster's default."
    )
    serviceAccountName: Annotated[str, object_name_of("ServiceAccount")] | None = Field(
        default=None, description="The ServiceAccount that they run as. Absent: default, with no token mounted."
    )
    imagePullSecrets: list[PullSecret] = Field(
        default_factory=list,
        max_length=16,
        description="Secrets to pull the image with.",
        json_schema_extra=list_map("name"),
    )
    runtimeClassName: Annotated[str, object_name_of("RuntimeClass")] | None = Field(
        default=None, description="Their RuntimeClass. Absent: the cluster's default."
    )

    @field_validator("labels", "annotations", "nodeSelector")
    @classmethod
    def _known_by_key(cls, pairs: dict[str, str]) -> dict[str, str]:
        for key in pairs:
            names.label_key(key)
        return pairs

    @field_validator("labels", "annotations")
    @classmethod
    def _not_the_operators(cls, pairs: dict[str, str]) -> dict[str, str]:
        for key in pairs:
            if key.startswith(RESERVED_PREFIXES):
                raise ValueError(f"{_RESERVED_RULE}; name {key!r} otherwise")
        return pairs

    @field_validator("topologySpreadConstraints")
    @classmethod
    def _each_constraint_once(cls, found: list[SpreadConstraint]) -> list[SpreadConstraint]:
        each_once([f"{one.topologyKey} {one.whenUnsatisfiable}" for one in found], "topologyKey and whenUnsatisfiable")
        return found

    @field_validator("imagePullSecrets")
    @classmethod
    def _each_secret_once(cls, found: list[PullSecret]) -> list[PullSecret]:
        each_once([one.name for one in found], "Secret")
        return found


class NamedObject(Model):
    """An object of the same namespace."""

    name: Annotated[str, object_name_of("Secret or ConfigMap")] = Field(description="Its name.")


def _env_name(name: str) -> str:
    if len(name) <= 253 and _ENV.fullmatch(name):
        return name
    raise ValueError(f"{_ENV_RULE}, not {name[:60]!r}")


def _env_value(value: str) -> str:
    if len(value) <= 32_768 and "\0" not in value:
        return value
    raise ValueError("the value of an environment variable has at most 32768 characters and no NUL")


EnvName = Annotated[str, Text(_env_name, _ENV_PATTERN, 1, 253, _ENV_RULE)]
EnvValue = Annotated[str, Text(_env_value, r"^[^\x00]*$", 0, 32_768)]


class PlainVar(Model):
    """One environment variable of a part that runs no handlers."""

    RULES = (Rule("!self.name.startsWith('LANEWAY_')", _OWN_RULE, at=".name"),)

    name: EnvName = Field(description="The variable's name.")
    value: EnvValue = Field(description="Its value.")

    @field_validator("name")
    @classmethod
    def _not_our_own(cls, name: str) -> str:
        if name.startswith("LANEWAY_"):
            raise ValueError(_OWN_RULE)
        return name


class EnvFrom(Model):
    """A source of environment variables, one for each of its keys: exactly one of secretRef and configMapRef."""

    RULES = (
        Rule("has(self.secretRef) != has(self.configMapRef)", "must have exactly one of secretRef and configMapRef"),
    )

    secretRef: NamedObject | None = Field(default=None, description="A Secret.")
    configMapRef: NamedObject | None = Field(default=None, description="A ConfigMap.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.secretRef is None) == (self.configMapRef is None):
            raise ValueError("must have exactly one of secretRef and configMapRef")
        return self


_VolumeName = Text(
    _volume_name,
    names.LABEL_PATTERN,
    1,
    names.MAX_NAME,
    "a name has 1 to 63 of the characters a-z, 0-9 and '-', with a letter or digit at both ends",
    (Rule(f"!(self in [{', '.join(repr(name) for name in RESERVED_VOLUMES)}])", _RESERVED_VOLUME_RULE),),
)
_MountPath = Text(
    _not_ours,
    _PATH_PATTERN,
    1,
    512,
    _PATH_RULE,
    tuple(Rule(f"!self.matches(r'^{path}(/|$)')", _RESERVED_PATH_RULE) for path in RESERVED_PATHS),
)


class Volume(OpenModel):
    """A volume as Kubernetes has it; fields beside its name are handed on."""

    name: Annotated[str, _VolumeName] = Field(description="The volume's name.")


class VolumeMount(OpenModel):
    """Where a volume is mounted, as Kubernetes has it; more fields are handed on."""

    name: Label = Field(description="The volume's name.")
    mountPath: Annotated[str, _MountPath] = Field(description="The absolute path in the container.")
