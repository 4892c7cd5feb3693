"""A handler's result: encoded where it ran, decoded by its annotation where it is awaited."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from laneway.client.arguments import unsendable
from laneway.errors import ConfigError, InvalidTask, LanewayError
from laneway.model.outcomes import Outcome

_encode = msgspec.msgpack.Encoder().encode


class Results:
    """The result of one task type."""

    def __init__(self, name: str, hint: Any) -> None:
        self._name = name
        hint = _without_outcomes(hint)
        for bad in unsendable(hint):
            raise ConfigError(
                f"task {name!r}: its result has the type {bad}, which can't be sent: return plain data, or None"
            )
        self._decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(hint).decode

    def encode(self, result: Any) -> bytes | None:
        """A result as msgpack; None for None.

        Raises:
            InvalidTask: it can't be encoded.
        """
        if result is None:
            return None
        try:
            return _encode(result)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidTask(f"task {self._name!r} returned what can't be sent: {error}") from error

    def decode(self, raw: bytes | None) -> Any:
        """The result as its annotation says.

        Raises:
            LanewayError: the worker returned something else.
        """
        if raw is None:
            return None
        try:
            return self._decode(raw)
        except msgspec.MsgspecError as error:
            raise LanewayError(f"the result of task {self._name!r} is not what its annotation says: {error}") from error


def _without_outcomes(hint: Any) -> Any:
    """What is left of a return annotation as a result: ``int | Snooze`` gives an int."""
    if _is_outcome(hint) or hint is typing.NoReturn:
        return None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        left = [part for part in typing.get_args(hint) if not _is_outcome(part)]
        return typing.Union[tuple(left)] if left else None  # noqa: UP007
    return hint


def _is_outcome(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Outcome)
