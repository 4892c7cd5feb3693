"""The record: what changes about a task. Scripts write it; Python only reads it."""

from __future__ import annotations

import struct

import msgspec

from laneway.model.envelope import Envelope
from laneway.model.states import State

#: A score in a lane is (9 - priority) times this, and the virtual time at which the task's turn comes.
STRIDE = 1 << 49
_RECORD = struct.Struct(">BBBBBHIdddd8s")
CANCEL_REQUESTED, SUSPECT, HAS_ERRORS = 1, 2, 8


class Record(msgspec.Struct):
    """One task's record. ``since_ms`` is when it came into its state, ``started_ms`` when its last attempt began (0:
    none has); ``fence`` is that attempt's."""

    state: State
    flags: int
    lane: int
    crashes: int
    max_attempts: int
    attempts: int
    size: int
    score: float
    fence: int
    since_ms: int
    holder: bytes
    tenant: str
    started_ms: int = 0

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked a running task to stop."""
        return bool(self.flags & CANCEL_REQUESTED)


def priority_of(envelope: Envelope, record: Record | None) -> int:
    """The priority that a task has now: it may have been revised since its submission. The score says it; a negative
    one, of a task that has no place in its lane yet, is -1 less the priority, and 0 says nothing."""
    if record is None or record.score == 0:
        return envelope.priority
    return int(-record.score) - 1 if record.score < 0 else 9 - int(record.score) // STRIDE


def decode_record(raw: bytes) -> Record:
    """Takes apart a stored record."""
    state, flags, lane, crashes, most, attempts, size, score, fence, since, started, holder = _RECORD.unpack_from(raw)
    return Record(
        State(state), flags, lane, crashes, most, attempts, size, score, int(fence), int(since), holder,
        raw[_RECORD.size :].decode(), int(started),
    )  # fmt: skip


class AttemptError(msgspec.Struct, omit_defaults=True):
    """Why one attempt did not succeed. ``at`` is ms since 1970, ``attempt`` counts from 1 (0: unknown)."""

    kind: str
    message: str = ""
    at: int = 0
    attempt: int = 0
    traceback: str = ""
    worker: str = ""


_error_decoder = msgspec.msgpack.Decoder(AttemptError)
encode_error = msgspec.msgpack.Encoder().encode
#: Raises msgspec.MsgspecError for bytes that are no error.
decode_error = _error_decoder.decode


def decode_errors(raw: bytes) -> list[AttemptError]:
    """The errors kept for a task, oldest first, from their length-prefixed form."""
    errors, pos = [], 0
    while pos < len(raw):
        size = int.from_bytes(raw[pos : pos + 4], "big")
        errors.append(_error_decoder.decode(raw[pos + 4 : pos + 4 + size]))
        pos += 4 + size
    return errors
