"""How many invalid credentials an address may send before they are not looked at any more."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from laneway.model.manifests.gatewayauth import Failures

#: So many addresses are remembered; of more, the one that failed longest ago is forgotten.
MOST: Final = 10_000


class FailureLimit:
    """A token bucket for each address that has failed. ``clock`` gives seconds.

    An IPv6 address counts as its /64 network: whoever has one address there has all of them.
    """

    def __init__(self, settings: Failures, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._rate = settings.perMinute / 60.0
        self._burst = float(settings.burst)
        self._clock = clock
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until one more failure of this address is looked at; 0: now."""
        left = self._now(_key(address))
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate

    def failed(self, address: str) -> None:
        """Counts a failure."""
        key = _key(address)
        left = max(0.0, self._now(key) - 1.0)
        self._left[key] = (left, self._clock())
        self._left.move_to_end(key)
        if len(self._left) > self._most:
            self._left.popitem(last=False)

    def __len__(self) -> int:
        return len(self._left)

    def _now(self, key: str) -> float:
        known = self._left.get(key)
        if known is None:
            return self._burst
        left, at = known
        left += (self._clock() - at) * self._rate
        if left >= self._burst:
            del self._left[key]
            return self._burst
        return left


def _key(address: str) -> str:
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
