"""RedisBrowse: lists over the real sets, by script calls of about a millisecond each, so that nobody waits for them."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from laneway.adapters.redis.connection import AnyRedis
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.replies import read_envelope
from laneway.kit.ids import ID_BYTES, ID_CHARS, id_bytes
from laneway.model.config import QueueConfig
from laneway.model.record import decode_errors, decode_record
from laneway.model.states import FINAL, State
from laneway.policy.filters import error_word, id_prefix_bytes, matches
from laneway.policy.listing import Stretch, begin_of, rest_of, stretches, told_by_sizes
from laneway.ports.browse import BUDGET, Filter, Position, Sort, TaskPage, TaskRow

#: Tasks that one call looks at, at most, and that one call reads whole.
_LOOK = 250
_READ = 100
#: Looks under way at once: however many people search, Redis has most of its time for the queue.
_AT_ONCE = 2
_FIELDS = 7
_pack = msgspec.msgpack.Encoder().encode


class RedisBrowse:
    """Looking at one queue's tasks. ``call`` runs a script with the configuration's hash, ``command`` a plain command,
    both with errors in Laneway's terms; ``config`` gives the live configuration."""

    def __init__(
        self,
        client: AnyRedis,
        keys: QueueKeys,
        call: Callable[..., Awaitable[Any]],
        command: Callable[..., Awaitable[Any]],
        config: Callable[[], Awaitable[QueueConfig]],
    ) -> None:
        self._client = client
        self._keys = keys
        self._call = call
        self._command = command
        self._config = config
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def page(
        self,
        wanted: Filter,
        sort: Sort,
        limit: int,
        after: Position | None = None,
        *,
        also: Callable[[TaskRow], bool] | None = None,
        budget: float = BUDGET,
    ) -> TaskPage:
        """Up to ``limit`` tasks that the filter lets through."""
        config = await self._config()
        found = stretches(wanted, sort, config)
        if len(wanted.id_prefix) == ID_CHARS:
            return await self._one(wanted, config, also) if found else TaskPage([], None, 0)
        until, took = time.monotonic() + budget, 0.0
        search = _Search(wanted, config, also, limit)
        for stretch, position in await self._not_empty(rest_of(found, after), config):
            more = True
            while more:
                began = time.monotonic()
                # (The next look takes as long as the last one: what would go past the budget is left to the next page.)
                if search.full or (search.scanned and began + took >= until):
                    return TaskPage(search.rows, position or begin_of(stretch), search.scanned)
                async with self._turn:
                    position, more = await self._look(search, stretch, position)
                took = time.monotonic() - began
        return TaskPage(search.rows, None, search.scanned)

    async def _not_empty(
        self, todo: list[tuple[Stretch, Position | None]], config: QueueConfig
    ) -> list[tuple[Stretch, Position | None]]:
        """Those that hold anything at all: one trip instead of one for each."""
        if len(todo) < 3:
            return todo
        keys = [self._keys_of(stretch, config) for stretch, _ in todo]
        async with self._client.pipeline(transaction=False) as pipe:
            for key in (key for several in keys for key in several):
                pipe.zcard(key)
            sizes = iter(await self._command(pipe.execute))
        return [each for each, several in zip(todo, keys, strict=True) if sum([next(sizes) for _ in several])]

    def _keys_of(self, stretch: Stretch, config: QueueConfig) -> list[str]:
        if stretch.source == "lane":
            lane = config.lane_number(stretch.lane)
            return [self._keys.lane(lane.name)] if lane else []
        if stretch.source == "ended":
            return [self._keys.key(state.label) for state in stretch.states]
        return [self._keys.key("held" if stretch.source == "made" else stretch.source)]

    async def _look(self, search: _Search, stretch: Stretch, position: Position | None) -> tuple[Position | None, bool]:
        """One call's worth of a stretch; the new position, and whether there may be more."""
        want = search.limit - len(search.rows)
        if stretch.source == "made":
            return await self._look_at_held(search, stretch, position, want)
        which: bytes | str = ""
        if stretch.source == "lane":
            which = str(stretch.lane)
        elif stretch.source == "parked":
            which = "" if stretch.tenant is None else stretch.tenant.encode() + b"\0"
        elif stretch.source == "ended":
            which = bytes(stretch.states)
        after = position if position is not None and position.member else None
        reply = await self._call(
            "page", stretch.source, which, int(stretch.backwards), _number(stretch.low), _number(stretch.high),
            _number(after.score) if after else "", after.member if after else b"",
            want if search.takes_all else _LOOK, want, search.packed(stretch.states),
        )  # fmt: skip
        search.take(reply)
        if reply[2]:
            position = Position(stretch.name, float(reply[4]), reply[5])
        return position, bool(reply[3])

    async def _look_at_held(
        self, search: _Search, stretch: Stretch, position: Position | None, want: int
    ) -> tuple[Position | None, bool]:
        """Held tasks by when they were made. They are as many as there are slots, so their ids are read whole."""
        members = await self._command(self._client.zrange, self._keys.key("held"), 0, -1)
        ids = sorted(member[-ID_BYTES:] for member in members)
        if position is not None and position.member:
            ids = ids[: bisect_left(ids, position.member)] if stretch.backwards else (
                ids[bisect_right(ids, position.member) :]
            )  # fmt: skip
        if stretch.backwards:
            ids.reverse()
        chunk = ids[: min(_READ, max(want, 20))]
        if not chunk:
            return position, False
        reply = await self._ask_by_id(chunk, want, search.packed(stretch.states))
        search.take(reply)
        return Position(stretch.name, 0.0, reply[5]), len(chunk) < len(ids) or bool(reply[3])

    async def _one(self, wanted: Filter, config: QueueConfig, also: Callable[[TaskRow], bool] | None) -> TaskPage:
        try:
            rows = await self.rows([id_bytes(wanted.id_prefix)])
        except ValueError:
            rows = []
        kept = [row for row in rows if row and matches(wanted, row, config) and (also is None or also(row))]
        return TaskPage(kept, None, len(rows))

    async def rows(self, ids: Sequence[bytes]) -> list[TaskRow | None]:
        """These tasks as lists show them."""
        known: dict[bytes, TaskRow] = {}
        for i in range(0, len(ids), _READ):
            rest = list(dict.fromkeys(ids[i : i + _READ]))
            while rest:
                reply = await self._ask_by_id(rest, len(rest), _pack({}))
                known |= {row.id: row for row in _rows(reply)}
                rest = rest[reply[2] :]  # (a call stops early when tasks are large)
        return [known.get(id) for id in ids]

    async def _ask_by_id(self, ids: Sequence[bytes], want: int, packed: bytes) -> Any:
        return await self._call("page", "ids", b"".join(ids), 0, "", "", "", b"", len(ids), want, packed)

    async def states(self, ids: Sequence[bytes]) -> list[State | None]:
        """The states of tasks."""
        if not ids:
            return []
        records = await self._command(self._client.hmget, self._keys.key("records"), list(ids))
        known = {id: State(raw[0]) for id, raw in zip(ids, records, strict=True) if raw is not None}
        # Those without a record wait, are scheduled, or are not there.
        fresh = [id for id in ids if id not in known]
        known |= {row.id: row.state for row in await self.rows(fresh) if row is not None}
        return [known.get(id) for id in ids]

    async def secret(self) -> bytes:
        """What is kept in a key of its own; whoever asks first makes it, and of several at once one does."""
        key = self._keys.cursors
        found = await self._command(self._client.get, key)
        if found is None:
            await self._command(self._client.set, key, secrets.token_bytes(32), nx=True)
            found = await self._command(self._client.get, key)
        return bytes(found)

    async def count(self, wanted: Filter) -> int | None:
        """By the sizes of the sets, where these tell."""
        config = await self._config()
        states = set(wanted.states or State)
        if not told_by_sizes(wanted):
            return None
        lanes = [lane for lane in config.lanes if wanted.lanes is None or lane.name in wanted.lanes]
        async with self._client.pipeline(transaction=False) as pipe:
            for name in ("held", "dispatched", "parked", "scheduled", "blocked"):
                pipe.zcard(self._keys.key(name))
            for state in sorted(FINAL):
                pipe.zcard(self._keys.key(state.label))
            for lane in lanes:
                pipe.zcard(self._keys.lane(lane.name))
            held, dispatched, parked, scheduled, blocked, *rest = await self._command(pipe.execute)
        sizes = {
            State.DISPATCHED: dispatched, State.RUNNING: held - dispatched, State.PARKED: parked,
            State.SCHEDULED: scheduled, State.BLOCKED: blocked, State.QUEUED: sum(rest[len(FINAL) :]),
            **dict(zip(sorted(FINAL), rest, strict=False)),
        }  # fmt: skip
        return int(sum(sizes[state] for state in states))


class _Search:
    """What one page has found so far, and its filter as the script reads it."""

    def __init__(self, wanted: Filter, config: QueueConfig, also: Callable[[TaskRow], bool] | None, limit: int) -> None:
        self.limit = limit
        self.rows: list[TaskRow] = []
        self.scanned = 0
        self.takes_all = wanted == Filter(states=wanted.states) and also is None
        self._wanted = wanted
        self._config = config
        self._also = also
        self._rough = _rough(wanted, config)

    @property
    def full(self) -> bool:
        return len(self.rows) >= self.limit

    def packed(self, states: Sequence[State]) -> bytes:
        return _pack({**self._rough, "s": [int(state) for state in states]})

    def take(self, reply: Any) -> None:
        self.scanned += reply[2]
        for row in _rows(reply):
            if matches(self._wanted, row, self._config) and (self._also is None or self._also(row)):
                self.rows.append(row)


def _rough(wanted: Filter, config: QueueConfig) -> dict[str, Any]:
    """The filter as far as the script looks: it lets through all that match, and little else."""
    rough: dict[str, Any] = {}
    if wanted.lanes is not None:
        rough["l"] = [lane.n for lane in config.lanes if lane.name in wanted.lanes]
    if wanted.tenants is not None:
        rough["n"] = list(wanted.tenants)
    if wanted.types is not None:
        rough["t"] = list(wanted.types)
    if wanted.created_from is not None:
        rough["c0"] = wanted.created_from
    if wanted.created_to is not None:
        rough["c1"] = wanted.created_to
    if wanted.labels:
        rough["x"] = [_text(_pack(name) + _pack(value)) for name, value in wanted.labels]
    if wanted.error:
        rough["e"] = _text(error_word(wanted.error))
    if wanted.id_prefix:
        rough["p"] = _text(id_prefix_bytes(wanted.id_prefix))
    return rough


def _text(raw: bytes) -> msgspec.Raw:
    """Bytes as a msgpack text, whatever they are: the scripts' decoder knows no binary."""
    return msgspec.Raw(b"\xdb" + len(raw).to_bytes(4, "big") + raw)


def _rows(reply: Any) -> list[TaskRow]:
    rows = []
    for i in range(6, len(reply), _FIELDS):
        id, state, raw, record, due, errors, worker = reply[i : i + _FIELDS]
        rec = decode_record(record) if record else None
        rows.append(
            TaskRow(
                id, State(state), read_envelope(raw, rec), rec, float(due or 0), decode_errors(errors),
                worker.decode() or None,
            )
        )  # fmt: skip
    return rows


def _number(score: float) -> str:
    """A score as Redis reads it; '' for one without a bound."""
    return repr(score) if math.isfinite(score) else ""
