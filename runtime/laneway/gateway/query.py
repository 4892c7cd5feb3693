"""Reading what a request asks for: its query, and the JSON bodies of requests that are no submission.

Both are typed: a msgspec Struct whose fields each have a description. What does not fit is told field by field, and
unknown names are refused, so that a filter with a misspelt name never means everything.
"""

from __future__ import annotations

import typing
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from laneway.gateway.bodies import FieldError
from laneway.gateway.problems import Problem
from laneway.gateway.reading import not_json, parse, read_body
from laneway.gateway.words import Field, explain_fields, fields_of, unknown_field, wrong

S = TypeVar("S", bound=msgspec.Struct)

_MAX_UNKNOWN = 10
#: Bytes of a body that only says what to do (a thousand ids are 26 kB).
FORM_BODY = 262_144


@cache
def query_fields(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """The parameters of a query by their names, as the type says them."""
    return fields_of(struct)


def repeatable(field: Field) -> bool:
    """Whether a parameter may be given several times."""
    inner = typing.get_args(field.type)[0]  # (of Annotated)
    return typing.get_origin(inner) in (list, tuple)


def _textual(field: Field) -> bool:
    """Whether a parameter's value is a text or a time. (Only numbers are read from their text: a time given as a number
    of seconds would be taken for one, too.)"""
    return typing.get_args(field.type)[0] in (str, datetime)


def read_query(request: Request, struct: type[S]) -> S:
    """The query as ``struct`` has it. A list takes a parameter several times, anything else once.

    Raises:
        Problem: invalid-query, with each wrong parameter.
    """
    fields = query_fields(struct)
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        given.setdefault(name, []).append(value)
    errors: list[FieldError] = []
    found: dict[str, Any] = {}
    unknown = 0
    for name, values in given.items():
        field = fields.get(name)
        if field is None:
            unknown += 1
            if unknown <= _MAX_UNKNOWN:
                errors.append(unknown_field(name, fields, "", "parameter"))
            continue
        many = repeatable(field)
        if len(values) > 1 and not many:
            errors.append(FieldError(name, f"{name} may be given once, not {len(values)} times"))
            continue
        try:
            found[name] = msgspec.convert(values if many else values[0], field.type, strict=_textual(field))
        except msgspec.ValidationError:
            errors.append(wrong(name, field.right, values if many else values[0]))
    for name, field in fields.items():
        if field.required and name not in given:
            errors.append(FieldError(name, f"{name} is missing: it must be {field.right}"))
    if errors:
        raise bad_query(errors)
    return msgspec.convert(found, struct)


def bad_query(errors: list[FieldError]) -> Problem:
    """The problem of a query with wrong parameters."""
    return Problem("invalid-query", "; ".join(error.message for error in errors), errors=errors)


def bad_form(errors: list[FieldError]) -> Problem:
    """The problem of a body with wrong fields."""
    return Problem("invalid-request", "; ".join(error.message for error in errors), errors=errors)


async def read_form(request: Request, struct: type[S], limit: int = FORM_BODY) -> S:
    """The JSON body as ``struct`` has it; ``limit`` is in bytes.

    Raises:
        Problem: malformed-json, unsupported-media-type, body-too-large, or invalid-request with each wrong field.
    """
    raw = await read_body(request, limit)
    try:
        return msgspec.json.decode(raw, type=struct)
    except msgspec.ValidationError as error:
        raise bad_form(_explain(parse(raw), struct, str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error, raw) from None


def _explain(value: object, struct: type[msgspec.Struct], first: str) -> list[FieldError]:
    if not isinstance(value, dict):
        return [FieldError("", "the body must be a JSON object")]
    errors = explain_fields(value, query_fields(struct), "", _MAX_UNKNOWN)
    for name, field in query_fields(struct).items():
        inner = typing.get_args(field.type)[0]  # (of Annotated)
        part = value.get(name)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(part, dict):
            within = explain_fields(part, query_fields(inner), f"{name}.", _MAX_UNKNOWN)
            if within:
                errors = [error for error in errors if error.field != name] + within
    return errors or [FieldError("", f"the body is not of the form that the API's description gives: {first}")]
