"""Identifiers: task ids and incarnations.

A task id is 14 bytes: 48 bits of milliseconds since 1970 and 64 random bits, so ids sort by the time they were
made. As text it is 23 characters of base32hex in lower case, which sort the same way.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from functools import lru_cache

ID_BYTES = 14
ID_CHARS = 23
INCARNATION_BYTES = 8
_RANDOM_BITS = 64
_DIGITS = bytes.maketrans(bytes(range(32)), b"0123456789abcdefghijklmnopqrstuv")

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


@lru_cache(maxsize=128)
def _masks(groups: int) -> tuple[int, ...]:
    """For so many words of eight bytes: which bits of each half, quarter and eighth of a word stay, or move up."""
    words = ("000000fffff00000", "00000000000fffff", "000ffc00000ffc00", "000003ff000003ff", "03e0" * 4, "001f" * 4)
    return tuple(int.from_bytes(bytes.fromhex(word) * groups, "big") for word in words)


def id_texts(raws: Sequence[bytes]) -> list[str]:
    """The text forms of many task ids: of a hundred at a sixth of what they cost one by one with the standard library,
    which takes five bits at a time.

    All are one large number, in which each five bytes (eight digits) get eight to stand in; then halves, quarters and
    eighths of all those move apart at once, until each digit has a byte.
    """
    if not raws:
        return []
    blob = b"\0".join(raws) + b"\0"  # with a byte more each id is a whole number of groups
    groups = len(blob) // 5
    spread = bytearray(8 * groups)
    for i in range(5):
        spread[3 + i :: 8] = blob[i::5]
    half, low, quarter, lower, eighth, lowest = _masks(groups)
    bits = int.from_bytes(spread, "big")
    bits = (bits & half) << 12 | bits & low
    bits = (bits & quarter) << 6 | bits & lower
    bits = (bits & eighth) << 3 | bits & lowest
    text = bits.to_bytes(8 * groups, "big").translate(_DIGITS).decode("ascii")
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
