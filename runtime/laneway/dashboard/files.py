"""The dashboard's built files, read once: what each is, its ETag, and a smaller form for browsers that take gzip."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

#: By the end of a file's name; a name of another kind is not served.
MEDIA_TYPES: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}

INDEX = "index.html"

#: Smaller files gain nothing by being packed: they fit one packet as they are.
_WORTH_PACKING = 1_000


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. ``packed`` is it in gzip, None when that is no smaller. ``lasting``: its name changes with its
    content, so whoever has it need not ask again."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str
    lasting: bool


@cache
def dashboard_files() -> Mapping[str, StaticFile]:
    """Every file by its path under ``/dashboard/``, such as ``index.html`` and ``assets/index-1a2b3c.js``."""
    return {path: _read(path, source) for path, source in _walk(files("laneway.dashboard") / "static", "")}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            yield path, entry


def _read(path: str, source: Traversable) -> StaticFile:
    body = source.read_bytes()
    packed = gzip.compress(body, 9, mtime=0) if len(body) >= _WORTH_PACKING else None
    return StaticFile(
        body=body,
        packed=packed if packed is not None and len(packed) < len(body) else None,
        media_type=MEDIA_TYPES[path.rpartition(".")[2]],
        etag=hashlib.sha256(body).hexdigest()[:20],
        lasting=path.startswith("assets/"),
    )
