"""What became of credentials, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.kit.metrics import counter_family, gauge_family


class AuthCounts(Collector):
    """Counts requests by how they were known and what came of it. ``troubles`` tells by source (keys, oidc ...) what is
    amiss, ``keys`` how many there are, and ``lost`` how many lines of the log of changes could not be written."""

    def __init__(
        self,
        troubles: Mapping[str, Callable[[], str | None]] | None = None,
        keys: Callable[[], int] | None = None,
        lost: Callable[[], int] | None = None,
    ) -> None:
        self._requests: dict[tuple[str, str], int] = {}
        self._denied: dict[str, int] = {}
        self._troubles = troubles or {}
        self._keys = keys
        self._lost = lost

    def request(self, auth: str, outcome: str) -> None:
        """One request with a credential, or without one."""
        key = (auth, outcome)
        self._requests[key] = self._requests.get(key, 0) + 1

    def denied(self, permission: str) -> None:
        """One who was known, and lacked a permission."""
        self._denied[permission] = self._denied.get(permission, 0) + 1

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from AuthCounts().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield counter_family("laneway_auth_requests_total", list(self._requests.items()))
        yield counter_family("laneway_auth_denied_total", [((name,), n) for name, n in list(self._denied.items())])
        yield gauge_family(
            "laneway_auth_source_failing",
            [((source,), float(trouble() is not None)) for source, trouble in self._troubles.items()],
        )
        yield gauge_family("laneway_auth_keys", [((), float(self._keys()))] if self._keys else [])
        yield counter_family("laneway_audit_lost_total", [((), float(self._lost()))] if self._lost else [])
