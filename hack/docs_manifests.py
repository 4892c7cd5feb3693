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

from laneway.model.manifests import API_VERSION, KINDS
from laneway.model.manifests.base import Duration, Size, Text
from laneway.model.manifests.parts import Metadata

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "manifests.md"

HEAD = f"""\
# Manifests

<!-- Written by hack/docs_manifests.py from the models in runtime/laneway/model/manifests; do not edit. -->

What a queue is, which lanes it has and which workers run its tasks is said in manifests of `{API_VERSION}`:
YAML or JSON files, read by `laneway up -f FILE|FOLDER`. A file may hold several documents, separated by
`---`, or a `List` as `kubectl get -o yaml` prints it. Documents of other APIs are passed over. Unknown
fields are refused, and all errors are reported at once, each with the values that would be right.

* **Durations** are whole hours, minutes, seconds and milliseconds, in that order: `90s`, `1h30m`, `250ms`;
  a week is `168h`.
* **Sizes** are bytes, as a number or with `k`, `M`, `G`, `T` (powers of 1000) or `Ki`, `Mi`, `Gi`, `Ti` (of
  1024): `65536`, `64Ki`.
* **Names** of queues, lanes and namespaces are 1 to 63 of `a-z`, `0-9` and `-`, with a letter or digit at
  both ends; those of tenants up to 63 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
* A field that is neither **required** nor has a default has no value when it is absent; its description
  says what follows from that.

The smallest manifest that works:

```yaml
apiVersion: {API_VERSION}
kind: TaskQueue
metadata:
  name: minimal
```

`examples/quickstart` has a queue with three lanes and a pool of workers.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, model in KINDS.items():
        spec = _bare(model.model_fields["spec"].annotation)
        parts += [f"\n## {kind}\n\n{_doc(model)}\n\n", *_table(_rows(spec, "spec"))]
    parts += [
        f"\n## metadata\n\n{_doc(Metadata)} The same for every kind.\n\n",
        *_table(_rows(Metadata, "metadata")),
    ]
    return "".join(parts)


def _table(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| field | type | default | bounds | description |\n|---|---|---|---|---|\n"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}"
        inner = _bare(field.annotation)
        yield (
            f"`{path}`",
            _type(inner, field),
            _default(field),
            _bounds(inner, field),
            field.description or "",
        )
        if get_origin(inner) is list:
            inner, path = _bare(get_args(inner)[0]), f"{path}[]"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, path)


def _type(inner: Any, field: FieldInfo) -> str:
    if isinstance(_marker(field), Duration):
        return "duration"
    if isinstance(_marker(field), Size):
        return "size"
    if get_origin(inner) is Literal:
        return "enum"
    if get_origin(inner) is list:
        item = _bare(get_args(inner)[0])
        return "list of text" if item is str else "list"
    if get_origin(inner) is dict:
        return "map of text"
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
    if marker is not None:
        return marker.bounds()
    found = {type(bound): bound for bound in field.metadata}
    if Ge in found and Le in found:
        return f"{found[Ge].ge} to {found[Le].le}"
    if MaxLen in found:
        return f"{found[MinLen].min_length if MinLen in found else 0} to {found[MaxLen].max_length} entries"
    return ""


def _marker(field: FieldInfo) -> Text | Duration | Size | None:
    """How a text is bounded; of an optional one it stands inside the annotation."""
    if get_origin(field.annotation) is list:
        return None
    inside = [one for option in get_args(field.annotation) for one in getattr(option, "__metadata__", ())]
    for bound in (*field.metadata, *inside):
        if isinstance(bound, Text | Duration | Size):
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
