"""The live configuration that a queue shall have."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from laneway.kit.logs import get_logger
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig
from laneway.model.manifests import QueueManifests, TaskQueue
from laneway.policy.plan import plan_config
from laneway_operator.plan.lanes import Lanes

_log = get_logger(__name__)


def plan_limiter(
    current: QueueConfig | None,
    queue: TaskQueue,
    lanes: Lanes,
    *,
    empty_lanes: frozenset[str] = frozenset(),
    keep: frozenset[str] = frozenset(),
) -> tuple[QueueConfig, dict[str, TenantConfig]]:
    """The configuration and the tenants' own settings. Lanes that are ``held``, and those named in ``keep``,
    stay as they are in ``current``.

    Raises:
        ConfigError: queue and lanes do not fit together.
    """
    planned, tenants = plan_config(current, QueueManifests(queue, lanes.manifests), empty_lanes=empty_lanes)
    stay = lanes.held | keep
    if stay and current is not None:
        kept = tuple(_kept(lane, current, stay) for lane in planned.lanes)
        ordered = tuple(sorted(kept, key=lambda lane: (-lane.prio, lane.name)))
        planned = msgspec.structs.replace(planned, lanes=ordered, shares=any(lane.share for lane in ordered))
    if current is None:
        return planned, tenants
    same = msgspec.structs.replace(planned, version=current.version)
    return (current if same == current else msgspec.structs.replace(planned, version=current.version + 1)), tenants


def paused(current: QueueConfig) -> QueueConfig:
    """The same configuration, of a queue in which nothing starts."""
    if current.paused:
        return current
    return msgspec.structs.replace(current, paused=True, version=current.version + 1)


def tenants_in_force(stored: Mapping[bytes, bytes]) -> dict[str, TenantConfig]:
    """Tenants' own settings as Redis holds them, without any that can't be read."""
    found: dict[str, TenantConfig] = {}
    for name, raw in stored.items():
        try:
            found[name.decode()] = msgspec.msgpack.decode(raw, type=TenantConfig)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("a tenant's settings in Redis can't be read", tenant=name)
    return found


def _kept(lane: LaneConfig, current: QueueConfig, stay: frozenset[str]) -> LaneConfig:
    before = current.lane(lane.name) if lane.name in stay else None
    return lane if before is None or before.gone else before
