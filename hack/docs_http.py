"""Writes the tables of docs/reference/http.md, routes and problems, from the gateway's own tables.

Run it after changing one: python hack/docs_http.py
"""

from __future__ import annotations

import re
from pathlib import Path

from laneway.adapters.memory import MemoryStore
from laneway.gateway.app import build_app
from laneway.gateway.openapi import TAGS
from laneway.gateway.problems import TYPES
from laneway.gateway.routing import Row

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "http.md"

_WORDS = {"": "nobody asks", "known": "any credential"}


def rows() -> list[Row]:
    """Every route of the API."""
    found: list[Row] = build_app({"mail": MemoryStore()}).state.gateway.rows
    return found


def routes() -> str:
    """The table of routes, by what they are about."""
    parts = []
    unknown = {row.doc.tag for row in rows()} - set(TAGS)
    if unknown:
        raise SystemExit(f"routes have tags that gateway/openapi.py does not know: {unknown}")
    for tag, about in TAGS.items():
        tagged = [row for row in rows() if row.doc.tag == tag]
        parts.append(
            f"**{tag[0].upper()}{tag[1:]}**: {about}\n\n| method | path | does | permission |\n|---|---|---|---|\n"
        )
        for row in tagged:
            does = row.doc.summary
            parts.append(f"| {row.method} | `{row.path}` | {does} | {_WORDS.get(row.permission, row.permission)} |\n")
        parts.append("\n")
    return "".join(parts)


def problems() -> str:
    """The table of problems, by status."""
    kinds = sorted(TYPES.values(), key=lambda kind: kind.status)
    lines = [f"| {kind.status} | `{kind.name}` | {kind.title} | {kind.advice} |\n" for kind in kinds]
    return "".join(["| status | name | meaning | what to do |\n|---|---|---|---|\n", *lines, "\n"])


def page(text: str) -> str:
    """The page with its tables as they should be."""
    for name, table in (("routes", routes()), ("problems", problems())):
        parts = re.split(rf"(<!-- /?{name} -->)", text)
        if [parts[i] for i in range(1, len(parts), 2)] != [f"<!-- {name} -->", f"<!-- /{name} -->"]:
            raise SystemExit(f"{PAGE} must have <!-- {name} --> and <!-- /{name} --> once")
        parts[2] = f"\n<!-- Written by hack/docs_http.py: change it in the code. -->\n\n{table}"
        text = "".join(parts)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    print(f"wrote {PAGE}")
