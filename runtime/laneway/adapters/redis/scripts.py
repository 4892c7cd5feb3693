"""Composes the Lua scripts: each file's header says which keys it takes and which parts it uses.

``-- KEYS: meta conf lanes*`` declares the KEYS in order, and the loader turns them into locals (META, CONF, LANES), so
no script knows a key's name. ``-- USES: base record`` puts those parts from ``lua/lib`` before it.

What is sent to Redis has keys and constants in the place of their names (:func:`fold`). A script makes all its
functions anew in each call, and Lua 5.1 looks for each local that a function uses in a list of all that functions use:
with a hundred names fewer, a call costs a tenth less.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from laneway.adapters.redis.keys import LOCALS
from laneway.model.envelope import SCHEMA

_HEADER = re.compile(r"^-- (KEYS|USES|IDEMPOTENT): *(.*)$")


#: Comments, strings, and words in capitals that are not fields of something.
_TOKEN = re.compile(r"""--[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|(?<![\w.])[A-Z][A-Z0-9_]*\b""")
_LITERAL = r"(?:\d+|'(?:[^'\\\n]|\\.)*'|KEYS\[\d+\])"
_CONSTANTS = re.compile(
    rf"^local ([A-Z][A-Z0-9_]*(?:, [A-Z][A-Z0-9_]*)*) = ({_LITERAL}(?:, {_LITERAL})*)(?= *(?:--.*)?$)", re.MULTILINE
)
_ASSIGNED = re.compile(r"(?<![\w.])([A-Z][A-Z0-9_]*(?:, [A-Z][A-Z0-9_]*)*) = ")


def fold(source: str) -> str:
    """The same script with constants (``local NAME = literal``, in capitals, at a line's begin) in the place of their
    names. Lines stay where they are. A name that is given a value more than once stays a local.

    Raises:
        ValueError: a name follows ``..`` without a blank.
    """
    values: dict[str, str] = {}
    for names, literals in _CONSTANTS.findall(source):
        values.update(zip(names.split(", "), re.findall(_LITERAL, literals), strict=True))
    given = [name for names in _ASSIGNED.findall(source) for name in names.split(", ")]
    for name in given:
        if given.count(name) > 1:
            values.pop(name, None)

    def declared(match: re.Match[str]) -> str:
        kept = [(name, value) for name, value in _pairs(match) if name not in values]
        return f"local {', '.join(n for n, _ in kept)} = {', '.join(v for _, v in kept)}" if kept else ""

    folded = _TOKEN.sub(lambda match: values.get(match[0], match[0]), _CONSTANTS.sub(declared, source))
    if left := sorted({word for word in re.findall(r"\.\.([A-Z][A-Z0-9_]*)\b", folded) if word in values}):
        raise ValueError(f"write a blank before {', '.join(left)} after '..': else it reads like a field")
    return folded


def _pairs(match: re.Match[str]) -> list[tuple[str, str]]:
    return list(zip(match[1].split(", "), re.findall(_LITERAL, match[2]), strict=True))


@dataclass(frozen=True, slots=True)
class Script:
    """One composed script. ``keys`` are names in ``keys.LOCALS``; ``lanes``: all lanes' keys follow. ``readable`` is
    its source before :func:`fold`."""

    name: str
    readable: str
    source: str
    sha: str
    keys: tuple[str, ...]
    lanes: bool
    idempotent: bool


def lua_root() -> Path:
    """The folder of the scripts: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "lua", package.parents[1] / "lua"):
        if (folder / "submit.lua").is_file():
            return folder
    raise FileNotFoundError("the Lua scripts are not installed beside the package laneway")


def header(text: str) -> dict[str, str]:
    """The KEYS, USES and IDEMPOTENT lines of a script's opening comment."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        match = _HEADER.match(line)
        if match:
            found[match[1]] = match[2].strip()
    return found


@cache
def load(name: str) -> Script:
    """Reads and composes one script.

    Raises:
        ValueError: its header is wrong.
    """
    root = lua_root()
    text = (root / f"{name}.lua").read_text()
    head = header(text)
    if "KEYS" not in head or "IDEMPOTENT" not in head:
        raise ValueError(f"lua/{name}.lua: its header must have KEYS and IDEMPOTENT lines")
    names = head["KEYS"].split()
    lanes = bool(names) and names[-1] == "lanes*"
    keys = tuple(names[:-1] if lanes else names)
    unknown = [key for key in keys if key not in LOCALS]
    if unknown:
        raise ValueError(f"lua/{name}.lua: unknown keys {unknown} in its header")
    parts = [f"local SCHEMA = {SCHEMA}\n", "local LANES = nil\n"]
    parts += [f"local {LOCALS[key]} = KEYS[{i}]\n" for i, key in enumerate(keys, 1)]
    if lanes:
        parts.append(f"LANES = {{}}\nfor i = {len(keys) + 1}, #KEYS do LANES[#LANES + 1] = KEYS[i] end\n")
    parts += [(root / "lib" / f"{part}.lua").read_text() + "\n" for part in head.get("USES", "").split()]
    readable = "".join(parts) + text
    source = fold(readable)
    return Script(
        name, readable, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), keys, lanes,
        head["IDEMPOTENT"].startswith("yes"),
    )  # fmt: skip


def all_names() -> list[str]:
    """The names of all scripts."""
    return sorted(path.stem for path in lua_root().glob("*.lua"))
