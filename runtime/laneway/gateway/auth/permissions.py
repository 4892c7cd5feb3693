"""Permissions, and the roles that have them.

Each row of the table of routes names what it needs: a permission, :data:`KNOWN` or :data:`PUBLIC`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a credential may do."""

    LOOKUP = "lookup"
    """See one task, by its id."""
    READ = "read"
    """List and search tasks, and see queues, lanes, workers, events and numbers."""
    SUBMIT = "submit"
    """Submit tasks."""
    OPERATE = "operate"
    """Cancel, retry, revise, replay, drain; one task or many."""
    ADMIN = "admin"
    """What can't be undone: purge."""
    PAYLOADS = "payloads"
    """See what tasks carry: payloads, results, tracebacks and log lines."""


class Role(StrEnum):
    """A set of permissions under a name that credentials carry."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"


GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.READ, Permission.LOOKUP}),
    Role.SUBMITTER: frozenset({Permission.SUBMIT, Permission.LOOKUP}),
    Role.OPERATOR: frozenset(Permission) - {Permission.ADMIN},
    Role.ADMIN: frozenset(Permission),
}

#: Whoever has a valid credential, whatever its role.
KNOWN: Final = "known"
#: Everybody, without a credential.
PUBLIC: Final = ""

#: What changes something, so is written down.
CHANGING: Final = frozenset({Permission.SUBMIT, Permission.OPERATE, Permission.ADMIN})


def needed(text: str) -> Permission | None:
    """The permission that a row of the table names; None for :data:`KNOWN` and :data:`PUBLIC`.

    Raises:
        ValueError: there is none of this name. A route must not be open by a misspelling.
    """
    if text in (KNOWN, PUBLIC):
        return None
    try:
        return Permission(text)
    except ValueError:
        raise ValueError(
            f"there is no permission {text!r}: a route needs one of {', '.join(Permission)}, "
            f"{KNOWN!r} (any credential) or {PUBLIC!r} (everybody)"
        ) from None
