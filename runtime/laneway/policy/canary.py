"""A stable share of tasks: which of them go first when not all shall."""

from __future__ import annotations

import hashlib

_WHOLE = 1 << 64


def in_share(id: bytes, share: float) -> bool:
    """Whether a task is in the first ``share`` (over 0, up to 1) of all. The same id always gives the same answer, a
    greater share has all of a smaller one, and ids made one after the other are spread evenly."""
    return share >= 1 or int.from_bytes(hashlib.blake2b(id, digest_size=8).digest(), "big") < share * _WHOLE
