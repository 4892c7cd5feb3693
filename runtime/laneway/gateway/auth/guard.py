"""What ``endpoint`` asks before each handler: who makes this request."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request

from laneway.gateway.auth.identity import ANONYMOUS_ADMIN, Identity


class Guard(Protocol):
    """Knows who makes a request."""

    async def identify(self, request: Request, *, public: bool) -> Identity:
        """Who it is. ``public``: the route is for everybody, so nobody is asked.

        Raises:
            Problem: unauthenticated, too-many-failures, forbidden or unavailable.
        """
        ...

    def holds(self, identity: Identity) -> bool:
        """Whether one who was let in still would be: what goes on for long, such as a stream of events, asks again."""
        ...

    def denied(self, identity: Identity, permission: str) -> None:
        """Counts one who was let in and lacked a permission."""
        ...


class OpenGuard:
    """Asks nobody: everybody is admin."""

    async def identify(self, request: Request, *, public: bool) -> Identity:
        """The same for all."""
        return ANONYMOUS_ADMIN

    def holds(self, identity: Identity) -> bool:
        """For ever."""
        return True

    def denied(self, identity: Identity, permission: str) -> None:
        """Never happens."""
