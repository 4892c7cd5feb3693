"""A sorted set with the meaning of Redis: members in order of score, then bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

_ABOVE = b"\xff" * 32


class SortedSet:
    """Members with a score each."""

    __slots__ = ("_order", "_scores")

    def __init__(self) -> None:
        self._scores: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._scores)

    def __contains__(self, member: object) -> bool:
        return member in self._scores

    def add(self, member: bytes, score: float) -> None:
        """Adds a member, or moves it to another score."""
        before = self._scores.get(member)
        if before == score:
            return
        if before is not None:
            self.remove(member)
        self._scores[member] = score
        insort(self._order, (score, member))

    def remove(self, member: bytes) -> bool:
        """Removes a member; False when it is not there."""
        score = self._scores.pop(member, None)
        if score is None:
            return False
        del self._order[bisect_left(self._order, (score, member))]
        return True

    def first(self, n: int) -> list[tuple[float, bytes]]:
        """The ``n`` lowest as (score, member)."""
        return self._order[: max(0, n)]

    def up_to(self, score: float, n: int) -> list[bytes]:
        """Up to ``n`` members whose score is at most ``score``, lowest first."""
        end = bisect_right(self._order, (score, _ABOVE))
        return [member for _, member in self._order[: min(end, max(0, n))]]

    def count_up_to(self, score: float) -> int:
        """How many members have a score of at most ``score``."""
        return bisect_right(self._order, (score, _ABOVE))

    def last(self, offset: int, n: int) -> list[tuple[float, bytes]]:
        """``n`` members from the top, after ``offset``, highest first."""
        end = len(self._order) - offset
        return self._order[max(0, end - n) : max(0, end)][::-1]

    def score(self, member: bytes) -> float | None:
        """The score of a member; None when it is not there."""
        return self._scores.get(member)

    def entries(self) -> list[tuple[float, bytes]]:
        """All members as (score, member), in order."""
        return list(self._order)

    def members(self) -> list[bytes]:
        """All members, in order."""
        return [member for _, member in self._order]
