"""What is wrong with the fields of a body or a query, and what would be right: words made from the types."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Annotated, Any, NamedTuple

import msgspec

from laneway.gateway.bodies import FieldError

#: A name like an unknown one is looked for (which takes time with the square of the length) up to this length.
_MAX_LIKENED = 64


class Field(NamedTuple):
    """One field: its type, the words for what is right, whether it must be given, and whether null counts as not."""

    type: Any
    right: str
    required: bool
    optional: bool


def fields_of(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """The fields of a body by their JSON names. Each must be Annotated with a description."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(struct):
        kind = hints[field.name]
        optional = typing.get_origin(kind) in (typing.Union, types.UnionType)
        inner = typing.get_args(kind)[0] if optional else kind
        assert typing.get_origin(inner) is Annotated, f"{struct.__name__}.{field.name} needs a description"
        found[field.encode_name] = Field(inner, inner.__metadata__[0].description, field.required, optional)
    return found


def explain_fields(
    value: dict[str, Any], fields: dict[str, Field], prefix: str, most: int, *, what: str = "field"
) -> list[FieldError]:
    """What is wrong with the fields of an object; ``most``: so many unknown ones are told one by one."""
    errors = []
    unknown = 0
    for name, given in value.items():
        field = fields.get(name)
        if field is None:
            unknown += 1
            if unknown <= most:
                errors.append(unknown_field(name, fields, prefix, what))
        elif not (given is None and field.optional):
            try:
                msgspec.convert(given, field.type)
            except msgspec.ValidationError:
                errors.append(wrong(prefix + name, field.right, given))
    for name, field in fields.items():
        if field.required and name not in value:
            errors.append(FieldError(prefix + name, f"{prefix}{name} is missing: it must be {field.right}"))
    if unknown > most:
        more = f"and {unknown - most:,} more" if most else f"there are {unknown:,}"
        errors.append(FieldError(prefix.rstrip("."), f"{more} {what}s that are not known"))
    return errors


def unknown_field(name: str, fields: typing.Mapping[str, Any], prefix: str = "", what: str = "field") -> FieldError:
    """The error of a name that is none of ``fields``, with the one that was probably meant."""
    close = difflib.get_close_matches(name, fields, 1) if len(name) <= _MAX_LIKENED else []
    if not close:  # start_timeout, StartTimeout ...
        plain = name.replace("_", "").replace("-", "").lower()
        close = [known for known in fields if known.lower() == plain]
    hint = f"the {what}s are {', '.join(fields)}" if fields else f"there are no {what}s here"
    if close:
        hint = f"did you mean {prefix}{close[0]}?"
    return FieldError(prefix + short(name), f"there is no {what} {prefix}{short(name)}: {hint}")


def wrong(name: str, right: str, value: object, whole: str | None = None) -> FieldError:
    """The error of a field with a wrong value."""
    return FieldError(name, f"{whole or name} must be {right}, not {shown(value)}")


def shown(value: object) -> str:
    """A value for a message, as JSON: never long."""
    return short(msgspec.json.encode(value).decode())


def short(text: str) -> str:
    """At most 80 characters of a text."""
    return text if len(text) <= 80 else text[:77] + "..."
