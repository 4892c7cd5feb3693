"""All that a gateway has for authentication, made of its settings: started and stopped with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from laneway.gateway.auth.address import Addresses
from laneway.gateway.auth.audit import AuditTrail
from laneway.gateway.auth.counts import AuthCounts
from laneway.gateway.auth.failures import FailureLimit
from laneway.gateway.auth.gatekeeper import Gatekeeper
from laneway.gateway.auth.guard import Guard, OpenGuard
from laneway.gateway.auth.jwks import IssuerKeys
from laneway.gateway.auth.keys import KeyFiles
from laneway.gateway.auth.local import LocalGuard
from laneway.gateway.auth.oidc import OidcTokens
from laneway.gateway.auth.tokenreview import TokenReviews
from laneway.kit.health import Health
from laneway.model.auth import AuthSettings


class Access:
    """The guard, the log of changes, and what they need. ``local``: it serves loopback, where nobody is asked.

    Raises:
        ConfigError: a file that the settings name can't be used.
    """

    def __init__(self, settings: AuthSettings, *, health: Health | None = None, local: bool = False) -> None:
        self.settings = settings
        self.required = settings.mode == "Required"
        self.addresses = Addresses(settings.trustedProxies)
        self.keys = KeyFiles(Path(settings.keys.path), health=health) if settings.keys else None
        self.issuers = [IssuerKeys(one, health=health) for one in settings.oidc]
        self.reviews = TokenReviews(settings.tokenReview, health=health) if settings.tokenReview else None
        self.audit = AuditTrail(settings.audit, health=health) if self.required or settings.audit.file else None
        self.counts = AuthCounts(self._troubles(), self._keys_there(), self._lines_lost())
        self.guard: Guard = LocalGuard() if local else OpenGuard()
        if self.required:
            self.guard = Gatekeeper(
                keys=self.keys,
                oidc=[OidcTokens(one.settings, one) for one in self.issuers],
                reviews=self.reviews,
                failures=FailureLimit(settings.failures),
                addresses=self.addresses,
                counts=self.counts,
            )

    async def start(self) -> None:
        """Reads the keys and begins to follow them.

        Raises:
            ConfigError: the files of API keys are broken.
        """
        if self.keys is not None:
            await self.keys.start()
        for issuer in self.issuers:
            await issuer.start()

    async def stop(self) -> None:
        """Ends it all, and writes what the log still has to."""
        for service in (*self.issuers, *([self.keys] if self.keys else [])):
            await service.stop()
        if self.reviews is not None:
            await self.reviews.close()
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)

    def _troubles(self) -> dict[str, Callable[[], str | None]]:
        found: dict[str, Callable[[], str | None]] = {}
        if self.keys is not None:
            keys = self.keys
            found["keys"] = lambda: keys.amiss
        for issuer in self.issuers:
            found[issuer.settings.issuer] = lambda issuer=issuer: issuer.amiss  # type: ignore[misc]
        if self.reviews is not None:
            reviews = self.reviews
            found["tokenreview"] = lambda: reviews.amiss
        return found

    def _keys_there(self) -> Callable[[], int] | None:
        keys = self.keys
        return (lambda: len(keys.ring)) if keys is not None else None

    def _lines_lost(self) -> Callable[[], int] | None:
        audit = self.audit
        return (lambda: audit.lost) if audit is not None else None
