"""Writes the live configuration of a queue: plans against what is in force, compares and sets, and again on a clash."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from laneway.errors import ConfigError, Unavailable
from laneway.model.config import QueueConfig, TenantConfig
from laneway.ports.store import TaskStore

#: From what is in force (None: nothing) and the lanes that are empty now to what is wanted, with tenants' own limits.
Plan = Callable[[QueueConfig | None, frozenset[str]], tuple[QueueConfig, Mapping[str, TenantConfig]]]

_ANYWHERE = ("parked", "scheduled", "blocked", "succeeded", "dead", "cancelled", "expired")


async def apply_configuration(store: TaskStore, plan: Plan) -> QueueConfig:
    """Brings the queue's live configuration to what ``plan`` wants; runtimes follow at once.

    Raises:
        Unavailable: somebody else kept changing it.
    """
    for _ in range(5):
        try:
            current: QueueConfig | None = await store.config(reload=True)
        except ConfigError:
            current = None
        empty = await _empty_lanes(store) if current else frozenset[str]()
        wanted, tenants = plan(current, empty)
        expected = store.config_hash if current else ""
        if await store.configure(wanted, dict(tenants), expected=expected):
            await _unpark(store)
            return wanted
    raise Unavailable("somebody else keeps changing the queue's configuration; two owners?", 1.0)


async def _unpark(store: TaskStore) -> None:
    """Limits may have been raised: what was parked under the old ones moves on now, not at the next sweep."""
    cursor = ""
    while True:
        cursor, _ = await store.sweep(cursor, 25)
        if not cursor:
            return


async def _empty_lanes(store: TaskStore) -> frozenset[str]:
    """Lanes with no task in any state. Parked, scheduled and ended tasks may belong to any lane, so while there are
    some, no lane counts as empty: a number given to another lane would send a replayed task there."""
    stats = await store.stats()
    if any(stats.counts.get(state, 0) for state in _ANYWHERE):
        return frozenset()
    return frozenset(lane.name for lane in stats.lanes if not lane.queued and not lane.running)
