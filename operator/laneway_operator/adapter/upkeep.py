"""Keeps what the adapter rests on true: the front proxy's identity, the certificates, the APIService."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from cryptography import x509

from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator.adapter.certificates import Certificates
from laneway_operator.adapter.front_proxy import CONFIG_MAP, FrontProxy, NoFrontProxy, front_proxy_of
from laneway_operator.adapter.metrics import AdapterMetrics
from laneway_operator.adapter.registration import MetricsAPIConflict, Registration
from laneway_operator.adapter.tls import ServingTls
from laneway_operator.conditions import Reason
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError

_log = get_logger(__name__)

EVERY_S: Final = 15.0
#: While something lacks.
_SOON_S: Final = 2.0


class Upkeep(Service):
    """Looks every ``every`` seconds. ``on_conflict`` hears, once, that another adapter has the APIService."""

    def __init__(
        self,
        cluster: Cluster,
        certificates: Certificates,
        registration: Registration,
        tls: ServingTls,
        metrics: AdapterMetrics,
        health: Health,
        *,
        on_conflict: Callable[[str], None],
        every: float = EVERY_S,
    ) -> None:
        super().__init__("upkeep", health=health, allowed_silence=max(60.0, 4 * every))
        self._cluster = cluster
        self._certificates = certificates
        self._registration = registration
        self._tls = tls
        self._metrics = metrics
        self._on_conflict = on_conflict
        self._every = every
        self.proxy: FrontProxy | None = None
        self.servable = asyncio.Event()
        """Set once there is a certificate to serve with, and somebody to believe."""
        self._lacks: dict[str, str] = {
            "front proxy": "not read yet",
            "certificate": "none yet",
            "APIService": "not made",
        }
        for name in self._lacks:
            health.require(name, lambda name=name: self._lacks.get(name))  # type: ignore[misc]

    async def run(self) -> None:
        """Looks, until told to stop."""
        while not self.stopping:
            await self.look()
            self.touch()
            await self.pause(_SOON_S if self._lacks else self._every)

    async def look(self) -> None:
        """One look at everything. What fails is remembered, told by /readyz, and tried again."""
        await self._look_at_proxy()
        await self._look_at_certificate()
        await self._look_at_registration()

    async def _look_at_proxy(self) -> None:
        try:
            found = front_proxy_of(await self._cluster.find(CONFIG_MAP))
        except (NoFrontProxy, ClusterError) as error:
            self._lack("front proxy", str(error))  # the one that was known is still believed
            return
        if self.proxy is not None and found != self.proxy:
            _log.info("the front proxy is another now", names=sorted(found.names))
        self.proxy = found
        self._lacks.pop("front proxy", None)

    async def _look_at_certificate(self) -> None:
        try:
            chain = await self._certificates.look()
            if self.proxy is not None and await self._tls.renew(chain, self.proxy):
                certificate = x509.load_pem_x509_certificate(chain.cert)
                self._metrics.expires.set(certificate.not_valid_after_utc.timestamp())
                _log.info("serving with a new certificate", until=str(certificate.not_valid_after_utc))
        except (ClusterError, ssl.SSLError, OSError, ValueError) as error:
            self._lack("certificate", str(error))
            return
        if self._tls.ready:
            self._lacks.pop("certificate", None)
            self.servable.set()

    async def _look_at_registration(self) -> None:
        chain = self._certificates.chain
        if chain is None or not self._tls.ready:
            return
        try:
            if await self._registration.ensure(chain.ca_bundle):
                _log.info("registered as the adapter of external metrics")
        except MetricsAPIConflict as error:
            self._metrics.conflict.set(1)
            if self._lack("APIService", f"{Reason.METRICS_API_CONFLICT}: {error}"):
                self._on_conflict(str(error))
            return
        except ClusterError as error:
            self._lack("APIService", str(error))
            return
        self._metrics.conflict.set(0)
        self._lacks.pop("APIService", None)

    def _lack(self, what: str, why: str) -> bool:
        """Notes what lacks; returns whether that is news."""
        if self._lacks.get(what) == why:
            return False
        self._lacks[what] = why
        _log.warning("something lacks", what=what, why=why)
        return True
