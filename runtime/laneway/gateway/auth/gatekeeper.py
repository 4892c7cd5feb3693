"""Knows the credentials of requests, by all that is configured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from starlette.requests import Request

from laneway.gateway.auth.address import Addresses
from laneway.gateway.auth.cache import TokenCache, digest
from laneway.gateway.auth.counts import AuthCounts
from laneway.gateway.auth.failures import FailureLimit
from laneway.gateway.auth.identity import NOBODY, Identity
from laneway.gateway.auth.keys import KeyFiles, utc_now
from laneway.gateway.auth.oidc import OidcTokens, issuer_of
from laneway.gateway.auth.rejected import Rejected
from laneway.gateway.auth.tokenreview import TokenReviews
from laneway.gateway.problems import Problem, later
from laneway.kit.logs import get_logger
from laneway.model.apikeys import PREFIX

_log = get_logger(__name__)

#: Longer tokens are not looked at: of those that issuers make, the largest have a few thousand characters.
MAX_TOKEN: Final = 16_384

_REALM: Final = 'Bearer realm="laneway"'
#: What counts against an address. Not what is missing (browsers and probes come without), nor what can't be judged.
_FAILURES: Final = ("malformed", "invalid", "expired", "revoked")


class Gatekeeper:
    """The guard of a gateway that asks for credentials: ``Authorization: Bearer TOKEN``, and nothing else.

    API keys are looked at always, which costs a hash. Other tokens are looked at, unless they were just now, only while
    their address may still fail: that costs a signature's verification, or a call to the API server. So whoever sends
    many bad ones costs little, and does not lock out those with good keys, or known tokens, behind the same address.
    """

    def __init__(
        self,
        *,
        keys: KeyFiles | None,
        oidc: Sequence[OidcTokens],
        reviews: TokenReviews | None,
        failures: FailureLimit,
        addresses: Addresses,
        counts: AuthCounts,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keys = keys
        self._oidc = {one.settings.issuer: one for one in oidc}
        self._reviews = reviews
        self._failures = failures
        self._addresses = addresses
        self._counts = counts
        self._clock = clock
        self._now = now
        self._verified: TokenCache[Identity] = TokenCache(clock)

    async def identify(self, request: Request, *, public: bool) -> Identity:
        """Who makes the request."""
        if public:
            return NOBODY
        token: str | None = None
        try:
            token = _token(request)
            identity = await self._known(token, self._addresses.of(request))
        except Rejected as rejected:
            raise self._refuse(request, token, rejected) from None
        self._counts.request(identity.auth, "ok")
        return identity

    def holds(self, identity: Identity) -> bool:
        """Whether its key is still in force, or its token has not expired. (That a token was revoked shows only when it
        is sent again.)"""
        if identity.auth == "key":
            return self._keys is not None and self._keys.ring.holds(identity, self._now())
        return identity.expires_at is None or identity.expires_at > self._now()

    def denied(self, identity: Identity, permission: str) -> None:
        """Counts it."""
        self._counts.denied(permission)

    async def _known(self, token: str, address: str) -> Identity:
        if token.startswith(PREFIX):
            if self._keys is None:
                raise Rejected("invalid", "API keys are not taken here")
            return self._keys.ring.verify(token, self._now())
        known = self._verified.get(key := digest(token))
        if known is not None:
            return known
        issuer = issuer_of(token)
        tokens = self._oidc.get(issuer) if issuer else None
        if tokens is None and self._reviews is not None and isinstance(found := self._reviews.known(token), Identity):
            return found
        if wait := self._failures.wait(address):
            raise _TooMany(wait)
        if tokens is not None:
            identity, seconds = await tokens.verify(token)
            self._verified.put(key, identity, self._clock() + seconds)
            return identity
        if self._reviews is not None:
            return await self._reviews.verify(token)
        if issuer is None:
            raise Rejected("malformed", f"the credential is neither an API key ({PREFIX}...) nor a JSON Web Token")
        raise Rejected("invalid", "tokens of this issuer are not taken here", log=f"issuer {issuer[:200]!r}")

    def _refuse(self, request: Request, token: str | None, rejected: Rejected) -> Problem:
        auth = "none" if token is None else "key" if token.startswith(PREFIX) else "token"
        if rejected.outcome == "unavailable":
            self._counts.request(auth, "unavailable")
            return later("auth-unavailable", str(rejected), max(1.0, rejected.retry_after))
        address = self._addresses.of(request)
        wait = rejected.wait if isinstance(rejected, _TooMany) else 0.0
        if not wait and rejected.outcome in _FAILURES:
            wait = self._failures.wait(address)
            self._failures.failed(address)
        if wait:
            self._counts.request(auth, "limited")
            return later(
                "too-many-failures", f"too many invalid credentials came from {address}: wait {wait:.1f} s", wait
            )
        self._counts.request(auth, rejected.outcome)
        if rejected.outcome != "missing":
            _log.warning(
                "credential refused", reason=rejected.log, outcome=rejected.outcome, address=address,
                path=request.scope["path"],
            )  # fmt: skip
        return _unauthenticated(rejected)


class _TooMany(Rejected):
    """Not looked at: the address has sent too many bad ones."""

    def __init__(self, wait: float) -> None:
        super().__init__("invalid", "too many invalid credentials")
        self.wait = wait


def _token(request: Request) -> str:
    said = request.headers.getlist("authorization")
    if not said:
        raise Rejected("missing", "a credential is needed: send Authorization: Bearer TOKEN")
    scheme, _, token = said[0].partition(" ")
    token = token.strip()
    if len(said) > 1 or scheme.lower() != "bearer" or not token:
        raise Rejected("malformed", "the credential must be sent once, as Authorization: Bearer TOKEN")
    if len(token) > MAX_TOKEN:
        raise Rejected("malformed", f"the token is over {MAX_TOKEN:,} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Rejected("malformed", "the token has characters that no token has")
    return token


def _unauthenticated(rejected: Rejected) -> Problem:
    text = str(rejected)
    challenge = _REALM
    if rejected.outcome != "missing":
        described = "".join(char for char in text if " " <= char <= "~" and char not in '"\\')
        challenge += f', error="invalid_token", error_description="{described}"'
    return Problem("unauthenticated", text, headers={"WWW-Authenticate": challenge, "Cache-Control": "no-store"})
