#!/usr/bin/env python3
"""Writes the CRDs from the manifests' models, to crds/ and to the chart; with --check only says if they are current."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crd_schema import Schema, structural
from laneway.kit import names
from laneway.model.manifests import GROUP, KINDS, STATUSES
from laneway.model.manifests.parts import MAX_OWNER_NAME

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "crds", ROOT / "charts" / "laneway" / "files" / "crds")
HEAD = "# Written by hack/crds.py from the models in runtime/laneway/model/manifests; do not edit.\n"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; those of priority 1 are shown with -o wide only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0

    def schema(self) -> dict[str, Any]:
        """As an entry of additionalPrinterColumns."""
        found = {"name": self.name, "type": self.type, "description": self.description, "jsonPath": self.path}
        return {**found, "priority": self.priority} if self.priority else found


def _condition(name: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].{part}'


READY = Column("Ready", _condition("Ready", "status"), description="Whether it works as its spec says.")
LAST = (
    Column("Age", ".metadata.creationTimestamp", "date", "Since when it is there."),
    Column("Reason", _condition("Ready", "reason"), description="Why it is ready or not, in a word.", priority=1),
    Column("Message", _condition("Ready", "message"), description="Why it is ready or not.", priority=1),
)
QUEUE = Column("Queue", ".spec.queueRef.name", description="The TaskQueue that it refers to.")


@dataclass(frozen=True)
class Resource:
    """What a CRD has beside its schema. ``owner``: objects are named after it, so its own name is short."""

    kind: str
    plural: str
    short: str
    columns: tuple[Column, ...]
    owner: bool
    refers_to_queue: bool
    scale: bool = False

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{GROUP}_{self.plural}.yaml"

    def document(self) -> dict[str, Any]:
        """The CustomResourceDefinition."""
        singular = self.kind.lower()
        subresources: dict[str, Any] = {"status": {}}
        if self.scale:
            subresources["scale"] = {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            }
        version: dict[str, Any] = {
            "name": "v1alpha1",
            "served": True,
            "storage": True,
            "additionalPrinterColumns": [column.schema() for column in (READY, *self.columns, *LAST)],
            "subresources": subresources,
            "schema": {"openAPIV3Schema": self.schema()},
        }
        if self.refers_to_queue:
            version["selectableFields"] = [{"jsonPath": ".spec.queueRef.name"}]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": singular,
                    "shortNames": [self.short],
                    "categories": ["laneway"],
                },
                "versions": [version],
            },
        }

    def schema(self) -> Schema:
        """The schema of its objects."""
        found = structural(KINDS[self.kind])
        properties = found["properties"]
        # An API server has its own schema of metadata; the name is there for the rule that is about it.
        properties["metadata"] = {"type": "object", "properties": {"name": {"type": "string"}}}
        properties["apiVersion"] = {"type": "string", "description": properties["apiVersion"]["description"]}
        properties["kind"] = {"type": "string", "description": properties["kind"]["description"]}
        properties["status"] = structural(STATUSES[self.kind])
        if self.scale:
            # The only default that is set and not just said: a scale subresource whose spec.replicas is absent reads
            # as 0, which to an HPA means that it is switched off.
            properties["spec"]["properties"]["replicas"]["default"] = 1
        found["required"] = [name for name in found.get("required", ()) if name not in ("apiVersion", "kind")]
        found["required"] = [name for name in found["required"] if name != "metadata"]
        if not found["required"]:
            del found["required"]
        found["x-kubernetes-validations"] = [*found.get("x-kubernetes-validations", ()), self._name_rule()]
        return found

    def _name_rule(self) -> dict[str, str]:
        most = MAX_OWNER_NAME if self.owner else names.MAX_NAME
        why = ", so that the names of its Deployments and Services fit 63" if self.owner else ""
        return {
            "rule": f"self.metadata.name.size() <= {most} && self.metadata.name.matches(r'{names.LABEL_PATTERN}')",
            "message": f"metadata.name has 1 to {most} of the characters a-z, 0-9 and '-', with a letter or digit at"
            f" both ends{why}",
            "fieldPath": ".metadata.name",
        }


RESOURCES = (
    Resource(
        "TaskQueue",
        "taskqueues",
        "tq",
        (
            Column("Depth", ".status.depth", "integer", "Tasks that waited when the status was last written."),
            Column("Lanes", ".status.lanes", "integer", "Its PriorityLanes."),
            Column("Pools", ".status.pools", "integer", "WorkerPools that refer to it."),
            Column("Source", ".status.source", description="Where workers take tasks from."),
            Column("Endpoint", ".status.endpoint", description="The gateway's URL in the cluster.", priority=1),
        ),
        owner=True,
        refers_to_queue=False,
    ),
    Resource(
        "PriorityLane",
        "prioritylanes",
        "pl",
        (
            QUEUE,
            Column("Priority", ".spec.priority", "integer", "Lanes with a higher one go first. Empty: 0."),
            Column("Paused", ".spec.paused", "boolean", "Whether no tasks start. Empty: false."),
        ),
        owner=False,
        refers_to_queue=True,
    ),
    Resource(
        "WorkerPool",
        "workerpools",
        "wp",
        (
            QUEUE,
            Column("Desired", ".status.desiredReplicas", "integer", "Pods that there shall be."),
            Column("Replicas", ".status.replicas", "integer", "Pods that there are."),
            Column("Available", ".status.readyReplicas", "integer", "Pods that are ready."),
            Column("LimitedBy", ".status.scaling.limitedBy", description="What settled the number.", priority=1),
        ),
        owner=True,
        refers_to_queue=True,
        scale=True,
    ),
)


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, which some readers of YAML refuse."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def text(resource: Resource) -> str:
    """The file of a CRD."""
    return HEAD + yaml.dump(resource.document(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def outdated() -> list[Path]:
    """Files that are not there or not as the models have them."""
    wanted = [(folder / one.file, text(one)) for folder in FOLDERS for one in RESOURCES]
    return [path for path, content in wanted if not path.exists() or path.read_text("utf-8") != content]


def main(argv: list[str]) -> int:
    """Writes the CRDs, or with --check says which are not current (exit code 1 if any)."""
    if argv == ["--check"]:
        old = outdated()
        print(
            "\n".join(f"{path.relative_to(ROOT)} is not current: run make crds" for path in old) or "CRDs are current"
        )
        return 1 if old else 0
    for folder in FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        for one in RESOURCES:
            (folder / one.file).write_text(text(one), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
