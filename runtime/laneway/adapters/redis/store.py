"""RedisStore: the TaskStore over the Lua scripts. One method, one script call."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from laneway.adapters.redis import replies
from laneway.adapters.redis.actions import RedisActions
from laneway.adapters.redis.browse import RedisBrowse
from laneway.adapters.redis.calls import Argument, ScriptCaller
from laneway.adapters.redis.connection import AWAY, AnyRedis, connect, turned_away
from laneway.adapters.redis.feed import StreamFeed
from laneway.adapters.redis.history import RedisHistory
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.letters import Letters
from laneway.adapters.redis.notes import RedisNotes
from laneway.adapters.redis.primaries import erase_keys, load_scripts
from laneway.adapters.redis.replicas import Replicas
from laneway.adapters.redis.server import check_server, server_run_id
from laneway.adapters.redis.wire import Wire
from laneway.adapters.redis.workers import RedisWorkers
from laneway.errors import ConfigError, OutcomeUnknown, SchemaTooNew, Unavailable
from laneway.kit.ids import ID_BYTES
from laneway.model.config import (
    QueueConfig,
    TenantConfig,
    config_hash,
    decode_config,
    encode_config,
    encode_for_scripts,
    encode_tenant,
)
from laneway.model.envelope import SCHEMA
from laneway.model.servers import RedisServer
from laneway.model.settlement import Settlement, pack_settlements
from laneway.model.states import State
from laneway.ports.store import (
    Beat,
    Begun,
    Depth,
    Dispatched,
    OutboxEntry,
    Promoted,
    QueueStats,
    Reaped,
    Registered,
    Start,
    Submitted,
    TaskView,
    Turn,
)

_FINAL_KEYS = {State.SUCCEEDED: "succeeded", State.DEAD: "dead", State.CANCELLED: "cancelled", State.EXPIRED: "expired"}
_TIMEOUT = 5.0
_LONGEST_WAIT = 20.0
_IDS = 100
_ITEM = struct.Struct(">14sd")
_HELD_ITEM = struct.Struct(">8s14sd")


class RedisStore:
    """One queue in Redis.

    ``server`` may be a plain URL (``redis://``, ``rediss://``, ``unix://``), with ``cluster`` for a Redis Cluster;
    ``patience`` bounds in seconds how long an idempotent call is repeated while Redis is away.

    Raises:
        ConfigError: what the server was given with is wrong, such as a certificate's file.
    """

    def __init__(
        self,
        server: RedisServer | str,
        queue: str,
        *,
        namespace: str = "default",
        cluster: bool = False,
        patience: float = 5.0,
    ) -> None:
        self.server = server = RedisServer.of(server, cluster=cluster)
        self.queue = queue
        self.namespace = namespace
        self.cluster = server.cluster
        self.keys = QueueKeys(namespace, queue)
        self._client = connect(server)
        self._waiter: AnyRedis | Wire | None = None
        self._wire: Wire | None = None if self.cluster else Wire(connect(server, timeout=None), timeout=_TIMEOUT)
        execute = self._client.execute_command if self._wire is None else self._wire.execute
        self._turned_away = partial(turned_away, server)
        self._calls = ScriptCaller(execute, self.keys, patience=patience, turned_away=self._turned_away)
        self._config: QueueConfig | None = None
        self._hash = ""
        self._run_id = ""
        self._durability = "fast"
        self._replicas = 0
        self._replication = Replicas(self._client, self.keys.key("meta"))
        self.browse = RedisBrowse(self._client, self.keys, self._call, self._command, self.config)
        self.actions = RedisActions(self._call, self.replay)
        self.notes = RedisNotes(self)
        self.workers = RedisWorkers(self)
        self._letters = Letters(self)
        self.events = StreamFeed(self)
        self.history = RedisHistory(self)

    # -- configuration

    async def config(self, *, reload: bool = False) -> QueueConfig:
        if self._config is None or reload:
            raw = await self._command(self._client.get, self.keys.key("conf"))
            if raw is None:
                raise ConfigError(
                    f"queue {self.namespace}/{self.queue} is not configured: apply a TaskQueue of that name "
                    "(kubectl apply, or laneway up -f FILE)"
                )
            self._config = decode_config(raw)
            self._hash = config_hash(raw)
            self._durability, self._replicas = self._config.durability, self._config.replicas
            self._calls.set_lanes([lane.name for lane in self._config.lanes])
        return self._config

    async def configure(self, config: QueueConfig, tenants: dict[str, TenantConfig], *, expected: str | None) -> bool:
        raw = encode_config(config)
        args: list[Argument] = [
            "*" if expected is None else expected,
            config_hash(raw),
            raw,
            encode_for_scripts(config),
        ]
        for name in sorted(tenants):
            args += [name, encode_tenant(tenants[name])]
        reply = await self._calls.call("configure", *args)
        if reply[0] == b"schema":
            raise SchemaTooNew(_schema_message(reply[1]))
        await self.config(reload=True)
        return bool(reply[0] == b"ok")

    @property
    def cached_config(self) -> QueueConfig:
        """The configuration last read (the defaults before that)."""
        return self._config or QueueConfig()

    @property
    def config_hash(self) -> str:
        """The hash of the configuration last read ('' before)."""
        return self._hash

    async def _call(self, name: str, *args: Argument, patience: float | None = None) -> Any:
        """Runs a script that takes the configuration's hash first; reloads and repeats when that changed."""
        if self._config is None:
            await self.config()
        for _ in range(5):
            reply = await self._calls.call(name, self._hash, *args, patience=patience)
            status = reply[0]
            if status == b"conf":
                await self.config(reload=True)
            elif status == b"schema":
                raise SchemaTooNew(_schema_message(reply[1]))
            else:
                return reply
        raise Unavailable("the configuration changes faster than it can be read", 1.0)

    async def script(self, name: str, *args: Argument) -> Any:
        """The reply of a script that takes the configuration's hash first; for the adapters of other ports, which are
        this store's attributes."""
        return await self._call(name, *args)

    # -- submitters

    async def submit(self, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        args: list[Argument] = []
        for pair in batch:
            args += pair
        reply = await self._call("submit", *args)
        if self._durability == "replica":
            await self._acknowledged()
        return replies.submissions(reply, batch)

    async def _acknowledged(self) -> None:
        """Waits until enough replicas have what was written (durability: replica)."""
        try:
            got = await self._replication.acknowledged(self._replicas, 2000)
        except (*AWAY, RedisError) as error:
            raise OutcomeUnknown(
                f"no word whether replicas have the tasks ({error}); submitting them again adds nothing"
            ) from error
        if got < self._replicas:
            raise OutcomeUnknown(
                f"only {got} of {self._replicas} replicas have acknowledged within 2 s; the tasks are on the primary, "
                "and submitting them again adds nothing"
            )

    async def get(self, ids: Sequence[bytes]) -> list[TaskView | None]:
        if not ids:
            return []
        flat = await self._calls.call("get", *ids)
        return [replies.view(id_, *flat[i * 5 : i * 5 + 5]) for i, id_ in enumerate(ids)]

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        return [code for chunk in _chunks(ids) for code in _codes(await self._call("cancel", *chunk))]

    async def wait_ended(self, id: bytes, timeout: float) -> TaskView | None:
        deadline = time.monotonic() + timeout
        pubsub = None if self.cluster else self._client.pubsub(ignore_subscribe_messages=True)
        try:
            if pubsub:
                await self._command(pubsub.subscribe, self.keys.done_channel)
            pause = 0.02
            while True:
                (view,) = await self.get([id])
                left = deadline - time.monotonic()
                if view is None or view.state.final:
                    return view
                if left <= 0:
                    return None
                if pubsub:
                    until = time.monotonic() + min(left, 1.0)
                    while (wait := until - time.monotonic()) > 0:
                        message = await self._command(pubsub.get_message, timeout=wait)
                        if message and id in message["data"]:
                            break
                else:
                    await asyncio.sleep(min(pause, left))
                    pause = min(pause * 1.5, 0.5)
        finally:
            if pubsub:
                await pubsub.aclose()

    # -- workers

    async def register(
        self, inc: bytes, name: str, mode: str, slots: int, window: int, partitions: int,
        last: bytes = b"", running: Sequence[tuple[bytes, int]] = (),
    ) -> Registered:  # fmt: skip
        self._run_id = await self._current_run_id()
        reply = await self._call(
            "register", inc, name, mode, slots, window, partitions, SCHEMA, self._run_id, last,
            b"".join(_ITEM.pack(id_, fence) for id_, fence in running),
        )  # fmt: skip
        return Registered(int(reply[2]), replies.split_ids(reply[3]))

    async def heartbeat(
        self, inc: bytes, state: int, slots: int, window: int, running: Sequence[bytes], *, heal: bool = True,
        ended: int = 0, took_ms: float = 0.0,
    ) -> Beat:  # fmt: skip
        if self._config is None:
            await self.config()
        run_id = await self._current_run_id()
        args = (inc, run_id, state, slots, window, b"".join(running), int(heal), ended, took_ms)
        for _ in range(5):
            reply = await self._calls.call("heartbeat", self._hash, *args, patience=0.0)
            if reply[0] == b"schema":
                raise SchemaTooNew(_schema_message(reply[1]))
            if reply[0] != b"conf":
                return replies.beat(reply)
            # The beat itself counted; what depends on the lanes is told again under the new configuration.
            await self.config(reload=True)
        raise Unavailable("the configuration changes faster than it can be read", 1.0)

    async def _current_run_id(self) -> str:
        """The run id of the server now. It is asked for on each beat: a restart in between must not go unseen."""
        return str(await self._command(server_run_id, self._client, self.keys.key("meta")))

    async def turn(self, inc: bytes, request: int, want: int, settled: Sequence[Settlement]) -> Turn:
        if settled:
            items, data = pack_settlements(list(settled))
            return replies.turn(await self._call("turn", inc, request, want, items, *data))
        return replies.turn(await self._call("claim", inc, request, want))

    async def start(self, inc: bytes, items: Sequence[tuple[bytes, int]]) -> tuple[int, list[Start]]:
        begun = await self.begin(inc, items, ())
        return begun.now_ms, [Start(*pair) for pair in zip(begun.codes, begun.attempts, strict=True)]

    async def begin(self, inc: bytes, items: Sequence[tuple[bytes, int]], settled: Sequence[Settlement]) -> Begun:
        pack = _ITEM.pack
        ended, data = pack_settlements(list(settled))
        reply = await self._call("start", inc, b"".join([pack(id_, fence) for id_, fence in items]), ended, *data)
        return replies.begun(reply, len(items))

    async def settle(self, inc: bytes, settled: Sequence[Settlement]) -> dict[int, str]:
        items, data = pack_settlements(list(settled))
        reply = await self._call("settle", inc, items, *data)
        return {reply[i] - 1: reply[i + 1].decode() for i in range(2, len(reply), 2)}

    async def extend(self, inc: bytes, id: bytes, fence: int) -> bool | None:
        reply = await self._call("extend", inc, id, fence)
        return None if reply[0] == b"stale" else bool(reply[2])

    async def release(self, items: Sequence[tuple[bytes, bytes, int]]) -> int:
        reply = await self._call("release", b"".join(_HELD_ITEM.pack(*item) for item in items))
        return int(reply[2])

    async def deregister(self, inc: bytes) -> int:
        returned = 0
        while True:
            reply = await self._call("deregister", inc, 200)
            returned += int(reply[2])
            if reply[0] != b"more":
                return returned

    # -- the poller's duties

    async def dispatch(self, limit: int) -> Dispatched:
        return replies.dispatched(await self._call("dispatch", limit))

    async def promote(self, limit: int) -> Promoted:
        reply = await self._call("promote", limit)
        return Promoted(int(reply[2]), int(reply[3]), int(reply[4]))

    async def reap(self, gap_ms: int, page: int) -> Reaped:
        run_id = await self._current_run_id()
        reply = await self._call("reap", run_id, gap_ms, page)
        return Reaped(reply[0] == b"grace", int(reply[2]), int(reply[3]), int(reply[4]), bool(reply[5]))

    async def sweep(self, cursor: str, limit: int) -> tuple[str, int]:
        reply = await self._call("sweep", cursor, limit)
        return reply[2].decode(), int(reply[3])

    async def trim(self, limit: int) -> tuple[int, bool]:
        reply = await self._call("purge", limit)
        return int(reply[2]), bool(reply[3])

    async def wait_work(self, timeout: float) -> bool:
        return await self._pop(self.keys.key("wake"), timeout)

    async def await_turn(self, inc: bytes, request: int, want: int, timeout: float) -> Turn:
        reply = await self._wait_and_run(timeout, "claim", inc, request, want)
        return await self.turn(inc, request, want, ()) if reply is None else replies.turn(reply)

    async def await_dispatch(self, limit: int, timeout: float) -> Dispatched:
        reply = await self._wait_and_run(timeout, "dispatch", limit)
        return await self.dispatch(limit) if reply is None else replies.dispatched(reply)

    async def _wait_and_run(self, timeout: float, name: str, *args: Argument) -> Any:
        """Waits for a wake token and runs a script, in one trip; None when it has not run and the caller shall call it.
        Redis keeps what follows a blocking command until that is over, and then goes on with it at once."""
        waiter = self._waiting()
        if self._config is None or not isinstance(waiter, Wire):
            await self.wait_work(timeout)
            return None
        pop = ("BLPOP", self.keys.key("wake"), min(timeout, _LONGEST_WAIT / 2))
        reply = await self._command(waiter.execute_both, pop, self._calls.command(name, self._hash, *args))
        return None if reply is None or reply[0] in (b"conf", b"schema") else reply

    async def wait_tend(self, timeout: float) -> bool:
        return await self._pop(self.keys.key("wake_tend"), timeout)

    async def _pop(self, key: str, timeout: float) -> bool:
        waiter = self._waiting()
        execute = waiter.execute if isinstance(waiter, Wire) else waiter.execute_command
        return bool(await self._command(execute, "BLPOP", key, min(timeout, _LONGEST_WAIT / 2)))

    def _waiting(self) -> AnyRedis | Wire:
        """Connections of their own for what blocks, so that no other call waits behind it."""
        if self._waiter is None:
            client = connect(self.server, timeout=None)
            self._waiter = client if self.cluster else Wire(client, timeout=_LONGEST_WAIT)
        return self._waiter

    # -- dead letters, statistics

    async def ended(self, state: State, offset: int, limit: int) -> list[tuple[bytes, int]]:
        key = self.keys.key(_FINAL_KEYS[state])
        rows = await self._command(self._client.zrevrange, key, offset, offset + limit - 1, withscores=True)
        return [(member, int(score)) for member, score in rows]

    async def replay(self, ids: Sequence[bytes]) -> list[str]:
        return [code for chunk in _chunks(ids) for code in _codes(await self._call("replay", *chunk))]

    async def purge(self, ids: Sequence[bytes]) -> int:
        await self._letters.read()
        purged = sum([int((await self._call("purge", len(chunk), *chunk))[2]) for chunk in _chunks(ids)])
        states = await self.browse.states(ids)
        await self._letters.erase([id for id, state in zip(ids, states, strict=True) if state is None])
        return purged

    async def stats(self) -> QueueStats:
        reply = await self._call("stats")
        return replies.stats(reply, await self.config())

    async def depth(self, soon_ms: int) -> Depth:
        return replies.depth(await self._call("depth", soon_ms))

    # -- the outbox

    async def lease_relay(self, owner: str, ms: int) -> bool:
        return bool(await self._calls.call("lease", owner, ms))

    async def outbox(self, limit: int) -> tuple[list[OutboxEntry], int]:
        gap = int(await self._command(self._client.hget, self.keys.key("meta"), "outbox_gap") or 0)
        rows = await self._command(self._client.xrange, self.keys.key("outbox"), count=limit)
        return [replies.outbox_entry(entry, fields) for entry, fields in rows], gap

    async def relayed(self, owner: str, entries: Sequence[OutboxEntry], gap: int) -> int:
        size = sum(entry.size for entry in entries)
        return int(await self._calls.call("relayed", owner, size, gap, *(entry.entry for entry in entries)))

    async def append_log(self, stream: str, records: Sequence[bytes], cap: int) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for record in records:
                pipe.xadd(self.keys.log(stream), {"r": record}, maxlen=cap, approximate=True)
            await self._command(pipe.execute)

    async def check_server(self) -> list[str]:
        return list(await self._command(check_server, self._client, await self.config()))

    async def ensure_scripts(self) -> dict[str, list[str]]:
        """Loads the scripts on every primary that lacks any. Returns, by primary (HOST:PORT), the names of those that
        were missing; empty when all had all. Calls load what is missing by themselves; this makes it seen.

        Raises:
            Unavailable: Redis is away, or refused.
        """
        return dict(await self._command(load_scripts, self._client))

    async def erase(self) -> int:
        """Deletes everything that Redis has of this queue, its configuration included, and returns how many keys that
        were. For a queue that nobody uses any more: what still runs on it would write again.

        Raises:
            Unavailable: Redis is away, or refused; what is left goes with the next call.
        """
        erased = int(await self._command(erase_keys, self._client, self.keys))
        self._config, self._hash = None, ""
        return erased

    async def done_feed(self) -> AsyncIterator[tuple[bytes, State]]:
        async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await self._command(pubsub.subscribe, self.keys.done_channel)
            while True:
                message = await self._command(pubsub.get_message, timeout=1.0)
                if message is None:
                    continue
                blob = message["data"]
                state = State(blob[0])
                for i in range(1, len(blob), ID_BYTES):
                    yield blob[i : i + ID_BYTES], state

    async def _command(self, command: Any, *args: Any, **options: Any) -> Any:
        """A plain command, with its errors in Laneway's terms; None for a script that the server does not know."""
        try:
            return await command(*args, **options)
        except NoScriptError:
            return None
        except AWAY as error:
            raise self._turned_away(error) or Unavailable(f"Redis is away ({error})", 1.0) from error
        except RedisError as error:
            raise self._turned_away(error) or Unavailable(f"Redis refused: {error}", 1.0) from error

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        await self._replication.close()
        await self.events.close()
        await self._client.aclose()
        if isinstance(self._waiter, Wire):
            await self._waiter.close()
        elif self._waiter is not None:
            await self._waiter.aclose()


def _chunks(ids: Sequence[bytes]) -> list[Sequence[bytes]]:
    """As many ids as one script call takes in about a millisecond."""
    return [ids[i : i + _IDS] for i in range(0, len(ids), _IDS)]


def _codes(reply: list[Any]) -> list[str]:
    return [code.decode() for code in reply[2:]]


def _schema_message(stored: bytes) -> str:
    return (
        f"the queue's data has schema {stored.decode()}, and this Laneway knows up to {SCHEMA}: "
        "run a version at least as new as the one that wrote it"
    )
