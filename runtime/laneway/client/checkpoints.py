"""Checkpoints as they travel: msgpack, of a bounded size, and back again as the type that is asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from laneway.errors import InvalidCheckpoint
from laneway.model.notes import CHECKPOINT_BYTES

_encode = msgspec.msgpack.Encoder().encode


def encode_checkpoint(data: Any, task: str) -> bytes:
    """A checkpoint as msgpack.

    Raises:
        InvalidCheckpoint: it is too large, or can't be encoded.
    """
    try:
        raw = _encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidCheckpoint(
            f"the checkpoint of task {task} can't be encoded: {error}; use plain data, dataclasses or msgspec.Struct"
        ) from error
    if len(raw) > CHECKPOINT_BYTES:
        raise InvalidCheckpoint(
            f"the checkpoint of task {task} has {len(raw):,} bytes, and at most {CHECKPOINT_BYTES:,} are kept: store "
            "the data elsewhere and save where it is"
        )
    return raw


def decode_checkpoint(raw: bytes, type: Any, task: str) -> Any:
    """A checkpoint as ``type``.

    Raises:
        InvalidCheckpoint: it is of another form.
    """
    try:
        return msgspec.msgpack.decode(raw, type=type)
    except msgspec.MsgspecError as error:
        raise InvalidCheckpoint(
            f"the checkpoint of task {task} is not of the type asked for: {error}; ctx.saved has it as plain data"
        ) from error
