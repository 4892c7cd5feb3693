"""The relay: publishes the outbox to the log, one relay at a time, and removes only what was acknowledged."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable, Mapping, Sequence

import msgspec

from laneway.errors import LanewayError
from laneway.kit.health import Health
from laneway.kit.ids import id_text, id_texts
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts
from laneway.model.envelope import payload_object
from laneway.model.events import EVENT_SCHEMA, GAP, Event, EventTasks
from laneway.model.record import AttemptError
from laneway.ports.log import EventLog
from laneway.ports.store import OutboxEntry, TaskStore, TaskView

__all__ = ["DEAD_SCHEMA", "EVENT_SCHEMA", "DeadLetter", "Event", "EventTasks", "Relay", "told"]

_log = get_logger(__name__)

_LEASE_MS = 5_000
_BATCH = 100
_IDLE = 0.2

DEAD_SCHEMA = "laneway.dead/v1"


class DeadLetter(msgspec.Struct):
    """A task that ended in the dead letters, whole."""

    schema: str
    queue: str
    sequence: str
    id: str
    type: str
    lane: str
    tenant: str
    attempts: int
    submitted_at: int
    dead_at: int
    payload: object
    labels: dict[str, str]
    errors: list[AttemptError]


_encode = msgspec.json.Encoder().encode

#: Bytes of a dead letter's payload that are told in full; of a larger one only its size.
_TOLD_BYTES = 700_000


def told(payload: bytes) -> object:
    """A payload as JSON can tell it. What JSON has no form for is told as base64 of msgpack; nothing is raised, since
    one payload that can't be told would hold up all that happened after it."""
    if len(payload) > _TOLD_BYTES:
        return {"omitted": "larger than a dead letter tells; laneway task show ID has it", "bytes": len(payload)}
    try:
        text = _encode(payload_object(payload))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return {"msgpack": base64.b64encode(payload).decode()}
    return msgspec.Raw(text)


class Relay(Service):
    """Holds the relay's lease while it runs; another one takes over within seconds when it is gone."""

    def __init__(
        self,
        store: TaskStore,
        log: EventLog,
        queue: str,
        *,
        health: Health | None = None,
        counts: TendCounts | None = None,
        on_relayed: Callable[[Sequence[OutboxEntry], Mapping[int, str]], None] | None = None,
    ) -> None:
        """``on_relayed`` hears of entries that were told and removed, with the lanes' names by number."""
        super().__init__("relay", health=health)
        #: Whether it held the lease when it last looked.
        self.leading = False
        self._on_relayed = on_relayed
        self._store = store
        self._counts = counts or TendCounts("")
        self._events = log
        self._queue = queue
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"

    async def run(self) -> None:
        while not self.stopping:
            try:
                moved = await self._round()
                self.touch()
                self.trouble = None
                await self.pause(0 if moved >= _BATCH else _IDLE)
            except LanewayError as error:
                self.leading = False
                # The entries stay where they are; the outbox counts their bytes and slows submissions in the end.
                self.trouble = f"the log can't take events: {error}"
                _log.warning("the log can't take events now", error=str(error))
                self.touch()
                await self.pause(1.0)

    async def _round(self) -> int:
        self.leading = await self._store.lease_relay(self._owner, _LEASE_MS)
        if not self.leading:
            await self.pause(1.0)
            return 0
        entries, gap = await self._store.outbox(_BATCH)
        if not entries:
            return 0
        names = await self._lane_names(entries)
        records = [(entry.entry, _encode(self._event(entry, names))) for entry in entries]
        if gap:
            marker = Event(
                EVENT_SCHEMA, self._queue, GAP, entries[0].at_ms, entries[0].entry.decode() + "-gap", [], gap
            )
            records.insert(0, (b"gap", _encode(marker)))
        dead = await self._dead_letters(entries, names)
        if dead:
            await self._events.append("dead", dead)
        await self._events.append("events", records)
        if await self._store.relayed(self._owner, entries, gap) < 0:
            _log.warning("lost the relay's lease; another relay goes on")
            self.leading = False
            return 0
        if self._on_relayed is not None:
            self._on_relayed(entries, names)
        for entry in entries:
            self._counts.events[entry.kind] += len(entry.ids)
        self._counts.events_lost += gap
        return len(entries)

    async def _lane_names(self, entries: list[OutboxEntry]) -> dict[int, str]:
        """The lanes' names by number; the configuration is read anew when a lane is not among those known."""
        wanted = {lane for entry in entries for lane, _, _ in entry.groups}
        names = {lane.n: lane.name for lane in (await self._store.config()).lanes}
        if wanted - names.keys():
            names = {lane.n: lane.name for lane in (await self._store.config(reload=True)).lanes}
        return names

    def _event(self, entry: OutboxEntry, names: dict[int, str]) -> Event:
        tasks = [
            EventTasks(names.get(lane, str(lane)), attempts, id_texts(ids)) for lane, attempts, ids in entry.groups
        ]
        return Event(EVENT_SCHEMA, self._queue, entry.kind, entry.at_ms, entry.entry.decode(), tasks)

    async def _dead_letters(self, entries: list[OutboxEntry], names: dict[int, str]) -> list[tuple[bytes, bytes]]:
        letters: list[tuple[bytes, bytes]] = []
        for entry in entries:
            if entry.kind != "dead":
                continue
            views = await self._store.get(entry.ids)
            letters += [(view.id, _encode(self._dead_letter(view, entry, names))) for view in views if view is not None]
        return letters

    def _dead_letter(self, view: TaskView, entry: OutboxEntry, names: dict[int, str]) -> DeadLetter:
        body, rec = view.envelope.body, view.record
        return DeadLetter(
            DEAD_SCHEMA,
            self._queue,
            entry.entry.decode(),
            id_text(view.id),
            body.type,
            names.get(view.envelope.lane, str(view.envelope.lane)),
            view.envelope.tenant,
            rec.attempts if rec else 0,
            view.envelope.submitted_ms,
            entry.at_ms,
            told(body.payload),
            body.labels or {},
            view.errors,
        )

    async def on_stop(self) -> None:
        self.leading = False
        try:
            await self._store.lease_relay(self._owner, 0)
        except LanewayError as error:
            _log.warning("could not give up the relay's lease; it runs out by itself", error=str(error))
        await self._events.close()
