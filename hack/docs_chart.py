"""Writes what follows from elsewhere for the chart.

* charts/laneway/README.md: the table of values, from the comments `# --` in values.yaml
* charts/laneway/files/permissions.yaml: what the chart's roles grant, from laneway_operator.permissions
* docs/reference/permissions.md: the same for people

Run it after changing one of them: python hack/docs_chart.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from laneway_operator.permissions import PERMISSIONS, Part, Permission

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "laneway"

_MARK = "# -- "
_BY = "Written by hack/docs_chart.py from"

_README_HEAD = f"""\
<!-- {_BY} values.yaml; change it there. -->
# The chart of Laneway

Installs the operator with its custom resources. [Install](../../docs/how-to/install.md),
[upgrade](../../docs/how-to/upgrade.md) and [uninstall](../../docs/how-to/uninstall.md) say how;
[permissions](../../docs/reference/permissions.md) has what it may do, and why.

`values.schema.json` checks all values: an unknown name or a wrong type is refused before anything is changed.

## Values

| value | default | meaning |
|---|---|---|
"""

_PERMISSIONS_HEAD = f"""\
<!-- {_BY} laneway_operator/permissions.py; change it there. -->
# Permissions

All that Laneway's own accounts may do at the API server. The chart grants this and nothing more, and
`laneway-operator check` tells what of it is missing.

* **Watched namespaces** are those of `watchNamespaces`; with none named, all: then it is a ClusterRole.
* **Secrets** can be read by name, never listed: only those are read that a manifest names. One is made,
  `<queue>-gateway-keys`, for a queue that says nothing of [authentication](auth.md); none is changed.
* Pods of gateways, pollers and workers have no account of their own, and no token, unless their manifest names one. The
  chart's value `tokenReview.serviceAccounts` lets such accounts of gateways create `tokenreviews`.
"""


@dataclass(frozen=True)
class Value:
    """One line of the table."""

    path: str
    default: Any
    meaning: str


def values(text: str) -> list[Value]:
    """The documented values of a values.yaml, in its order.

    Raises ValueError for a leaf (no map, or an empty one) without a comment, and for a comment on what has leaves.
    """
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return list(_values(root, text.splitlines(), ""))


def readme() -> str:
    """The chart's README."""
    rows = [
        f"| `{value.path}` | `{json.dumps(value.default)}` | {value.meaning} |\n"
        for value in values((CHART / "values.yaml").read_text())
    ]
    return _README_HEAD + "".join(rows)


def rules() -> str:
    """What the chart's templates read."""
    entries = [
        {
            "part": permission.part.value,
            "where": permission.where.value,
            "group": permission.group,
            "resource": permission.resource,
            "verbs": list(permission.verbs),
            "name": permission.name,
            "why": permission.why,
        }
        for permission in PERMISSIONS
    ]
    return f"# {_BY} laneway_operator/permissions.py; change it there.\n" + yaml.safe_dump(
        entries, sort_keys=False, width=1000
    )


def permissions() -> str:
    """The page of permissions."""
    parts = [_PERMISSIONS_HEAD]
    for part, title in ((Part.OPERATOR, "The operator"), (Part.ADAPTER, "The metrics adapter (`adapter.enabled`)")):
        parts.append(f"\n## {title}\n\n| where | resource | verbs | why |\n|---|---|---|---|\n")
        parts += [_row(permission) for permission in PERMISSIONS if permission.part is part]
    parts.append(
        "\nIt reads the API server's front-proxy certificate by the cluster's own Role "
        "`extension-apiserver-authentication-reader` in `kube-system`.\n"
    )
    return "".join(parts)


FILES = {
    CHART / "README.md": readme,
    CHART / "files" / "permissions.yaml": rules,
    ROOT / "docs" / "reference" / "permissions.md": permissions,
}
"""Each file that is written, and what makes its text."""


def _row(permission: Permission) -> str:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    only = f" named `{permission.name}`" if permission.name else ""
    return f"| {permission.where} | `{resource}`{only} | {' '.join(permission.verbs)} | {permission.why} |\n"


def _values(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        meaning = _comment_above(lines, key.start_mark.line)
        inner = isinstance(value, yaml.MappingNode) and bool(value.value)
        if meaning is not None:
            yield Value(path, yaml.safe_load(yaml.serialize(value)), meaning)
        elif inner:
            assert isinstance(value, yaml.MappingNode)
            yield from _values(value, lines, f"{path}.")
        else:
            raise ValueError(f"{path} has no comment that begins with `{_MARK.strip()}`")


def _comment_above(lines: list[str], line: int) -> str | None:
    """The text of the comment right above a line, if it begins with the mark."""
    found: list[str] = []
    for above in reversed(lines[:line]):
        text = above.strip()
        if text.startswith(_MARK):
            return " ".join([text.removeprefix(_MARK), *found])
        if not text.startswith("#"):
            return None
        found.insert(0, text.removeprefix("#").strip())
    return None


if __name__ == "__main__":
    for path, text in FILES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text())
        print(f"wrote {path.relative_to(ROOT)}")
