"""Gateways that ask nobody who he is: only where nobody else can come, and by no page of another site."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from laneway.errors import ConfigError
from laneway.gateway.auth.guard import OpenGuard
from laneway.gateway.auth.identity import Identity
from laneway.gateway.problems import Problem

_UNIX: Final = "unix:"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone. A name counts by all that it stands for; one
    that stands for nothing does not count."""
    if host.startswith(_UNIX):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)


def require_loopback(host: str) -> None:
    """For a gateway to which nothing was said of authentication.

    Raises:
        ConfigError: it would be reached from elsewhere.
    """
    if not is_loopback(host):
        raise ConfigError(
            f"nothing says who may use the HTTP API, and {host} is reached from other machines: make keys with"
            " `laneway keys create --file keys.yaml --name NAME --role ROLE` and name them in a file of --auth FILE"
            " (`keys: {path: keys.yaml}`), listen on 127.0.0.1, or say --auth none to let everybody in"
        )


class LocalGuard(OpenGuard):
    """For loopback. A browser of this machine shows pages of anybody, and they could send requests here: so those are
    refused that a page of another site sends (Origin), or that came by another name than one of loopback's (Host),
    which is how such a page would make its own name lead here."""

    async def identify(self, request: Request, *, public: bool) -> Identity:
        """Everybody on this machine.

        Raises:
            Problem: forbidden; a page of another site asks.
        """
        origin = request.headers.get("origin")
        if origin is not None and not _local(_host_in(origin)):
            raise Problem("forbidden", "a page of another site may not use a gateway that asks for no credential")
        host = request.headers.get("host", "")
        if host and not _local(_host_in(f"//{host}")):
            raise Problem(
                "forbidden",
                f"a gateway that asks for no credential is used under localhost or 127.0.0.1, not {host[:80]!r}: use"
                " one of these, or give it --auth",
            )
        return await super().identify(request, public=public)


def _host_in(url: str) -> str | None:
    """The name in a URL that somebody sent; None where there is none, or it can't be read."""
    try:
        return urlsplit(url).hostname
    except ValueError:  # brackets without an address between them, and the like
        return None


def _local(name: str | None) -> bool:
    if name is None:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
