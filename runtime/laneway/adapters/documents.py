"""Files of YAML or JSON taken apart into documents that remember on which line each field stands.

Stricter than YAML asks for: a key that is there twice is an error, and what aliases unfold to is bounded.
Dates stay text, as in Kubernetes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 64

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(?=\.?[0-9])[0-9]{0,40}(\.[0-9]{0,40})?([eE][-+]?[0-9]{1,4})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
# 0b1, 0x1 and 0o1; and 0755, which is octal in YAML 1.1 and decimal in 1.2.
_OTHER_BASE = re.compile(r"[-+]?0([bxoBXO][0-9a-fA-F_]+|[0-9_]+)")

FieldPath = tuple[str | int, ...]


class BadFile(Exception):
    """A file, or one document of it, can't be read. ``line`` is 0 where there is none, ``document`` too."""

    def __init__(self, message: str, line: int = 0, document: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.document = document


@dataclass(slots=True)
class Document:
    """One document: its number in the file (from 1), its value and the line of each field (from 1)."""

    file: Path
    number: int
    value: Any
    lines: dict[FieldPath, int] = field(default_factory=dict)

    def line(self, path: FieldPath) -> int:
        """The line of a field, or of the nearest part that is there around it; 0 when lines are unknown."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def files_in(path: Path) -> list[Path]:
    """The manifest files that ``path`` means: itself, or those directly in the folder, by name.

    Raises:
        BadFile: it is not there, is of another kind, or the folder has none.
    """
    suffixes = ", ".join(SUFFIXES)
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES and f.is_file())
        if not files:
            raise BadFile(f"the folder has no files that end in {suffixes}")
        return files
    if not path.exists():
        raise BadFile("there is no such file or folder")
    if path.suffix not in SUFFIXES:
        raise BadFile(f"a manifest's file ends in {suffixes}")
    return [path]


def read_documents(file: Path) -> Iterator[Document | BadFile]:
    """The documents of a file, in order, without empty ones; a BadFile stands for each that can't be read."""
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadFile(f"is over {MAX_FILE_BYTES // 1024 // 1024} MiB ({size} bytes): split it")
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        yield BadFile(f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        yield BadFile(f"can't be read: {error.strerror}")
    except BadFile as error:
        yield error
    else:
        yield from _read_json(file, text) if file.suffix == ".json" else _read_yaml(file, text)


def _read_json(file: Path, text: str) -> Iterator[Document | BadFile]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise BadFile(f"the key {key!r} is there twice in one object: keep one of them")
            found[key] = value
        return found

    def no_number(text: str) -> None:
        raise BadFile(f"{text} is no number that a manifest may hold")

    if not text.strip():
        return
    try:
        yield Document(file, 1, json.loads(text, object_pairs_hook=unique, parse_constant=no_number))
    except json.JSONDecodeError as error:
        yield BadFile(f"JSON syntax, column {error.colno}: {error.msg}", error.lineno)
    except RecursionError:
        yield BadFile("is nested too deeply")
    except ValueError as error:
        yield BadFile(f"can't be read: {error}")
    except BadFile as error:
        yield error


def _read_yaml(file: Path, text: str) -> Iterator[Document | BadFile]:
    number = 0
    try:
        for number, node in enumerate(yaml.compose_all(text, Loader=yaml.SafeLoader), 1):
            try:
                reader = _Reader(file, number)
                value = reader.value(node, (), 0)
            except BadFile as error:
                error.document = number
                yield error
                continue
            if value is not None:
                yield Document(file, number, value, reader.lines)
    except yaml.MarkedYAMLError as error:
        yield _syntax_error(error, number + 1)
    except yaml.reader.ReaderError as error:
        yield BadFile(f"has the character {error.character:#06x}, which YAML does not allow: {error.reason}")
    except RecursionError:
        yield BadFile("is nested too deeply", document=number + 1)


def _syntax_error(error: yaml.MarkedYAMLError, document: int) -> BadFile:
    mark = error.problem_mark or error.context_mark
    where = f", column {mark.column + 1}" if mark else ""
    what = " ".join(part for part in (error.context, error.problem) if part)
    hint = ""
    if "\\t" in repr(error.problem or ""):
        hint = "; indent with spaces, not tabs"
    elif "mapping values are not allowed" in what:
        hint = "; a text with ': ' in it needs quotes, and keys of one map the same indent"
    return BadFile(f"YAML syntax{where}: {what}{hint}", mark.line + 1 if mark else 0, document)


def _number(tag: str, text: str, line: int) -> int | float | str:
    """A number in plain decimal notation. YAML knows more: numbers of any length, and in base 60 like ``1:30``,
    which takes time with the square of the length; those stay text, for the field's own error."""
    if tag == _NUMBERS[0] and _WHOLE.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        raise BadFile(f"{_short(text)} is in another base: write the number in decimal", line)
    if tag == _NUMBERS[1] or _FLOAT.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            raise BadFile(f"{text} is no number that a manifest may hold", line)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                return value
            raise BadFile(f"{_short(text)} is no number that a manifest may hold", line)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


class _Reader:
    """Turns one document's nodes into values."""

    def __init__(self, file: Path, number: int) -> None:
        self.lines: dict[FieldPath, int] = {}
        self._nodes = 0
        self._construct = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node | None, path: FieldPath, depth: int) -> Any:
        if node is None:
            return None
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise BadFile(f"is nested over {MAX_DEPTH} levels or unfolds to over {MAX_NODES} values", line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise BadFile("merge keys (<<) are not read: write the fields out", line)
            key = self.value(key_node, (*path, "?"), depth + 1)
            if not isinstance(key, str):
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "this one"
                raise BadFile(f"keys must be text: put {shown} into quotes, or name another field", line)
            if key in found:
                raise BadFile(
                    f"the key {key!r} is there twice in one map, on lines {first[key]} and {line}: keep one"
                    " of them, or put '---' between two objects",
                    line,
                )
            first[key] = line
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key), depth + 1)
        return found

    def _scalar(self, node: yaml.Node, line: int) -> Hashable:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return str(node.value)
        if node.tag in _NUMBERS:
            return _number(node.tag, str(node.value), line)
        try:
            value = self._construct.construct_object(node)
        except (yaml.MarkedYAMLError, ValueError, OverflowError, KeyError) as error:
            problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else f"it is no {node.tag}"
            raise BadFile(f"can't be read: {problem}", line) from None
        if value is None or isinstance(value, str | bool):
            return value
        raise BadFile(f"values of type {node.tag} are not read", line)
