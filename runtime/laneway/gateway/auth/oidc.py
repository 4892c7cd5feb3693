"""OpenID Connect tokens: whose they are, and what they may do here."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from laneway.gateway.auth import grants
from laneway.gateway.auth.identity import Identity
from laneway.gateway.auth.jwks import IssuerKeys
from laneway.gateway.auth.rejected import Rejected
from laneway.kit.quantities import duration_ms
from laneway.model.manifests.gatewayauth import Oidc

#: How long (s) a token that was verified is believed without being verified again, at most until it expires.
CACHE_S: Final = 60.0

_REQUIRED: Final = ["exp", "iss", "aud", "sub"]


def issuer_of(token: str) -> str | None:
    """Who a token says has made it, believed by nobody yet; None when it is no JSON Web Token."""
    try:
        claims = jwt.decode_complete(token, options={"verify_signature": False})["payload"]
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


class OidcTokens:
    """Verifies the tokens of one issuer. ``wall`` gives seconds since 1970."""

    def __init__(self, settings: Oidc, keys: IssuerKeys, wall: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.keys = keys
        self._wall = wall
        self._leeway = duration_ms(settings.leeway) / 1000.0

    async def verify(self, token: str) -> tuple[Identity, float]:
        """Whose token it is, and for how many seconds that may be believed.

        Raises:
            Rejected: it is not valid, or (unavailable) can't be judged now.
        """
        header = self._header(token)
        key = await self.keys.key(header.get("kid"), header["alg"])
        claims = self._claims(token, key)
        left = float(claims["exp"]) + self._leeway - self._wall()
        return self._identity(claims), min(CACHE_S, left)

    def _header(self, token: str) -> dict[str, Any]:
        """What the token says of its signature: enough to find the key, and refused where it asks for more."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Rejected("malformed", "the token is no JSON Web Token", log=str(error)) from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.settings.algorithms:
            allowed = ", ".join(self.settings.algorithms)
            raise Rejected("invalid", f"the token must be signed by one of {allowed}", log=f"algorithm {algorithm!r}")
        if "crit" in header:
            raise Rejected("invalid", "the token asks for extensions (crit) that are not known here")
        if kid is not None and not isinstance(kid, str):
            raise Rejected("malformed", "the token's kid is no text")
        return header

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """The claims of a token with a good signature, that is meant for here and holds now.

        What is wrong is told only of one with a good signature.
        """
        try:
            # (Times are looked at below, by this gateway's clock.)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self.settings.algorithms),
                audience=list(self.settings.audiences),
                issuer=self.settings.issuer,
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.InvalidAudienceError:
            wanted = " or ".join(self.settings.audiences)
            raise Rejected("invalid", f"the token is for another audience than {wanted}") from None
        except jwt.InvalidIssuerError:
            raise Rejected("invalid", "the token is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise Rejected("invalid", f"the token has no claim {error.claim}") from None
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            # Of the signature nothing is told but that it is wrong.
            raise Rejected("invalid", "the token is not valid", log=f"{type(error).__name__}: {error}") from None
        now = self._wall()
        if not _number(claims["exp"]) or not _number(claims.get("nbf", 0)):
            raise Rejected("invalid", "the token's exp and nbf must be numbers")
        if claims["exp"] + self._leeway <= now:
            raise Rejected("expired", "the token has expired")
        if claims.get("nbf", 0) - self._leeway > now:
            raise Rejected("invalid", "the token is not valid yet (nbf)")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        named = grants.claim(claims, self.settings.nameClaim)
        subject = claims["sub"]
        name = named if isinstance(named, str) and named else subject
        until = datetime.fromtimestamp(claims["exp"], UTC)
        found = grants.of_claims(claims, self.settings.grants)
        if found is None:
            return grants.without_role(name, auth="oidc", expires_at=until, credential=subject)
        grant, tenants = found
        return grants.identity(
            name,
            grant.role,
            auth="oidc",
            tenants=tenants,
            payloads=grant.payloads,
            expires_at=until,
            credential=subject,
        )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11
