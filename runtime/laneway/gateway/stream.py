"""One listener to a queue's events: how far it is, and what it is sent.

Nothing is kept for a listener but a number: one that reads slowly finds that events were let go meanwhile, and is told
of the gap. What the connection holds unsent is bounded by its own back-pressure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from laneway.gateway.event_filter import EventFilter, TenantIndex
from laneway.gateway.follower import Follower, Told, told_of
from laneway.model.events import GAP, START, Event, EventTasks, Position, position_text

HEARTBEAT_S = 10.0
_CHUNK = 65_536
_PAGE = 256
#: What a client waits before it connects again (ms).
_RETRY_MS = 1000

_encode = msgspec.json.Encoder().encode


class EventBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """What happened to tasks that are in the same lane after as many attempts. Kind ``gap`` says that events are
    missing here: ``missing`` how many at least (null: not known), ``reason`` why: ``outbox`` (they were never written,
    since the outbox was full), ``trimmed`` (the log keeps them no more), ``slow`` (the reader was) or ``unknown`` (the
    position is none of this log)."""

    at: datetime
    kind: str
    lane: str
    attempts: int
    ids: list[str]
    missing: int | None = None
    reason: str = ""


class Gap(msgspec.Struct):
    """Events that this listener will not see."""

    reason: str
    missing: int | None = None


@dataclass(eq=False)
class Listener:
    """Reads on from ``after`` (None: from now on). ``tenants`` None: sees all tasks."""

    follower: Follower
    filter: EventFilter
    after: Position | None = None
    tenants: frozenset[str] | None = None
    index: TenantIndex | None = None
    position: Position = START
    sent: int = 0
    gaps: int = 0
    _number: int = field(default=-1, init=False)

    def begin(self) -> Gap | None:
        """Finds its place, once the follower knows where the log stands. Returns the gap that it begins with."""
        newest = self.follower.newest
        if self.after is None or self.after > newest:
            self.position, self._number = newest, self.follower.end
            return Gap("unknown") if self.after is not None else None
        self.position = self.after
        if self.after >= self.follower.before:
            self._number = self.follower.number_after(self.after)
        return None

    def rewind(self, events: int) -> None:
        """Goes back by so many events, as far as they are there."""
        self._number = max(self.follower.first, self.follower.end - events)

    @property
    def more(self) -> bool:
        """Whether there is something that it has not looked at."""
        return self._number < self.follower.end

    @property
    def behind(self) -> bool:
        """Whether what it wants next is not kept by the follower: the log has to be read for it."""
        return self._number < 0

    async def catch_up(self) -> AsyncGenerator[list[Told | Gap], None]:
        """Reads the log until the follower has what comes next."""
        first = True
        async with aclosing(self.follower.open_feed().read(self.position)) as batches:
            async for batch in batches:
                found: list[Told | Gap] = []
                for told in map(told_of, batch):
                    if told is None:
                        continue
                    if told.position > self.position:
                        if first and self.position != START:
                            found.append(Gap("trimmed"))
                        found.append(told)
                        if told.event.kind != GAP:
                            self.position = told.position
                    first = False
                if found:
                    yield found
                if not batch or self.position >= self.follower.before:
                    self._number = max(self.follower.first, self.follower.number_after(self.position))
                    return

    def next(self, most: int = _PAGE) -> list[Told | Gap]:
        """What the follower has for it: at most ``most`` events."""
        found: list[Told | Gap] = []
        lost = self.follower.first - self._number
        if lost > 0:
            found.append(Gap("slow", lost))
            self._number = self.follower.first
        told = self.follower.since(self._number, min(most, _PAGE))
        self._number += len(told)
        found += told
        for each in reversed(told):
            if each.event.kind != GAP:  # (that has the position of the event after it, which may not be sent yet)
                self.position = max(self.position, each.position)
                break
        return found

    async def seen(self, events: list[Told | Gap]) -> list[tuple[Told | Gap, list[EventTasks]]]:
        """What of this was asked for and may be seen, with the tasks of each event."""
        found: list[tuple[Told | Gap, list[EventTasks]]] = []
        for each in events:
            if isinstance(each, Gap):
                found.append((Gap(each.reason) if self.tenants is not None else each, []))
            elif each.event.kind == GAP:
                found.append((Gap("outbox", each.event.missing if self.tenants is None else None), []))
            elif groups := self.filter.of(each.event):
                found.append((each, groups))
        if self.tenants is None or self.index is None:
            return found
        told = [
            Event(each.event.schema, each.event.queue, each.event.kind, each.event.at, each.event.sequence, groups)
            for each, groups in found
            if isinstance(each, Told)
        ]
        visible = {event.sequence: event.tasks for event in await self.index.visible(told, self.tenants)}
        return [
            (each, visible.get(each.event.sequence, []) if isinstance(each, Told) else [])
            for each, _ in found
            if isinstance(each, Gap) or each.event.sequence in visible
        ]

    async def bodies(self, events: list[Told | Gap]) -> list[EventBody]:
        """As JSON answers have it."""
        found: list[EventBody] = []
        for each, groups in await self.seen(events):
            if isinstance(each, Gap):
                self.gaps += 1
                found.append(gap_body(each))
            else:
                found += event_bodies(each.event, groups)
        self.sent += len(found)
        return found

    async def frames(self, events: list[Told | Gap]) -> list[bytes]:
        """As a stream has it. The id stands with the last frame of an event, so that one which broke off in between is
        sent again."""
        frames: list[bytes] = []
        whole = self.filter.everything and self.tenants is None
        for each, groups in await self.seen(events):
            if isinstance(each, Gap):
                self.gaps += 1
                frames.append(b"event: gap\ndata: " + _encode(gap_body(each)) + b"\n\n")
                continue
            frame = each.frame if whole else b""
            if not frame:
                bodies = [
                    b"event: %b\ndata: %b\n" % (each.event.kind.encode(), _encode(body))
                    for body in event_bodies(each.event, groups)
                ]
                frame = b"\n".join(bodies) + b"id: %b\n\n" % position_text(each.position).encode()
                if whole:
                    each.frame = frame
            frames.append(frame)
        self.sent += len(frames)
        return frames


def event_bodies(event: Event, groups: list[EventTasks]) -> list[EventBody]:
    """One body for each lane and number of attempts."""
    at = datetime.fromtimestamp(event.at / 1000, UTC)
    return [EventBody(at, event.kind, group.lane, group.attempts, group.ids) for group in groups]


def gap_body(gap: Gap) -> EventBody:
    """A gap as it is told."""
    return EventBody(datetime.now(UTC), GAP, "", 0, [], gap.missing, gap.reason)


@dataclass
class Numbers:
    """The queue's statistics as an event: ``version`` changes with them, ``body`` gives them as JSON (None: not known
    now)."""

    version: Callable[[], int]
    body: Callable[[], bytes | None]


async def write_stream(
    listener: Listener, wake: asyncio.Event, over: Callable[[], bool], numbers: Numbers | None
) -> AsyncGenerator[bytes, None]:
    """The stream as Server-Sent Events, until ``over``. ``wake`` is set when there may be something to send."""
    gap = listener.begin()
    yield b"retry: %d\n" % _RETRY_MS + _id(listener) + b"\n"
    if gap is not None:
        yield b"".join(await listener.frames([gap]))
    if listener.behind:
        async with aclosing(listener.catch_up()) as batches:
            async for events in batches:
                for chunk in _chunks(await listener.frames(events)):
                    yield chunk
                if over():
                    return
    version = -1
    last = time.monotonic()
    while not over():
        wake.clear()
        frames = await listener.frames(listener.next())
        if numbers is not None and numbers.version() != version:
            version = numbers.version()
            body = numbers.body()
            if body is not None:
                frames.append(b"event: stats\n" + _id(listener) + b"data: " + body + b"\n\n")
        for chunk in _chunks(frames):
            yield chunk
            last = time.monotonic()
        if frames or listener.more:
            continue  # what came while this was sent
        quiet = time.monotonic() - last
        if quiet >= HEARTBEAT_S:
            yield b": heartbeat\n" + _id(listener) + b"\n"
            last = time.monotonic()
            continue
        try:
            async with asyncio.timeout(HEARTBEAT_S - quiet):
                await wake.wait()
        except TimeoutError:
            continue


def _id(listener: Listener) -> bytes:
    return b"id: %b\n" % position_text(listener.position).encode()


def _chunks(frames: list[bytes]) -> list[bytes]:
    """The frames, joined to pieces of about 64 KiB: one write each."""
    chunks: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for frame in frames:
        part.append(frame)
        size += len(frame)
        if size >= _CHUNK:
            chunks.append(b"".join(part))
            part, size = [], 0
    if part:
        chunks.append(b"".join(part))
    return chunks
