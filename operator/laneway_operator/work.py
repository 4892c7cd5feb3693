"""All passes of one process, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import laneway
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator import names
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.engine.errors import ClusterError, Conflict, EngineError, Unreachable
from laneway_operator.engine.fence import machine_clock
from laneway_operator.keys import ObjectKey
from laneway_operator.observe.files import PrivateFiles
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.peers import Peers
from laneway_operator.observe.secrets import Secrets
from laneway_operator.observe.servers import ServerReader
from laneway_operator.passes.lane_pass import LanePass
from laneway_operator.passes.live import LiveQueues
from laneway_operator.passes.pool_pass import PoolPass
from laneway_operator.passes.queue_pass import QueuePass
from laneway_operator.plan.status import failed
from laneway_operator.scaling.scaler import Scaler
from laneway_operator.scaling.servers import CachedQueueServers
from laneway_operator.toolbox import Pass, Toolbox, Work

_log = get_logger(__name__)


class AllPasses:
    """Implements :class:`~laneway_operator.toolbox.Work`. What it knows beside the cache is made anew with each
    leadership."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._files = PrivateFiles()
        self._peers = Peers(tools.fence, tools.metrics, machine_clock)
        self._make()

    async def renew(self) -> None:
        """Forgets what was known under an earlier leadership. (Clients of servers are kept: what they read is never
        old for long.)"""
        await self._scaler.close()
        self._make()

    def _make(self) -> None:
        tools = self._tools
        manifests, live = Manifests(), LiveQueues()
        secrets = Secrets(tools.cluster, machine_clock, label=tools.settings.secrets_label)
        servers = ServerReader(secrets, self._files, tools.settings)
        self._scaler = Scaler(
            tools.cluster,
            tools.cache,
            tools.metrics,
            CachedQueueServers(tools.cache, manifests, servers),
            tools.wake,
            version=laneway.__version__,
            health=tools.health,
        )
        self._now: dict[str, Pass] = {
            names.QUEUE: QueuePass(tools, manifests, servers, secrets, self._peers, live, machine_clock),
            names.LANE: LanePass(tools, manifests, live),
            names.POOL: PoolPass(tools, manifests, servers, self._scaler),
        }

    @property
    def passes(self) -> Mapping[str, Pass]:
        """The pass for each kind; it stays the same one."""
        return {kind: _Current(self, kind) for kind in names.OUR_KINDS}

    @property
    def services(self) -> Sequence[Service]:
        """What runs while this process leads."""
        return [self._scaler.watch]

    async def run(self, kind: str, key: ObjectKey) -> float | None:
        """One pass, as they are under the present leadership. What goes wrong unexpectedly is told in the object's
        status, and raised on; only that the API server gives no answer (no status could be told either), and that an
        object is newer than was thought, are just tried again."""
        try:
            return await self._now[kind](key)
        except ClusterError as error:
            if not (isinstance(error, Unreachable) and not error.answered) and not isinstance(error, Conflict):
                await self._tell(key, error)
            raise
        except EngineError:
            raise  # another leads, whose status it is
        except Exception as error:
            await self._tell(key, error)
            raise

    async def _tell(self, key: ObjectKey, error: Exception) -> None:
        body = self._tools.cache.get(key)
        if body is None:
            return
        generation = int(body["metadata"]["generation"])
        status = {**failed(body.get("status") or {}, generation, error), "observedGeneration": generation}
        try:
            await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        except EngineError as untold:  # the error itself is raised, and logged by the queue
            _log.warning("a failed pass could not be told in the status", object=str(key), error=str(untold))

    async def close(self) -> None:
        """Closes all connections, and deletes the files with certificates."""
        await self._scaler.close()
        await self._peers.close()
        self._files.close()


class _Current:
    """The pass of a kind under whatever leadership it is."""

    def __init__(self, work: AllPasses, kind: str) -> None:
        self._work = work
        self._kind = kind

    async def __call__(self, key: ObjectKey) -> float | None:
        return await self._work.run(self._kind, key)


def build(tools: Toolbox) -> Work:
    """All passes of a process."""
    return AllPasses(tools)
