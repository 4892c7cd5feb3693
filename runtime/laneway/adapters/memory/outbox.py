"""The outbox: events of a call, its relay's lease, and the room it may take."""

from __future__ import annotations

from collections.abc import Sequence

from laneway.adapters.memory.tables import Step, Tables
from laneway.ports.store import OutboxEntry

_EVENT_BYTES = 17
_ENTRY_BYTES = 64


def flush_events(step: Step) -> None:
    """Appends a call's events, one entry per kind; past the hard cap all but dead letters become a gap."""
    t, waiting, added = step.t, step.t.outbox_bytes, 0
    for kind, tasks in step.events.items():
        if waiting + added < step.conf.outbox_hard or kind == "dead":
            size = len(tasks) * _EVENT_BYTES + _ENTRY_BYTES
            t.outbox_made += 1
            entry = b"%d-%d" % (step.now, t.outbox_made)
            t.outbox[entry] = OutboxEntry(entry, kind, step.now, _groups(tasks), size)
            added += size
        else:
            t.outbox_gap += len(tasks)
    t.outbox_bytes += added
    step.events = {}


def _groups(tasks: Sequence[tuple[bytes, int, int]]) -> list[tuple[int, int, list[bytes]]]:
    by: dict[tuple[int, int], list[bytes]] = {}
    for id_, lane, attempts in tasks:
        by.setdefault((lane, attempts), []).append(id_)
    return [(lane, attempts, ids) for (lane, attempts), ids in by.items()]


def lease(t: Tables, owner: str, ms: int, now: int) -> bool:
    """Takes, renews or (0 ms) gives up the relay's lease."""
    if t.relay is not None and t.relay[1] > now and t.relay[0] != owner:
        return False
    t.relay = None if ms == 0 else (owner, now + ms)
    return ms != 0


def relayed(t: Tables, owner: str, entries: Sequence[OutboxEntry], gap: int, now: int) -> int:
    """Removes what the log has acknowledged; -1 when ``owner`` is not the relay."""
    if t.relay is None or t.relay[0] != owner or t.relay[1] <= now:
        return -1
    removed = sum(t.outbox.pop(entry.entry, None) is not None for entry in entries)
    if removed:
        t.outbox_bytes = max(0, t.outbox_bytes - sum(entry.size for entry in entries))
    t.outbox_gap -= gap
    if not t.outbox:
        t.outbox_bytes = 0
    return removed
