"""What goes with cursors, beside the place in a list.

With those of searches that change what they find goes the moment at which the search began: what came into its state
later is not meant by it. Without that a search would meet the tasks that it changed: one that is retried and fails
again would be retried by every call, and the search would have no end.

Those for credentials that are bound to tenants are sealed: a place is the last task that was looked at, which may be
another tenant's, and its id and time are not for them to read.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

import msgspec

from laneway.gateway.auth.identity import Identity
from laneway.gateway.front import QueueFront
from laneway.gateway.problems import Problem
from laneway.ports.browse import Filter

_NONCE: Final = 12
_NONE = "this is no cursor: send `next` of an answer as it is, or none to begin anew"
_DIGITS = frozenset("0123456789abcdef")


async def begun(front: QueueFront, cursor: str | None) -> tuple[int, str | None]:
    """Before which moment (ms since 1970, the store's time) tasks must have come into their state for this search to
    mean them, and the rest of the cursor.

    Raises:
        Problem: invalid-cursor; or what ``front.ask`` raises.
    """
    if cursor is None:
        return (await front.ask(front.store.stats())).now_ms + 1, None
    text, dot, rest = cursor.partition(".")
    if not dot or not 1 <= len(text) <= 12 or not _DIGITS.issuperset(text):
        raise Problem("invalid-cursor", _NONE)
    return int(text, 16), rest


def with_moment(until_ms: int, cursor: str) -> str:
    """The cursor of a search that began at this moment."""
    return f"{until_ms:x}.{cursor}"


def settled_before(wanted: Filter, until_ms: int) -> Filter:
    """The filter among tasks that came into their state before this moment."""
    return msgspec.structs.replace(wanted, since_to=until_ms)


async def sealed(front: QueueFront, identity: Identity, cursor: str | None) -> str | None:
    """A cursor as this one gets it: encrypted (AES-GCM) for a credential that is bound to tenants, else as it is. All
    gateways of the queue can open it."""
    if cursor is None or identity.tenants is None:
        return cursor
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # (slow to import, and only wanted with credentials)

    nonce = secrets.token_bytes(_NONCE)
    cipher = AESGCM(await front.ask(front.store.browse.secret()))
    raw = nonce + cipher.encrypt(nonce, cursor.encode(), _bound_to(identity))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def opened(front: QueueFront, identity: Identity, cursor: str | None) -> str | None:
    """A cursor that this one has sent back.

    Raises:
        Problem: invalid-cursor: it is none, or was sealed for other tenants.
    """
    if cursor is None or identity.tenants is None:
        return cursor
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(await front.ask(front.store.browse.secret()))
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _bound_to(identity)).decode()
    except (ValueError, InvalidTag):
        raise Problem("invalid-cursor", _NONE) from None


def _bound_to(identity: Identity) -> bytes:
    """What a seal is good for: the tenants that the credential sees."""
    return msgspec.json.encode(sorted(identity.tenants or ()))


def scanned_of(identity: Identity, scanned: int, own: int) -> int:
    """How many tasks an answer says were looked at: to a bound credential only those of its own that were found."""
    return own if identity.bound else scanned
