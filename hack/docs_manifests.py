#!/usr/bin/env python3
"""Writes docs/reference/manifests.md from the manifests' models; with --check only says if it is current."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from laneway.model.manifests import API_VERSION, KINDS, STATUSES
from laneway.model.manifests.base import Duration, Model, Open, Quantity, Size, Text
from laneway.model.manifests.parts import Metadata
from laneway.model.manifests.pods import PodSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "manifests.md"

HEAD = f"""\
# Manifests

<!-- Written by hack/docs_manifests.py from the models in runtime/laneway/model/manifests; do not edit. -->

What a queue is, which lanes it has and which workers run its tasks is said in manifests of `{API_VERSION}`.
The same files work in both places:

* On one machine `laneway up -f FILE|FOLDER` reads them, YAML or JSON. A file may hold several documents,
  separated by `---`, or a `List` as `kubectl get -o yaml` prints it. Documents of other APIs are passed over.
  Unknown fields are refused, and all errors are reported at once, each with the values that would be right.
  Fields for clusters are checked there too, and play no part.
* In a cluster `kubectl apply -f FILE|FOLDER` hands them to the API server, whose CRDs (`crds/`) are made of the
  same models: it refuses what `laneway up` refuses. `kubectl explain workerpool.spec.scaling` shows what stands
  here, `kubectl get laneway` all objects; `tq`, `pl` and `wp` are short for the kinds.

What fields hold:

* **Durations** are whole hours, minutes, seconds and milliseconds, in that order: `90s`, `1h30m`, `250ms`;
  a week is `168h`.
* **Sizes** are bytes, as a number or with `k`, `M`, `G`, `T` (powers of 1000) or `Ki`, `Mi`, `Gi`, `Ti` (of
  1024): `65536`, `64Ki`.
* **Quantities** of resources are Kubernetes's: `500m`, `1.5`, `2Gi`, or a whole number.
* **Names** of lanes and namespaces are 1 to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends;
  those of queues and pools at most 40, since Deployments and Services are named after them; those of tenants
  up to 63 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
* A field that is neither **required** nor has a default has no value when it is absent; its description
  says what follows from that.
* Defaults are what absent fields mean; they are not written into the objects of a cluster, except for
  `replicas` of a WorkerPool ([why](../decisions/2026-11-24-crds.md)).

The smallest manifest that works:

```yaml
apiVersion: {API_VERSION}
kind: TaskQueue
metadata:
  name: minimal
```

`examples/quickstart` has a queue with three lanes and a pool of workers; `examples/kubernetes` one as production
has it, with TLS, Secrets and scaling.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, model in KINDS.items():
        spec = _bare(model.model_fields["spec"].annotation)
        parts += [f"\n## {kind}\n\n{_doc(model)}\n\n", *_table(_rows(spec, "spec"))]
        parts += ["\nChecked beside types and bounds:\n\n", *_rules(model, "")]
        parts += [f"\n### Status of a {kind}\n\n{_doc(STATUSES[kind])} Only in a cluster.\n\n"]
        parts += _table(_rows(STATUSES[kind], "status"), defaults=False)
    parts += [
        f"\n## pod\n\n{_doc(PodSettings)} The same for gateways, pollers and workers; only in a cluster. What"
        " Kubernetes defines is handed on as it is.\n\n",
        *_table(_rows(PodSettings, "pod")),
        "\nChecked beside types and bounds:\n\n",
        *_rules(PodSettings, "pod"),
        f"\n## metadata\n\n{_doc(Metadata)} The same for every kind.\n\n",
        *_table(_rows(Metadata, "metadata")),
    ]
    return "".join(parts)


def _table(rows: Iterator[tuple[str, ...]], *, defaults: bool = True) -> Iterator[str]:
    heads = ("field", "type", "default", "bounds", "description")
    for row in (heads, ("---",) * len(heads), *rows):
        cells = row if defaults else (row[0], row[1], row[3], row[4])
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _rules(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """What is checked between fields and of changes, as the API server says it, each place once."""
    said: dict[str, dict[str, None]] = {}
    for place, part in _models(model, prefix):
        for rule in part.RULES:
            said.setdefault(rule.message, {})[f"`{place}`" if place else "the whole"] = None
    for message, found in said.items():
        yield f"* {', '.join(found)}: {message}\n"


def _models(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[Model]]]:
    """A model and all that are parts of it, each with its place."""
    if issubclass(model, Model):
        yield place, model
    for name, field in model.model_fields.items():
        inner, at = _bare(field.annotation), f"{place}.{name}" if place else name
        if get_origin(inner) is list:
            inner, at = _bare(get_args(inner)[0]), f"{at}[]"
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not PodSettings:
            yield from _models(inner, at)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}"
        inner = _bare(field.annotation)
        yield (
            f"`{path}`",
            _type(inner, field),
            _default(field),
            _bounds(inner, field),
            f"{field.description or ''}{' See [pod](#pod).' if inner is PodSettings else ''}",
        )
        if get_origin(inner) is list:
            inner, path = _bare(get_args(inner)[0]), f"{path}[]"
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not PodSettings:
            yield from _rows(inner, path)


def _type(inner: Any, field: FieldInfo) -> str:
    if isinstance(_marker(field), Duration):
        return "duration"
    if isinstance(_marker(field), Size):
        return "size"
    if isinstance(_marker(field), Open):
        return "map"
    if get_origin(inner) is Literal:
        return "enum"
    if get_origin(inner) is list:
        item = _bare(get_args(inner)[0])
        return "list of text" if item is str else "list"
    if get_origin(inner) is dict:
        return "map of quantities" if Quantity() in getattr(get_args(inner)[1], "__metadata__", ()) else "map of text"
    return {str: "text", int: "integer", bool: "boolean"}.get(inner, "map")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel | dict):
        return ""
    if isinstance(value, list):
        return "`[]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(inner: Any, field: FieldInfo) -> str:
    if get_origin(inner) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(inner))
    marker = _marker(field)
    if marker is not None and get_origin(inner) is not dict:
        return marker.bounds()
    found = {type(bound): bound for bound in field.metadata}
    if Ge in found and Le in found:
        return f"{found[Ge].ge} to {found[Le].le}"
    if MaxLen in found:
        return f"{found[MinLen].min_length if MinLen in found else 0} to {found[MaxLen].max_length} entries"
    return ""


def _marker(field: FieldInfo) -> Text | Duration | Size | Open | None:
    """How a text is bounded; of an optional one it stands inside the annotation."""
    if get_origin(field.annotation) is list:
        return None
    inside = [one for option in get_args(field.annotation) for one in getattr(option, "__metadata__", ())]
    for bound in (*field.metadata, *inside):
        if isinstance(bound, Text | Duration | Size | Open):
            return bound
    return None


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        options = [one for one in get_args(annotation) if one is not type(None)]
        return _bare(options[0]) if len(options) == 1 else annotation
    return annotation


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def main(argv: list[str]) -> int:
    """Writes the page, or with --check says whether it is current (exit code 1 if not)."""
    if argv == ["--check"]:
        current = PAGE.exists() and PAGE.read_text("utf-8") == page()
        print(f"{PAGE.name} is {'current' if current else 'not current: run hack/docs_manifests.py'}")
        return 0 if current else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
