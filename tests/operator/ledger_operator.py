"""An operator process whose passes write a ledger: one ConfigMap for each pass, named by who made it.

The API server gives each a resourceVersion as it is created, so their order is the order of the writes, whoever
made them. Everything but the passes is the real operator.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from laneway.kit.logs import setup_logging
from laneway.kit.service import Service
from laneway.roles.process import run_role
from laneway_operator import names
from laneway_operator.keys import ObjectKey
from laneway_operator.process import Operator
from laneway_operator.settings import OperatorSettings
from laneway_operator.toolbox import Pass, Toolbox


class LedgerWork:
    """Passes that write a line every ``every`` seconds, and take ``takes`` seconds."""

    services: Sequence[Service] = ()

    def __init__(self, toolbox: Toolbox, every: float, takes: float) -> None:
        self._toolbox = toolbox
        self._every = every
        self._takes = takes
        self._lines = 0
        self.passes: Mapping[str, Pass] = dict.fromkeys(names.OUR_KINDS, self._write)

    async def _write(self, key: ObjectKey) -> float | None:
        if self._toolbox.cache.get(key) is None:
            return None
        self._lines += 1
        line = self._lines
        await asyncio.sleep(self._takes)
        settings = self._toolbox.settings
        await self._toolbox.cluster.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"{key.name}-{settings.identity}-{line}", "namespace": key.namespace},
                "data": {"by": settings.identity, "epoch": str(self._toolbox.fence.epoch), "line": str(line)},
            }
        )
        return self._every

    async def renew(self) -> None:
        """Nothing was known."""

    async def close(self) -> None:
        """Nothing to close."""


def main(kubeconfig: str, namespace: str, identity: str, port: str, every: str, takes: str) -> int:
    """Runs it until SIGTERM."""
    setup_logging("info", "json")
    settings = OperatorSettings(
        kubeconfig=kubeconfig,
        namespaces=(namespace,),
        identity=identity,
        lease_namespace=namespace,
        host="127.0.0.1",
        port=int(port),
    )
    return run_role(Operator(settings, lambda toolbox: LedgerWork(toolbox, float(every), float(takes))).run)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
