"""What claims and groups are worth: pure decisions over the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from laneway.gateway.auth.identity import Identity, Method
from laneway.gateway.auth.permissions import GRANTS, Permission, Role
from laneway.kit.names import tenant_name
from laneway.model.manifests.gatewayauth import OidcGrant, ReviewGrant

_MISSING: Final = object()
_MOST_TENANTS: Final = 100


def identity(
    name: str,
    role: str,
    *,
    auth: Method,
    tenants: Collection[str] | None = None,
    payloads: bool | None = None,
    expires_at: datetime | None = None,
    credential: str = "",
) -> Identity:
    """One of a role, with what the credential says otherwise."""
    permissions = GRANTS[Role(role)]
    if payloads is not None:
        permissions = permissions | {Permission.PAYLOADS} if payloads else permissions - {Permission.PAYLOADS}
    bound = frozenset(tenants) if tenants is not None else None
    return Identity(_printable(name), role, permissions, bound, auth, expires_at, _printable(credential))


def without_role(name: str, *, auth: Method, expires_at: datetime | None = None, credential: str = "") -> Identity:
    """One who is known, and to whom no grant gives anything."""
    return Identity(_printable(name), "none", frozenset(), frozenset(), auth, expires_at, _printable(credential))


def of_claims(
    claims: Mapping[str, Any], grants: Sequence[OidcGrant]
) -> tuple[OidcGrant, Collection[str] | None] | None:
    """The first grant that fits a token's claims, and the tenants that it binds to; None: none fits.

    A grant with ``tenantsClaim`` does not fit a token whose claim is missing, empty, or has what can be no tenant:
    the token must not see more for want of it.
    """
    for grant in grants:
        if grant.claim is not None and grant.value not in _values(claim(claims, grant.claim)):
            continue
        if grant.tenantsClaim is None:
            return grant, grant.tenants
        tenants = _values(claim(claims, grant.tenantsClaim))
        if 0 < len(tenants) <= _MOST_TENANTS and all(_is_tenant(tenant) for tenant in tenants):
            return grant, tenants
    return None


def of_user(user: str, groups: Collection[str], grants: Sequence[ReviewGrant]) -> ReviewGrant | None:
    """The first grant that fits a user of the cluster; None: none fits."""
    for grant in grants:
        if grant.user == user if grant.user is not None else grant.group in groups:
            return grant
    return None


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may have dots, or else by its path; None when it is not there."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part, _MISSING)
        if found is _MISSING:
            return None
    return found


def _values(found: Any) -> list[str]:
    """The texts of a claim: itself, or those in its list. true and numbers count as their JSON text."""
    if isinstance(found, list):
        return [text for one in found for text in _values(one) if not isinstance(one, list)]
    if isinstance(found, bool):
        return ["true" if found else "false"]
    if isinstance(found, str | int):
        return [str(found)]
    return []


def _is_tenant(name: str) -> bool:
    try:
        tenant_name(name)
    except ValueError:
        return False
    return bool(name)


def _printable(text: str) -> str:
    """For logs: one line of bounded length."""
    return "".join(char if char.isprintable() else "?" for char in text[:200])
