"""Identifiers: task ids and incarnations.

A task id is 14 bytes: 48 bits of milliseconds since 1970 and 64 random bits, so ids sort by the time they were
made. As text it is 23 characters of base32hex in lower case, which sort the same way.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence

ID_BYTES = 14
ID_CHARS = 23
INCARNATION_BYTES = 8
_RANDOM_BITS = 64

_last = 0


def new_task_ids(n: int) -> list[bytes]:
    """Makes ``n`` task ids in ascending order, above all that this process has made before."""
    global _last
    stamp = (time.time_ns() // 1_000_000) << _RANDOM_BITS
    entropy = os.urandom(10)
    base = stamp | (int.from_bytes(entropy[:8], "big") >> 1)
    if base <= _last:
        base = _last + 1
    # Steps of a random size keep the ids of one batch from being guessed from each other.
    step = 1 + int.from_bytes(entropy[8:], "big")
    ids = [(base + i * step).to_bytes(ID_BYTES, "big") for i in range(n)]
    if n:
        _last = base + (n - 1) * step
    return ids


def new_task_id() -> bytes:
    """Makes one task id."""
    return new_task_ids(1)[0]


def id_text(raw: bytes) -> str:
    """The text form of a task id (23 characters)."""
    return base64.b32hexencode(raw).decode("ascii").rstrip("=").lower()


def id_texts(raws: Sequence[bytes]) -> list[str]:
    """The text forms of many task ids, at a third of the cost of one by one."""
    # With a byte more each id is a whole number of base32 groups, so all can be encoded at once.
    text = base64.b32hexencode(b"".join([raw + b"\0" for raw in raws])).decode("ascii").lower()
    return [text[at : at + ID_CHARS] for at in range(0, len(text), ID_CHARS + 1)]


def id_bytes(text: str) -> bytes:
    """The 14 bytes of a task id given as text.

    Raises:
        ValueError: the text is not a task id.
    """
    if len(text) != ID_CHARS:
        raise ValueError(f"a task id has {ID_CHARS} characters, not {len(text)}: {text[:40]!r}")
    try:
        raw = base64.b32hexdecode(text.upper() + "=")
    except ValueError:
        raise ValueError(f"a task id has only the characters 0-9 and a-v: {text!r}") from None
    if id_text(raw) == text.lower() != text:
        raise ValueError(f"a task id is written in lower case: {text!r} is {text.lower()}")
    if id_text(raw) != text:
        raise ValueError(f"a task id ends with 0, 8, g or o, and this text is not how one ends: {text!r}")
    return raw


def new_incarnation() -> bytes:
    """Makes the 8 random bytes that name one registration of a worker."""
    return os.urandom(INCARNATION_BYTES)
