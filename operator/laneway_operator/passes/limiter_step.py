"""The step of a queue's pass that keeps Redis's scripts and configuration right, and pauses a queue that goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from laneway.lanes.configure import Plan
from laneway.model.config import DEFAULT_LANE, QueueConfig, TenantConfig
from laneway.model.manifests import TaskQueue
from laneway.model.servers import RedisServer
from laneway_operator.apply.limiter import write_limiter
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.observe.limiter import RedisPeer, SeenLimiter
from laneway_operator.observe.peers import Peers
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.plan.lanes import Lanes
from laneway_operator.plan.limiter import paused, plan_limiter, tenants_in_force
from laneway_operator.plan.status import Finding
from laneway_operator.toolbox import Toolbox

_READY = ConditionType.LIMITER_READY
#: To look whether lanes that are gone are empty costs a script; there is no hurry.
_CLOSER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LimiterFound:
    """``config`` is what is in force, ``waiting`` counts tasks; None: not seen. ``anew``: Redis had nothing of it."""

    finding: Finding
    config: QueueConfig | None = None
    waiting: int | None = None
    anew: bool = False


class LimiterStep:
    """Loads scripts and writes the live configuration, where they are not as they must be."""

    def __init__(self, tools: Toolbox, peers: Peers, clock: Callable[[], float]) -> None:
        self._tools = tools
        self._peers = peers
        self._clock = clock
        self._known: dict[ObjectKey, QueueConfig] = {}
        self._look_closer: dict[ObjectKey, float] = {}
        self._losses: dict[ObjectKey, tuple[RedisPeer, int]] = {}

    async def __call__(
        self,
        body: Body,
        queue: TaskQueue,
        server: RedisServer,
        lanes: Lanes,
        keep: frozenset[str] = frozenset(),
    ) -> LimiterFound:
        """``keep`` names lanes that stay as they are. Raises NotLeading."""
        key = key_of(body)

        def plan(current: QueueConfig | None, empty: frozenset[str]) -> tuple[QueueConfig, Mapping[str, TenantConfig]]:
            return plan_limiter(current, queue, lanes, empty_lanes=empty, keep=keep)

        try:
            peer = self._peers.redis(server)
            return await self._bring(key, body, peer, server, plan)
        except TROUBLES as error:
            return LimiterFound(finding_of(_READY, error), self._known.get(key))

    async def pause(self, body: Body, queue: TaskQueue, server: RedisServer) -> int:
        """Lets nothing start any more: pauses the configuration that is in force, whatever manifests say now (lanes may
        be gone already). Returns how many tasks run after that.

        Raises:
            NotLeading: nothing was written.
            ConfigError: what is in force can't be read, and none can be made of the manifest.
            Unavailable, AccessDenied, SchemaTooNew: Redis is away, refused, or has data of a newer Laneway.
        """
        key, peer = key_of(body), self._peers.redis(server)
        seen = await peer.look(key.namespace, key.name, ())
        if seen.raw is None and not seen.hash:
            return 0  # it never had a configuration, so nobody could start anything
        if seen.whole and seen.config is not None and seen.config.paused:
            return seen.running
        tenants = tenants_in_force(seen.tenants)

        def plan(current: QueueConfig | None, empty: frozenset[str]) -> tuple[QueueConfig, Mapping[str, TenantConfig]]:
            if current is None:
                planned, made = plan_limiter(None, queue, Lanes({}, {}))
                return paused(planned), made
            return paused(current), tenants

        known = self._known.get(key)
        config = await write_limiter(server, key.namespace, key.name, plan, seen, self._tools.fence, known=known)
        self._known[key] = config
        # Only now: what was counted before may have begun more since.
        return (await peer.look(key.namespace, key.name, ())).running

    def forget(self, key: ObjectKey) -> None:
        """The queue is gone."""
        self._known.pop(key, None)
        self._look_closer.pop(key, None)
        self._losses.pop(key, None)

    async def _bring(
        self, key: ObjectKey, body: Body, peer: RedisPeer, server: RedisServer, plan: Plan
    ) -> LimiterFound:
        await peer.ensure_scripts()
        self._tell_losses(key, body, peer)
        known = self._known.get(key)
        seen = await peer.look(key.namespace, key.name, _lanes(known))
        # First of all whether they fit together: what can't be planned is told, whatever the server is like.
        wanted, tenants = plan(seen.config, frozenset())
        remarks = await peer.check(wanted)
        config = seen.config
        if not seen.is_(wanted, dict(tenants)) or self._may_drop_lanes(key, wanted):
            config = await write_limiter(server, key.namespace, key.name, plan, seen, self._tools.fence, known=known)
            if seen.config != config or not seen.whole:
                self._tell(body, Happening.LIMITER_CONFIGURED, _what_changed(seen, config))
        assert config is not None
        self._known[key] = config
        return LimiterFound(
            Finding(_READY, True, Reason.READY, "; ".join(remarks)), config, seen.waiting, seen.raw is None
        )

    def _tell_losses(self, key: ObjectKey, body: Body, peer: RedisPeer) -> None:
        """Scripts are the server's, and each queue on it hears that they were gone."""
        heard = self._losses.get(key)
        self._losses[key] = (peer, peer.losses)
        if heard is not None and heard[0] is peer and heard[1] < peer.losses:
            for name, scripts in peer.lost.items():
                what = f"Redis {name} had lost {len(scripts)} scripts, and has them again"
                self._tell(body, Happening.SCRIPTS_LOADED, what)

    def _may_drop_lanes(self, key: ObjectKey, config: QueueConfig) -> bool:
        """Whether to look closer: a lane that is gone may be dropped for good once it is empty."""
        now = self._clock()
        if not any(lane.gone for lane in config.lanes) or now < self._look_closer.get(key, 0.0):
            return False
        self._look_closer[key] = now + _CLOSER_S
        return True

    def _tell(self, body: Body, happening: Happening, message: str) -> None:
        self._tools.events.emit(body, EventType.NORMAL, happening, message)


def _lanes(config: QueueConfig | None) -> list[str]:
    return [lane.name for lane in config.lanes] if config else [DEFAULT_LANE]


def _what_changed(seen: SeenLimiter, config: QueueConfig) -> str:
    if seen.raw is None:
        return f"wrote the live configuration, version {config.version}"
    if not seen.whole:
        return f"replaced a live configuration that had been edited in Redis, version {config.version}"
    return f"wrote the live configuration, version {config.version}, in place of another"
