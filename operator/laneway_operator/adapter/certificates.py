"""The adapter's certificates, kept in a Secret that its replicas share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from laneway.kit.logs import get_logger
from laneway_operator.adapter.authority import Chain, Lifetimes, chain_of, renewed
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Conflict
from laneway_operator.keys import Body, ObjectKey
from laneway_operator.names import MANAGED_BY, MANAGED_BY_LABEL

_log = get_logger(__name__)


class Certificates:
    """Looks after the Secret. Of two replicas that renew at once one wins, by the Secret's version; the other takes
    what it finds."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        hosts: Sequence[str],
        *,
        lifetimes: Lifetimes = Lifetimes(),  # noqa: B008  (frozen)
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._key = ObjectKey("Secret", namespace, name)
        self._hosts = tuple(hosts)
        self._lifetimes = lifetimes
        self._today = today
        self.chain: Chain | None = None
        """What was last seen in the Secret; None before the first look."""

    async def look(self) -> Chain:
        """The chain as it should be now; it is in the Secret by then.

        Raises:
            ClusterError: the Secret could not be read or written.
        """
        while True:
            body = await self._cluster.find(self._key)
            there = chain_of(_decoded(body)) if body is not None else None
            wanted = renewed(there, self._hosts, self._today(), self._lifetimes)
            if body is not None and wanted is there:
                break
            try:
                if body is None:
                    await self._cluster.create(self._secret(wanted))
                else:
                    if there is None:
                        _log.error("the certificates in the Secret can't be used; new ones take their place",
                                   secret=str(self._key))  # fmt: skip
                    body = {**body, "apiVersion": "v1", "kind": "Secret"}
                    await self._cluster.replace({**body, "data": self._secret(wanted)["data"]})
            except Conflict:
                continue  # another replica was quicker: its certificates are as good
            _log.info("certificates renewed", secret=str(self._key), authorities=len(wanted.bundle))
            break
        self.chain = wanted
        return wanted

    def _secret(self, chain: Chain) -> Body:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": self._key.name,
                "namespace": self._key.namespace,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            },
            "data": {name: base64.b64encode(value).decode() for name, value in chain.data().items()},
        }


def _decoded(body: Body) -> dict[str, bytes]:
    found = {}
    for name, text in (body.get("data") or {}).items():
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue  # what lacks is seen by who reads the whole
    return found
