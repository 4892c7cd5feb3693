"""A handler's arguments: from its signature to the payload, and back again on the worker.

The same types check both ends: a payload is decoded once before it is sent, exactly as the worker will decode
it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from laneway.client.context import Context
from laneway.errors import ConfigError, InvalidTask

_encode = msgspec.msgpack.Encoder().encode
_SENDABLE = (
    "use numbers, text, bytes, bool, None, lists, dicts, dataclasses, msgspec.Struct, TypedDict, Enum, "
    "datetime, Decimal or UUID"
)


class Arguments:
    """The arguments of one handler. ``takes_context`` names the parameter that gets the Context, or is
    None."""

    def __init__(self, name: str, fn: Callable[..., Any], hints: Mapping[str, Any]) -> None:
        self._name = name
        self.takes_context: str | None = None
        self._names: list[str] = []
        self._positional: list[str] = []
        self._shown: list[str] = []
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for parameter in inspect.signature(fn).parameters.values():
            hint = hints.get(parameter.name, Any)
            self._check_kind(parameter)
            if _is_context(hint):
                self._set_context(parameter.name)
                continue
            self._names.append(parameter.name)
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                self._positional.append(parameter.name)
            self._shown.append(str(parameter.replace(annotation=_shown_hint(parameter))))
            if parameter.default is inspect.Parameter.empty:
                fields.append((parameter.name, hint))
            else:
                # Left out of the payload when not given: the function's own default counts, where it runs.
                fields.append((parameter.name, hint | msgspec.UnsetType, msgspec.UNSET))
        self._check_types(fields)
        self._all_required = all(len(field) == 2 for field in fields)
        struct = msgspec.defstruct(f"{name}.arguments", fields, kw_only=True, forbid_unknown_fields=True)
        self._decode = msgspec.msgpack.Decoder(struct).decode
        self._struct = struct
        self._fn = fn

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the payload."""
        from laneway.client.schemas import payload_schema  # only workers tell their types

        return payload_schema(self._struct, self._fn)

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The payload of a call.

        Raises:
            InvalidTask: an argument is unknown, missing, given twice or of another type.
        """
        if args:
            kwargs = self.by_name(args, kwargs)
        try:
            payload = _encode(kwargs)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise self._wrong(f"{error} ({_SENDABLE})") from error
        try:
            self._decode(payload)
        except msgspec.MsgspecError as error:
            raise self._wrong(_plain(error)) from error
        return payload

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The keyword arguments in a payload; those not given are left to the handler's defaults.

        Raises:
            InvalidTask: the payload does not fit the signature.
        """
        try:
            struct = self._decode(payload)
        except msgspec.MsgspecError as error:
            raise self._wrong(_plain(error)) from error
        if self._all_required:
            return msgspec.structs.asdict(struct)
        unset = msgspec.UNSET
        return {name: value for name in self._names if (value := getattr(struct, name)) is not unset}

    def by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """All arguments by name.

        Raises:
            InvalidTask: there are too many, or one is given twice.
        """
        if len(args) > len(self._positional):
            most = len(self._positional)
            raise self._wrong(f"{len(args)} arguments by position were given, and it takes {most}")
        named = dict(zip(self._positional, args, strict=False))
        twice = named.keys() & kwargs.keys()
        if twice:
            raise self._wrong(f"{', '.join(sorted(twice))} was given twice, by position and by name")
        return {**named, **kwargs}

    def _wrong(self, what: str) -> InvalidTask:
        shown = ", ".join(self._shown) or "none"
        return InvalidTask(f"task {self._name!r}: {what}; its arguments are: {shown}")

    def _set_context(self, name: str) -> None:
        if self.takes_context is not None:
            raise ConfigError(
                f"task {self._name!r} has two parameters of type Context, {self.takes_context} and {name}: keep one"
            )
        self.takes_context = name

    def _check_kind(self, parameter: inspect.Parameter) -> None:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise ConfigError(
                f"task {self._name!r} takes {parameter}, so what it is sent could not be checked: "
                "name each parameter, or take one list or dict"
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"task {self._name!r} takes {parameter.name!r} by position only, and arguments travel by "
                "name: remove the '/' from its signature"
            )

    def _check_types(self, fields: list[tuple[str, Any] | tuple[str, Any, Any]]) -> None:
        for field in fields:
            for bad in unsendable(field[1]):
                raise ConfigError(
                    f"task {self._name!r}: the argument {field[0]!r} has the type {bad}, "
                    f"which can't be sent; {_SENDABLE}"
                )


def hints_of(name: str, fn: Callable[..., Any]) -> dict[str, Any]:
    """The types that a function's annotations name.

    Raises:
        ConfigError: an annotation can't be resolved where the function is defined.
    """
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"task {name!r}: its annotations can't be resolved ({error}): import or define the types that "
            "they name at the top level of the module, before the task, and not only for type checkers"
        ) from error


def unsendable(hint: Any) -> Iterator[str]:
    """The types within a type that msgpack can't carry."""
    from msgspec import inspect as shapes  # only used where tasks are defined

    try:
        root = shapes.type_info(hint)
    except TypeError as error:
        yield f"{hint} ({error})"
        return
    seen: set[int] = set()
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, shapes.CustomType):
            if node.cls is not msgspec.UnsetType:
                yield f"{node.cls.__module__}.{node.cls.__qualname__}"
        elif isinstance(node, tuple):
            todo.extend(node)
        elif isinstance(node, shapes.Type | shapes.Field):
            todo.extend(getattr(node, field) for field in node.__struct_fields__)


def _is_context(hint: Any) -> bool:
    return hint is Context or (Context in typing.get_args(hint))


def _shown_hint(parameter: inspect.Parameter) -> Any:
    """An annotation as people wrote it: without quotes around it."""
    hint = parameter.annotation
    return _Verbatim(hint) if isinstance(hint, str) else hint


class _Verbatim:
    """Shows a text as it is where inspect shows the repr of an annotation."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _plain(error: Exception) -> str:
    """A message of msgspec's in terms of arguments: paths such as `$.size` name the argument."""
    text = str(error)
    return (
        text.replace("Object missing required field", "missing argument")
        .replace("Object contains unknown field", "unknown argument")
        .replace("`$.", "`")
    )
