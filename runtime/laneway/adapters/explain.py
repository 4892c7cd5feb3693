"""Validation errors of manifests as people need them: which field, what is wrong, which values would be"
" right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from laneway.adapters.documents import FieldPath
from laneway.model.manifests.base import Duration, Open, Quantity, Size, Text


def explain(model: type[BaseModel], error: ValidationError) -> list[tuple[FieldPath, str]]:
    """Each thing that is wrong, as the field's path and what would be right, in the order of the fields."""
    return [_explain(model, dict(one)) for one in error.errors(include_url=False)]


def path_text(path: FieldPath) -> str:
    """A path as people write it: spec.tenants.overrides[2].weight."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, or None."""
    by_plain = {_plain(name): name for name in known}
    if found := by_plain.get(_plain(word)):
        return found
    near = difflib.get_close_matches(_plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[near[0]] if near else None


def choice(value: object, allowed: Iterable[str]) -> str:
    """Says which values are allowed, and which of them was probably meant."""
    allowed = list(allowed)
    meant = closest(value, allowed) if isinstance(value, str) and len(allowed) > 1 else None
    hint = f"; did you mean {meant}?" if meant else ""
    must = f"must be {allowed[0]}" if len(allowed) == 1 else f"must be one of {', '.join(allowed)}"
    return f"{must}, not {_shown(value)}{hint}"


def _explain(model: type[BaseModel], error: dict[str, Any]) -> tuple[FieldPath, str]:
    path: FieldPath = error["loc"]
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return path, _unknown_field(_type_at(model, path[:-1]), str(path[-1]))
    if kind == "missing":
        field = _field_at(model, path)
        return path, f"is missing: {_sentence(field.description or '') if field else 'it must be given'}"
    if kind == "value_error":
        return path, str(error["ctx"]["error"])
    annotation = _type_at(model, path)
    field = _field_at(model, path)
    bounds = _bounds(field) if field else ""
    if kind == "literal_error":
        return path, choice(value, get_args(annotation))
    if kind in _WRONG_TYPE:
        return path, _wrong_type(_WRONG_TYPE[kind], value, annotation, bounds)
    if kind in ("greater_than_equal", "less_than_equal"):
        return path, f"must be {bounds}, not {_shown(value)}"
    if kind in ("too_long", "too_short"):
        return path, f"must have {bounds}, not {len(value)}"
    return path, str(error["msg"])


_WRONG_TYPE = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}


def _wrong_type(expected: str, value: object, annotation: Any, bounds: str) -> str:
    hint = ""
    if expected == "text" and isinstance(value, int | float):
        hint = f'; put it into quotes: "{str(value).lower() if isinstance(value, bool) else value}"'
    elif expected == "a whole number" and isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        hint = "; leave out the quotes"
    elif expected == "true or false" and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
        hint = f"; write {'true' if value.lower() in ('true', 'yes') else 'false'}, without quotes"
    elif expected == "a map" and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = list(annotation.model_fields)
        expected = f"a map of {', '.join(fields)}"
        if isinstance(value, str) and "name" in fields:
            hint = f"; write {{name: {value[:63]}}}"
    if expected == "a whole number" and bounds:
        expected = f"{expected} {bounds}"
    return f"must be {expected}, not {_shown(value)}{hint}"


def _unknown_field(owner: Any, name: str) -> str:
    known = list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []
    meant = closest(name, known)
    hint = f"did you mean {meant}? " if meant else ""
    return f"there is no such field; {hint}The fields here are: {', '.join(known)}"


def _bounds(field: FieldInfo) -> str:
    """What the field's metadata says of its bounds, for people."""
    low = high = least = most = None
    for bound in field.metadata:
        if isinstance(bound, Text | Duration | Size | Quantity | Open):
            return bound.bounds()
        low = bound.ge if isinstance(bound, Ge) else low
        high = bound.le if isinstance(bound, Le) else high
        least = bound.min_length if isinstance(bound, MinLen) else least
        most = bound.max_length if isinstance(bound, MaxLen) else most
    if low is not None or high is not None:
        return f"from {low} to {high}"
    if most is not None:
        return f"{least or 0} to {most} entries"
    return ""


def _field_at(model: type[BaseModel], path: FieldPath) -> FieldInfo | None:
    """The field that a path names; None for an entry of a list or map."""
    owner = _type_at(model, path[:-1])
    if path and isinstance(owner, type) and issubclass(owner, BaseModel):
        return owner.model_fields.get(str(path[-1]))
    return None


def _type_at(model: type[BaseModel], path: FieldPath) -> Any:
    """The type that stands at a path, without Annotated and None around it."""
    at: Any = model
    for part in path:
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(part))
            at = _bare(field.annotation) if field else None
        elif get_origin(at) in (list, dict):
            at = _bare(get_args(at)[-1])
    return at


def _bare(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        options = [one for one in get_args(annotation) if one is not type(None)]
        return _bare(options[0]) if len(options) == 1 else annotation
    if origin is Literal:
        return annotation
    return annotation


def _shown(value: object) -> str:
    """A value as messages show it, cut to a length that fits a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _sentence(text: str) -> str:
    """The first sentence, as the rest of another one."""
    return text.split(". ")[0].rstrip(".")
