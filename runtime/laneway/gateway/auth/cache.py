"""Tokens that were looked at lately, by their hashes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: So many are remembered at once; of more, the one that was used longest ago is forgotten.
MOST: Final = 10_000


def digest(token: str) -> bytes:
    """What a token is remembered by: the token itself is kept nowhere."""
    return hashlib.sha256(token.encode()).digest()


class TokenCache(Generic[T]):
    """What was found of tokens, each until a time. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._found: OrderedDict[bytes, tuple[T, float]] = OrderedDict()

    def get(self, key: bytes) -> T | None:
        """What was found, if it still holds."""
        known = self._found.get(key)
        if known is None:
            return None
        found, until = known
        if self._clock() >= until:
            del self._found[key]
            return None
        self._found.move_to_end(key)
        return found

    def put(self, key: bytes, found: T, until: float) -> None:
        """Remembers it until ``until``, by the clock."""
        if until <= self._clock():
            return
        self._found[key] = (found, until)
        self._found.move_to_end(key)
        if len(self._found) > self._most:
            self._found.popitem(last=False)

    def __len__(self) -> int:
        return len(self._found)
