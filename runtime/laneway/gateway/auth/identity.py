"""Who makes a request, and which tasks that one may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from starlette.requests import Request

from laneway.gateway.auth.permissions import GRANTS, Permission, Role
from laneway.gateway.problems import Problem

Method = Literal["none", "key", "oidc", "tokenreview"]

_SCOPE: Final = "laneway.identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """One who was let in. ``tenants`` None: bound to none, so sees every tenant's tasks. ``auth`` says by what it was
    known, and ``expires_at`` when that ends (None: not by itself). ``credential`` is the public name of the
    credential, such as a key's id, for the log."""

    name: str
    role: str
    permissions: frozenset[Permission]
    tenants: frozenset[str] | None = None
    auth: Method = "none"
    expires_at: datetime | None = None
    credential: str = ""

    def can(self, permission: str) -> bool:
        """Whether it has this permission."""
        return permission in self.permissions

    def sees(self, tenant: str) -> bool:
        """Whether tasks of this tenant ("": tasks that name none) are shown to it at all."""
        return self.tenants is None or tenant in self.tenants

    @property
    def bound(self) -> bool:
        """Whether it is bound to tenants, and so gets no numbers that count the tasks of others."""
        return self.tenants is not None

    @property
    def payloads(self) -> bool:
        """Whether it may see payloads, results, tracebacks and log lines."""
        return Permission.PAYLOADS in self.permissions


#: Everybody, while nobody is asked who he is.
ANONYMOUS_ADMIN: Final = Identity("anonymous", Role.ADMIN, GRANTS[Role.ADMIN])
#: One without a credential, on a route that needs none.
NOBODY: Final = Identity("anonymous", "none", frozenset())


def identity_of(request: Request) -> Identity:
    """Who makes this request. Every handler behind ``endpoint`` has one: :data:`ANONYMOUS_ADMIN` while authentication
    is off.

    Raises:
        RuntimeError: nobody has asked; a route was made without ``endpoint``.
    """
    found = request.scope.get(_SCOPE)
    if not isinstance(found, Identity):
        raise RuntimeError(f"{request.scope['path']} was reached past endpoint(): nobody knows who asks")
    return found


def set_identity(request: Request, identity: Identity) -> None:
    """Notes who makes this request."""
    request.scope[_SCOPE] = identity


def visible(identity: Identity, tenant: str) -> bool:
    """Whether a task of ``tenant`` is there for ``identity``. One that is not is answered for like one that never was
    (404 unknown-task), and left out of lists."""
    return identity.sees(tenant)


def require_unbound(request: Request) -> Identity:
    """The identity, for answers that count the tasks of all tenants.

    Raises:
        Problem: forbidden; the credential is bound to tenants.
    """
    identity = identity_of(request)
    if identity.bound:
        raise Problem(
            "forbidden",
            "these numbers count the tasks of all tenants, and this credential is bound to "
            f"{', '.join(sorted(identity.tenants or ())) or 'no tenant'}: use one that is bound to none",
        )
    return identity


def submitting_tenant(identity: Identity, tenant: str) -> str:
    """The tenant that a submission gets: the one it names, or the only one that the credential is bound to.

    Raises:
        Problem: forbidden; the credential does not submit for this tenant.
    """
    if identity.tenants is None or tenant in identity.tenants:
        return tenant
    if not tenant and len(identity.tenants) == 1:
        return next(iter(identity.tenants))
    own = ", ".join(sorted(name or '""' for name in identity.tenants)) or "none"
    named = f"tenant {tenant!r}" if tenant else "no tenant"
    raise Problem("forbidden", f"the task names {named}, and this credential submits only for: {own}")


def forbidden(identity: Identity, wanted: Permission) -> Problem:
    """The problem of a credential without the permission for a route."""
    roles = ", ".join(role for role, permissions in GRANTS.items() if wanted in permissions)
    return Problem(
        "forbidden",
        f"{identity.name} is {identity.role}, which lacks {wanted.value!r}: use a credential with a role of {roles}",
    )
