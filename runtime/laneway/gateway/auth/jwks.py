"""The keys that an OpenID Connect issuer signs with, found by discovery and read again in time."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt

from laneway.gateway.auth.rejected import Rejected
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.model.manifests.gatewayauth import Oidc

_log = get_logger(__name__)

#: How often the keys are read again (s): one that the issuer has taken away is not taken for longer.
REFRESH_S: Final = 300.0
#: At least so long (s) between two readings because of a key that is not known: tokens with made-up names of keys must
#: not make the gateway call the issuer for each.
UNKNOWN_S: Final = 5.0
#: How long after a failure it is tried again (s).
RETRY_S: Final = 5.0

_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 1_048_576
_MOST_KEYS: Final = 100
#: Never "oct": a shared secret is no key of an issuer's, and that is how public keys get taken for secrets.
_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class IssuerKeys(Service):
    """The keys of one issuer. ``client`` is for tests with a transport of their own; ``clock`` gives seconds."""

    def __init__(
        self,
        settings: Oidc,
        *,
        health: Health | None = None,
        clock: Callable[[], float] = time.monotonic,
        unknown_pause: float = UNKNOWN_S,
    ) -> None:
        super().__init__(f"oidc:{settings.issuer}", health=health, allowed_silence=REFRESH_S + 60.0, grace=1.0)
        self.settings = settings
        self.amiss: str | None = "its keys were not read yet"
        self.reads = 0
        self._now = clock
        self._unknown_pause = unknown_pause
        self._keys: list[dict[str, Any]] | None = None
        self._ready: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, verify=_trust(settings), follow_redirects=False)
        if health is not None:
            health.note(f"OpenID Connect issuer {settings.issuer}", lambda: self.amiss)

    async def run(self) -> None:
        """Reads the keys until stopped."""
        while not self.stopping:
            ok = await self.read()
            self.touch()
            await self.pause(REFRESH_S if ok else RETRY_S)

    async def on_stop(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key of this name (None: the only one that there is) for an algorithm.

        Raises:
            Rejected: there is none; or (unavailable) none could be read yet.
        """
        found = self._find(kid, algorithm)
        if found is None and self._now() - self._tried_at >= self._unknown_pause:
            await self.read()
            found = self._find(kid, algorithm)
        if found is not None:
            return found
        if self._keys is None:
            raise Rejected(
                "unavailable",
                "the keys of the token's issuer could not be read yet; try again",
                log=f"{self.settings.issuer}: {self.amiss}",
                retry_after=RETRY_S,
            )
        raise Rejected("invalid", "the token is signed with a key that its issuer does not have", log=f"key {kid!r}")

    async def read(self) -> bool:
        """Reads the keys now; whoever comes meanwhile waits for the same reading. Returns whether it went well; if not,
        those of before stay."""
        waited = self._reading.locked()
        async with self._reading:
            if waited:
                return self.amiss is None
            try:
                keys = await self._fetch()
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
                trouble = f"its keys can't be read: {str(error) or type(error).__name__}"
                if trouble != self.amiss:
                    _log.warning("OpenID Connect issuer", issuer=self.settings.issuer, reason=trouble)
                self.amiss = trouble
                return False
            finally:
                self._tried_at = self._now()
            if self.amiss is not None or keys != self._keys:
                _log.info("OpenID Connect issuer's keys read", issuer=self.settings.issuer, keys=len(keys))
            self._keys, self._ready, self.amiss = keys, {}, None
            self.reads += 1
            return True

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        known = self._ready.get((kid, algorithm))
        if known is not None or self._keys is None:
            return known
        kind = _KINDS.get(algorithm[:2])
        fitting = [
            key
            for key in self._keys
            if key["kty"] == kind and key.get("alg", algorithm) == algorithm and (kid is None or key.get("kid") == kid)
        ]
        if len(fitting) != 1:  # without a name, only one that can't be mistaken
            return None
        try:
            made = jwt.PyJWK(fitting[0], algorithm=algorithm)
        except jwt.PyJWTError as error:
            _log.warning("an issuer's key can't be used", issuer=self.settings.issuer, kid=kid, reason=str(error))
            return None
        self._ready[kid, algorithm] = made
        return made

    async def _fetch(self) -> list[dict[str, Any]]:
        issuer = self.settings.issuer
        about = await self._json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if about.get("issuer") != issuer:
            raise ValueError(
                f"the issuer calls itself {str(about.get('issuer'))[:200]!r}, not {issuer!r}: write it the same"
            )
        url = about.get("jwks_uri")
        if not isinstance(url, str) or (urlsplit(url).scheme != "https" and not issuer.startswith("http://")):
            raise ValueError("its jwks_uri must be an https:// URL")
        keys = (await self._json(url)).get("keys")
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
            raise ValueError(f"its keys must be a list of at most {_MOST_KEYS}")
        usable = [
            key
            for key in keys
            if isinstance(key, dict) and key.get("kty") in _KINDS.values() and key.get("use", "sig") == "sig"
        ]
        if not usable:
            raise ValueError("it has no public keys for signatures")
        return usable

    async def _json(self, url: str) -> dict[str, Any]:
        async with asyncio.timeout(2 * _TIMEOUT_S), self._client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{url} answers {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"{url} is over {_MAX_BYTES} bytes")
        try:
            found = json.loads(body)
        except RecursionError:
            raise ValueError(f"{url} is nested too deeply") from None
        if not isinstance(found, dict):
            raise ValueError(f"{url} is no JSON object")
        return found


def _trust(settings: Oidc) -> ssl.SSLContext | bool:
    if settings.caBundle is None:
        return True
    return ssl.create_default_context(cadata=settings.caBundle)
