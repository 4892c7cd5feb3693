"""Tokens of Kubernetes: the API server is asked whose they are (TokenReview)."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from laneway.errors import ConfigError
from laneway.gateway.auth import grants
from laneway.gateway.auth.cache import TokenCache, digest
from laneway.gateway.auth.identity import Identity
from laneway.gateway.auth.rejected import Rejected
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.quantities import duration_ms
from laneway.model.auth import ReviewBy

_log = get_logger(__name__)

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_TIMEOUT_S: Final = 5.0
#: How many are asked at once; more wait.
_AT_ONCE: Final = 16
#: How long a refusal is remembered (s), so that one bad token sent again and again asks once.
_REFUSED_S: Final = 5.0
_RETRY_S: Final = 2.0


class TokenReviews:
    """Asks the API server, and remembers what it said for a little while. ``clock`` gives seconds.

    Raises:
        ConfigError: there is no API server to ask, or its authority can't be read.
    """

    def __init__(
        self, settings: ReviewBy, *, health: Health | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.amiss: str | None = None
        self.asked = 0
        self._token_file = Path(settings.tokenFile or _ACCOUNT / "token")
        self._clock = clock
        self._cache_s = duration_ms(settings.cache) / 1000.0
        self._known: TokenCache[Identity | Rejected] = TokenCache(clock)
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._client = httpx.AsyncClient(
            base_url=settings.server or _server(),
            timeout=_TIMEOUT_S,
            verify=_trust(settings.caFile),
            trust_env=False,
            follow_redirects=False,
        )
        if health is not None:
            health.note("Kubernetes TokenReview", lambda: self.amiss)

    def known(self, token: str) -> Identity | Rejected | None:
        """What is remembered of a token."""
        return self._known.get(digest(token))

    async def verify(self, token: str) -> Identity:
        """Whose token it is; those who bring the same one meanwhile get the same answer.

        Raises:
            Rejected: it is not valid, or (unavailable) the API server could not be asked.
        """
        key = digest(token)
        known = self._known.get(key)
        if isinstance(known, Rejected):
            raise known
        if known is not None:
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, token), name="token-review")
            asking.add_done_callback(lambda task: self._answered(key, task))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Closes the connections."""
        for task in list(self._asking.values()):
            task.cancel()
        await self._client.aclose()

    def _answered(self, key: bytes, task: asyncio.Task[Identity]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to all who wait; with nobody left it is no news

    async def _ask(self, key: bytes, token: str) -> Identity:
        async with self._room:
            status = await self._review(token)
        try:
            found = self._identity(token, status)
        except Rejected as rejected:
            self._known.put(key, rejected, self._clock() + _REFUSED_S)
            raise
        left = (found.expires_at - datetime.now(UTC)).total_seconds() if found.expires_at else self._cache_s
        self._known.put(key, found, self._clock() + min(self._cache_s, left))
        return found

    async def _review(self, token: str) -> dict[str, Any]:
        spec: dict[str, Any] = {"token": token}
        if self.settings.audiences:
            spec["audiences"] = list(self.settings.audiences)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        self.asked += 1
        try:
            # Read each time: the kubelet renews it.
            own = (await asyncio.to_thread(self._token_file.read_text)).strip()
            answer = await self._client.post(_PATH, json=body, headers={"Authorization": f"Bearer {own}"})
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise self._away(f"the API server can't be asked: {str(error) or type(error).__name__}") from None
        if answer.status_code in (401, 403):
            raise self._away(
                "the API server does not let the gateway create tokenreviews.authentication.k8s.io: bind its service"
                f" account to the ClusterRole system:auth-delegator ({answer.status_code})"
            )
        if answer.status_code not in (200, 201):
            raise self._away(f"the API server answers {answer.status_code}")
        try:
            status = answer.json()["status"]
        except (ValueError, KeyError, TypeError):
            raise self._away("the API server's answer is no TokenReview") from None
        if self.amiss is not None:
            _log.info("the API server reviews tokens again")
            self.amiss = None
        return status if isinstance(status, dict) else {}

    def _identity(self, token: str, status: dict[str, Any]) -> Identity:
        user = status.get("user") or {}
        name = user.get("username")
        if status.get("authenticated") is not True or not isinstance(name, str) or not name:
            raise Rejected("invalid", "the API server does not know this token", log=str(status.get("error"))[:200])
        # A server that knows nothing of audiences leaves them out: the token would be good for anything.
        if self.settings.audiences and not set(status.get("audiences") or ()) & set(self.settings.audiences):
            raise Rejected("invalid", f"the token is for another audience than {' or '.join(self.settings.audiences)}")
        groups = [group for group in user.get("groups") or () if isinstance(group, str)]
        until, uid = _expiry(token), str(user.get("uid") or "")
        grant = grants.of_user(name, groups, self.settings.grants)
        if grant is None:
            return grants.without_role(name, auth="tokenreview", expires_at=until, credential=uid)
        return grants.identity(
            name,
            grant.role,
            auth="tokenreview",
            tenants=grant.tenants,
            payloads=grant.payloads,
            expires_at=until,
            credential=uid,
        )

    def _away(self, trouble: str) -> Rejected:
        if trouble != self.amiss:
            _log.error("Kubernetes TokenReview", reason=trouble)
            self.amiss = trouble
        return Rejected(
            "unavailable", "the API server can't be asked about this token now", log=trouble, retry_after=_RETRY_S
        )


def _expiry(token: str) -> datetime | None:
    """When a token ends that the API server has found good; None: it does not say."""
    try:
        end = jwt.decode(token, options={"verify_signature": False}).get("exp")
        return datetime.fromtimestamp(end, UTC) if isinstance(end, int | float) else None
    except (jwt.PyJWTError, ValueError, OverflowError, OSError, RecursionError):
        return None


def _server() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError(
            "tokenReview: this process is in no Kubernetes pod: name the API server with server, tokenFile and caFile"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _trust(ca_file: str | None) -> ssl.SSLContext:
    file = ca_file or str(_ACCOUNT / "ca.crt")
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tokenReview: {file} has no authority for the API server ({error})") from None
