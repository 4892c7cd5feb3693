"""A token bucket computed beside the limiter's, from times that are known to lie between two others."""

from __future__ import annotations

#: Tokens by which sums of fractions may differ with the order of their terms.
_ROUNDING = 1e-6


class ExactBucket:
    """What an exact bucket of ``rate`` tokens per second and at most ``burst`` would hold.

    The moment of a decision is known to lie between two readings of the same clock (us), so there is a least and a
    most that the bucket may hold then. :meth:`judge` counts a decision as wrong only when no moment between its
    two readings explains it.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate / 1e6
        self._burst = burst
        # The bucket was surely full at some moment between the two times, and gave so many tokens since.
        self._full_least = self._full_most = (0, 0)
        self._given_least = self._given_most = 0
        self._begun = False
        self.allowed = 0
        self.refused = 0
        self.wrongly_allowed = 0
        self.wrongly_refused = 0

    def judge(self, before: int, after: int, allowed: bool) -> None:
        """Takes one decision, which was made between ``before`` and ``after`` (us)."""
        if not self._begun:
            self._begun = True
            self._full_least = self._full_most = (before, after)
        # Least: full as late as it can have been, asked as early as can be; and the other way round.
        least = self._burst + (before - self._full_least[1]) * self._rate - self._given_least
        most = self._burst + (after - self._full_most[0]) * self._rate - self._given_most
        if most >= self._burst:
            # Perhaps it was full again, and what would have gone into it since is lost. To think so is right for
            # the most in any case, and for the least when that makes it less.
            self._full_most, self._given_most, most = (before, after), 0, self._burst
            if self._burst - (after - before) * self._rate < least:
                self._full_least, self._given_least = (before, after), 0
            least = min(least, self._burst)
        if allowed:
            self.allowed += 1
            self.wrongly_allowed += most < 1 - _ROUNDING
            self._given_least += 1
            self._given_most += 1
        else:
            self.refused += 1
            self.wrongly_refused += least >= 1 + _ROUNDING

    @property
    def error(self) -> int:
        """Decisions that an exact bucket would not have made."""
        return self.wrongly_allowed + self.wrongly_refused
