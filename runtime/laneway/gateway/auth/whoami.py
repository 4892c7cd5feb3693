"""``GET /api/v1/whoami``: what the gateway takes the one who asks for."""

from __future__ import annotations

from datetime import UTC

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from laneway.gateway.auth.identity import Identity, identity_of
from laneway.gateway.auth.permissions import KNOWN
from laneway.gateway.endpoint import json_response
from laneway.gateway.routing import API, Doc, Row


class WhoAmI(msgspec.Struct, rename="camel"):
    """Who the credential is, and what it may do. ``tenants`` null: tasks of all tenants; ``expiresAt`` null: not by
    itself; ``auth`` none: nobody is asked who he is."""

    name: str
    role: str
    tenants: list[str] | None
    permissions: list[str]
    auth: str
    expires_at: str | None


_DOC = Doc("whoAmI", "Who the credential is, and what it may do", {200: WhoAmI}, tag="access")


class WhoAmIRoutes:
    """The one route."""

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [Row("GET", f"{API}/whoami", self.whoami, KNOWN, _DOC)]

    async def whoami(self, request: Request) -> Response:
        """GET /api/v1/whoami"""
        identity = identity_of(request)
        body = WhoAmI(
            identity.name,
            identity.role,
            sorted(identity.tenants) if identity.tenants is not None else None,
            sorted(identity.permissions),
            identity.auth,
            _expires_text(identity),
        )
        return json_response(body, headers={"Cache-Control": "no-store"})


def _expires_text(identity: Identity) -> str | None:
    """When a credential ends, in RFC 3339."""
    if identity.expires_at is None:
        return None
    return identity.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
