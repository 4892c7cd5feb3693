"""Who has how many event streams open: none may have so many that others get no place."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from starlette.requests import Request

from laneway.gateway.auth.address import Addresses
from laneway.gateway.auth.identity import identity_of
from laneway.gateway.problems import later

#: Seconds after which one without a place is to ask again.
_AGAIN = 5.0


class StreamPlaces:
    """``most`` places for all together, and ``most_each`` for each credential; where nobody is asked for one, for each
    address that requests come from."""

    def __init__(self, most: int, most_each: int, addresses: Addresses) -> None:
        self._most = most
        self._most_each = most_each
        self._addresses = addresses
        self._taken: dict[Hashable, int] = {}
        self._open = 0

    @property
    def open(self) -> int:
        """How many are taken."""
        return self._open

    def take(self, request: Request) -> Callable[[], None]:
        """Takes a place; what it gives is called to give it back (calls after the first do nothing).

        Raises:
            Problem: too-many-streams, who asks has as many as one may; or unavailable, all are taken.
        """
        who = self._who(request)
        if self._taken.get(who, 0) >= self._most_each:
            raise later(
                "too-many-streams",
                f"{self._most_each} streams of events (or long-polls that wait) are open here for you already: close"
                " some, or let one stream serve several readers",
                _AGAIN,
                limit=self._most_each,
            )
        if self._open >= self._most:
            raise later("unavailable", f"{self._most} streams of events are open here already", _AGAIN)
        self._taken[who] = self._taken.get(who, 0) + 1
        self._open += 1
        held = [who]

        def give_back() -> None:
            if held:
                self._leave(held.pop())

        return give_back

    def _leave(self, who: Hashable) -> None:
        self._open -= 1
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]

    def _who(self, request: Request) -> Hashable:
        identity = identity_of(request)
        if identity.auth == "none":
            return self._addresses.of(request)
        return identity.auth, identity.credential or identity.name
