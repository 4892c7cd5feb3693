"""The routes of events: what happens to tasks, as a stream or by long-poll."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Annotated, cast

import msgspec
from msgspec import Meta
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from laneway.gateway.addressed import front_of
from laneway.gateway.auth.address import Addresses
from laneway.gateway.auth.identity import identity_of, require_unbound
from laneway.gateway.bodies import FieldError
from laneway.gateway.endpoint import json_response
from laneway.gateway.event_filter import EventFilter, TenantIndex
from laneway.gateway.follower import Follower
from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.places import StreamPlaces
from laneway.gateway.query import bad_query, read_query
from laneway.gateway.routing import QUEUE, Content, Doc, Header, Row
from laneway.gateway.server import ENDING, Ending
from laneway.gateway.stream import EventBody, Listener, Numbers, write_stream
from laneway.kit.ids import id_bytes
from laneway.kit.metrics import counter_family, gauge_family
from laneway.model.events import GAP, KINDS, Position, position_of, position_text
from laneway.ports.events import EventFeed, SeenStore
from laneway.ports.store import TaskView

_MOST_WAIT = 60
_MOST_TASKS = 100

_Position = Annotated[
    str, Meta(pattern=r"^\d{1,15}-\d{1,15}$", description="a position as an answer or stream gave it")
]
_KIND = "|".join((*KINDS, GAP))
_KINDS = rf"^(({_KIND})(,({_KIND}))*)?$"
_TASKS = rf"^([0-9a-v]{{23}}(,[0-9a-v]{{23}}){{0,{_MOST_TASKS - 1}}})?$"


class EventsQuery(msgspec.Struct):
    """What of the events is wanted."""

    kinds: Annotated[
        str, Meta(pattern=_KINDS, description=f"kinds of events, by commas: any of {', '.join((*KINDS, GAP))}")
    ] = ""
    lane: Annotated[str, Meta(description="names of lanes, by commas")] = ""
    task: Annotated[str, Meta(pattern=_TASKS, description="ids of tasks, by commas: at most 100")] = ""
    after: _Position | None = None
    stats: Annotated[int, Meta(ge=0, le=1, description="0 for a stream without the queue's numbers, else 1")] | None = (
        None
    )
    wait: Annotated[
        float, Meta(ge=0, le=_MOST_WAIT, description=f"seconds from 0 to {_MOST_WAIT} to wait for the first event")
    ] = 0.0
    limit: Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")] = 100


class EventsAnswer(msgspec.Struct):
    """Events after a position, oldest first; ``next`` is the position to ask from the next time."""

    events: list[EventBody]
    next: str


_EVENTS = Doc(
    "events",
    "What happens to tasks: a stream, or with Accept: application/json a long-poll",
    {200: Content("text/event-stream", {"type": "string"}, EventsAnswer)},
    ("too-many-streams",),
    query=EventsQuery,
    headers=(
        Header("Last-Event-ID", "the position to go on after, the same as `after`", {"type": "string"}),
        Header("Accept", "application/json: one answer in place of a stream", {"type": "string"}),
    ),
    described={200: "Server-Sent Events until the client leaves; JSON (`EventsAnswer`) when that is asked for."},
    tag="statistics",
)


class EventMetrics(Collector):
    """Streams and long-polls that are open, and what was sent to them and to those before."""

    def __init__(self) -> None:
        self._open: dict[str, set[Listener]] = {}
        self._sent: dict[str, int] = {}
        self._gaps: dict[str, int] = {}

    @contextmanager
    def counted(self, queue: str, listener: Listener) -> Iterator[None]:
        """Counts what a listener is sent while the context is open."""
        self._open.setdefault(queue, set()).add(listener)
        try:
            yield
        finally:
            self._open[queue].discard(listener)
            self._sent[queue] = self._sent.get(queue, 0) + listener.sent
            self._gaps[queue] = self._gaps.get(queue, 0) + listener.gaps

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from EventMetrics().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        queues = {queue: list(listeners) for queue, listeners in list(self._open.items())}
        sent = {queue: self._sent.get(queue, 0) + sum(each.sent for each in now) for queue, now in queues.items()}
        gaps = {queue: self._gaps.get(queue, 0) + sum(each.gaps for each in now) for queue, now in queues.items()}
        yield gauge_family("laneway_event_streams", (((queue,), len(now)) for queue, now in queues.items()))
        yield counter_family("laneway_events_sent_total", (((queue,), n) for queue, n in sent.items()))
        yield counter_family("laneway_event_gaps_total", (((queue,), n) for queue, n in gaps.items()))


class EventRoutes:
    """The handlers. ``feeds`` has the event log of queues whose store does not have it itself: with Kafka."""

    def __init__(
        self,
        fronts: Fronts,
        limits: GatewayLimits,
        feeds: Mapping[str, EventFeed],
        metrics: EventMetrics,
        addresses: Addresses | None = None,
    ) -> None:
        self._fronts = fronts
        self._limits = limits
        self._metrics = metrics
        self._feeds = feeds
        self._places = StreamPlaces(limits.max_streams, limits.max_streams_each, addresses or Addresses())
        self._followers = {name: Follower(name, partial(self._feed, name)) for name in fronts}
        self._indexes = {name: TenantIndex(partial(_views, front)) for name, front in fronts.items()}

    def _feed(self, name: str) -> EventFeed:
        found = self._feeds.get(name)
        return found if found is not None else cast(SeenStore, self._fronts[name].store).events

    def routes(self) -> list[Row]:
        """The rows of the table."""
        return [Row("GET", f"{QUEUE}/events", self.events, "read", _EVENTS)]

    async def close(self) -> None:
        """Ends following."""
        for follower in self._followers.values():
            await follower.close()

    async def events(self, request: Request) -> Response:
        """GET .../events"""
        front = front_of(self._fronts, request)
        identity = identity_of(request)
        query = read_query(request, EventsQuery)
        listener = Listener(
            self._followers[front.name], _filter(query), _after(request, query), identity.tenants,
            self._indexes[front.name],
        )  # fmt: skip
        front.check_reachable()
        if _wants_json(request):
            # (One that does not wait is a request like others, and needs no place.)
            give_back = self._places.take(request) if query.wait > 0 else _silent
            try:
                return await self._poll(request, front, listener, query)
            finally:
                give_back()
        wants_numbers = not identity.bound if query.stats is None else bool(query.stats)
        if wants_numbers:
            require_unbound(request)
        return await self._stream(request, front, listener, wants_numbers)

    async def _poll(self, request: Request, front: QueueFront, listener: Listener, query: EventsQuery) -> Response:
        ending = _ending(request)
        wake = asyncio.Event()
        until = time.monotonic() + query.wait
        found: list[EventBody] = []
        with self._metrics.counted(front.name, listener), _rung(wake.set, ending.bells):
            async with listener.follower.listening(wake.set, self._limits.deadline):
                gap = listener.begin()
                if gap is not None:
                    found += await listener.bodies([gap])
                elif listener.after is None:
                    listener.rewind(query.limit)
                if listener.behind:
                    async with aclosing(listener.catch_up()) as batches:
                        async for events in batches:
                            found += await listener.bodies(events)
                            if len(found) >= query.limit:
                                break
                while not listener.behind:
                    while listener.more and len(found) < query.limit:
                        wake.clear()
                        found += await listener.bodies(listener.next(query.limit - len(found)))
                    left = until - time.monotonic()
                    if found or left <= 0 or ending.now:
                        break
                    try:
                        async with asyncio.timeout(left):
                            await wake.wait()
                    except TimeoutError:
                        break
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        return json_response(EventsAnswer(found, position_text(listener.position)), headers=headers)

    async def _stream(self, request: Request, front: QueueFront, listener: Listener, wants_numbers: bool) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        follower = listener.follower
        give_back = self._places.take(request)
        try:
            async with follower.listening(_silent, self._limits.deadline):
                pass  # a log that can't be read is told as a problem, not as a stream that ends
        except BaseException:
            give_back()
            raise
        chunks = self._chunks(front, listener, wants_numbers, _ending(request))
        return EventStream(chunks, give_back, headers)

    async def _chunks(
        self, front: QueueFront, listener: Listener, wants_numbers: bool, ending: Ending
    ) -> AsyncGenerator[bytes, None]:
        wake = asyncio.Event()
        numbers = Numbers(lambda: front.watch.looks, front.stats_body) if wants_numbers else None
        bells = (ending.bells, front.watch.listeners) if wants_numbers else (ending.bells,)
        with self._metrics.counted(front.name, listener), _rung(wake.set, *bells):
            async with (
                listener.follower.listening(wake.set, self._limits.deadline),
                aclosing(write_stream(listener, wake, lambda: ending.now, numbers)) as stream,
            ):
                async for chunk in stream:
                    yield chunk


class EventStream(StreamingResponse):
    """A stream whose source ends with it, also when the client leaves in the middle of a write; its place is given
    back then."""

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], give_back: Callable[[], None], headers: Mapping[str, str]
    ) -> None:
        super().__init__(chunks, headers=headers, media_type="text/event-stream")
        self._give_back = give_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._give_back()

    async def stream_response(self, send: Send) -> None:
        """Sends it all."""
        source = self.body_iterator
        assert isinstance(source, AsyncGenerator)
        async with aclosing(source):
            await super().stream_response(send)


@contextmanager
def _rung(bell: Callable[[], None], *bells: set[Callable[[], None]]) -> Iterator[None]:
    """Has ``bell`` rung with all of these while the context is open."""
    for each in bells:
        each.add(bell)
    try:
        yield
    finally:
        for each in bells:
            each.discard(bell)


async def _views(front: QueueFront, ids: Sequence[bytes]) -> Sequence[TaskView | None]:
    return await front.ask(front.store.get(ids))


def _silent() -> None:
    """Rings nothing, and gives nothing back."""


def _ending(request: Request) -> Ending:
    """The server's; one that never ends where there is no server around the application."""
    found = request.scope.get(ENDING)
    return found if isinstance(found, Ending) else Ending()


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "").lower()
    return "application/json" in accept and "text/event-stream" not in accept


def _after(request: Request, query: EventsQuery) -> Position | None:
    """Where to go on: as the query says, else the header that browsers send by themselves.

    Raises:
        Problem: invalid-query; the header has no position.
    """
    text = query.after if query.after is not None else request.headers.get("last-event-id", "").strip()
    if not text:
        return None
    try:
        return position_of(text)
    except ValueError as error:
        raise bad_query([FieldError("Last-Event-ID", str(error))]) from None


def _filter(query: EventsQuery) -> EventFilter:
    kinds, tasks = _words(query.kinds), _words(query.task)
    errors = []
    if unknown := kinds - {*KINDS, GAP}:
        right = ", ".join((*KINDS, GAP))
        errors.append(FieldError("kinds", f"there is no kind {sorted(unknown)[0][:40]!r}: they are {right}"))
    if len(tasks) > _MOST_TASKS:
        errors.append(FieldError("task", f"task may name {_MOST_TASKS} tasks, not {len(tasks)}"))
    for task in sorted(tasks)[:_MOST_TASKS]:
        try:
            id_bytes(task)
        except ValueError as error:
            errors.append(FieldError("task", str(error)))
            break
    if errors:
        raise bad_query(errors)
    return EventFilter(kinds, _words(query.lane), tasks)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())
