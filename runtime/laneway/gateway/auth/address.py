"""Where a request comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Addresses:
    """Tells the address of a request's client: that of the connection, or, when this is a trusted proxy, the last in
    X-Forwarded-For that is none. What stands before that, anybody may have written there."""

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies: tuple[_Network, ...] = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies)

    def of(self, request: Request) -> str:
        """The address as text; "unix" for a local socket."""
        peer = request.client.host if request.client else "unix"
        if not self._proxies or not self._trusted(peer):
            return peer
        hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
        for hop in reversed(hops):
            if not _is_address(hop):
                return peer
            if not self._trusted(hop):
                return hop
            peer = hop
        return peer

    def _trusted(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._proxies)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
