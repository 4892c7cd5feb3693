"""Lets a request in, or not: what ``endpoint`` asks before each handler."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request

from laneway.gateway.auth.identity import ANONYMOUS_ADMIN, Identity


class Guard(Protocol):
    """Knows who makes a request."""

    async def identify(self, request: Request, *, optional: bool) -> Identity:
        """Who it is. ``optional``: a request without any credential is nobody's, and fine.

        Raises:
            Problem: unauthenticated, too-many-failures or unavailable.
        """
        ...


class OpenGuard:
    """Asks nobody: everybody is admin."""

    async def identify(self, request: Request, *, optional: bool) -> Identity:
        """The same for all."""
        return ANONYMOUS_ADMIN
