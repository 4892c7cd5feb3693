"""What the operator calls an object by: its kind, namespace and name, and how the API server serves its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

#: An object of Kubernetes as JSON. What came from the cache is shared: read it, and never change it.
Body = dict[str, Any]


class ObjectKey(NamedTuple):
    """Names one object. ``namespace`` is "" for what belongs to no namespace."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """How the API server serves one kind. ``group`` is "" for the core group."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects say it: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path that all objects of this group and version are under."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or with no ``name`` of them all, in one namespace or (with "") in all."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)


def key_of(body: Body, kind: str = "") -> ObjectKey:
    """The key of an object; ``kind`` is for items of lists, which do not say theirs."""
    meta = body["metadata"]
    return ObjectKey(kind or body["kind"], meta.get("namespace", ""), meta["name"])


def version_of(body: Body) -> int:
    """The resourceVersion as a number, so that two of them can be compared; 0 if there is none."""
    text = body["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else 0


def controller_of(body: Body) -> str:
    """The uid of the object's controlling owner, or ""."""
    for owner in body["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return str(owner.get("uid", ""))
    return ""
