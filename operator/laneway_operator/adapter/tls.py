"""TLS of the adapter's server: its certificate, and whom it believes, both replaced while it serves."""

from __future__ import annotations

import ssl

from laneway_operator.adapter.authority import Chain
from laneway_operator.adapter.front_proxy import FrontProxy
from laneway_operator.observe.files import PrivateFiles


class ServingTls:
    """Makes one context that a server is started with, and hands each new connection on to the newest one."""

    def __init__(self, files: PrivateFiles) -> None:
        self._files = files
        self._newest: ssl.SSLContext | None = None
        self._made_of: tuple[Chain, bytes] | None = None
        self._entrance: ssl.SSLContext | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._newest is not None

    async def renew(self, chain: Chain, proxy: FrontProxy) -> bool:
        """Takes a certificate and the authority of those who may come. Returns whether either is new.

        Raises:
            ssl.SSLError: one of them can't be used.
        """
        if self._made_of == (chain, proxy.ca):
            return False
        context = await self._context(chain, proxy)
        if self._entrance is None:
            self._entrance = await self._context(chain, proxy)
            self._entrance.sni_callback = self._hand_on
        self._newest, self._made_of = context, (chain, proxy.ca)
        return True

    @property
    def entrance(self) -> ssl.SSLContext:
        """The context for a server."""
        assert self._entrance is not None
        return self._entrance

    def _hand_on(self, connection: ssl.SSLObject, name: str | None, entrance: ssl.SSLContext) -> None:
        # OpenSSL takes both the certificate and the authorities of clients from the context that is put here.
        assert self._newest is not None
        connection.context = self._newest

    async def _context(self, chain: Chain, proxy: FrontProxy) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=proxy.ca.decode())
        # A front proxy's authority may be old, and made without what RFC 5280 asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Whoever comes without a certificate is told so by an answer; a wrong one is refused by TLS.
        context.verify_mode = ssl.CERT_OPTIONAL
        # A resumed session would be verified by an authority that is not believed any more.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(await self._files.path(chain.cert), await self._files.path(chain.key))
        return context
