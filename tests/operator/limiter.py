"""What Redis holds of a queue, as tests look at it and break it, without an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.scripts import all_names, load
from laneway.errors import ConfigError
from laneway.kit.ids import new_incarnation
from laneway.model.config import QueueConfig, config_hash, encode_config
from laneway.model.servers import RedisServer
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import Claimed
from laneway.submit import NewTask, Receipt, Submitter

_T = TypeVar("_T")


class Limiter:
    """One queue in one Redis. Each call has connections of its own."""

    def __init__(self, server: RedisServer | str, namespace: str, queue: str) -> None:
        self._server = server
        self._namespace = namespace
        self._queue = queue

    def config(self) -> QueueConfig | None:
        """The live configuration, or None."""

        async def read(store: RedisStore) -> QueueConfig | None:
            try:
                return await store.config(reload=True)
            except (ConfigError, msgspec.DecodeError, msgspec.ValidationError):
                return None

        return self._call(read)

    def scripts_there(self) -> bool:
        """Whether Redis has all scripts."""

        async def look(store: RedisStore) -> bool:
            shas = [load(name).sha for name in all_names()]
            return all(await store._client.execute_command("SCRIPT EXISTS", *shas))

        return self._call(look)

    def edit(self, *, whole: bool, **changes: object) -> None:
        """Changes the configuration by hand: ``whole`` with its hash and parts, as a program would; else the document
        alone, as somebody with redis-cli would."""

        async def change(store: RedisStore) -> None:
            edited = msgspec.structs.replace(await store.config(reload=True), **changes)
            if whole:
                assert await store.configure(edited, {}, expected=None)
            else:
                await store._client.set(store.keys.key("conf"), encode_config(edited))

        self._call(change)

    def write(self, config: QueueConfig) -> None:
        """A configuration, as another operator would write it."""

        async def change(store: RedisStore) -> None:
            assert await store.configure(config, {}, expected=None)

        self._call(change)

    def break_document(self) -> None:
        """Puts what is no configuration at all in its place."""

        async def change(store: RedisStore) -> None:
            await store._client.set(store.keys.key("conf"), b"\xc1 no msgpack")

        self._call(change)

    def lose_document(self) -> None:
        """Deletes the document, and leaves its hash."""
        self._call(lambda store: store._client.delete(store.keys.key("conf")))

    def lose_tenants(self) -> None:
        """Deletes what tenants have of their own."""
        self._call(lambda store: store._client.delete(store.keys.key("tenants")))

    def tenants(self) -> set[str]:
        """Tenants that have settings of their own."""
        found = self._call(lambda store: store._client.hkeys(store.keys.key("tenants")))
        return {name.decode() for name in found}

    def parts_agree(self) -> bool:
        """Whether document and hash belong together."""

        async def look(store: RedisStore) -> bool:
            raw = await store._client.get(store.keys.key("conf"))
            hash = await store._client.hget(store.keys.key("meta"), "conf")
            return bool(raw is not None and hash == config_hash(raw).encode())

        return self._call(look)

    def counts(self) -> dict[str, int]:
        """Tasks by state."""

        async def look(store: RedisStore) -> dict[str, int]:
            return dict((await store.stats()).counts)

        return self._call(look)

    def keys(self) -> int:
        """How many keys the queue has."""

        async def look(store: RedisStore) -> int:
            return len([key async for key in store._client.scan_iter(match=store.keys.prefix + "*")])

        return self._call(look)

    def submit(self) -> None:
        """A task for the queue's default lane."""

        async def send(store: RedisStore) -> None:
            (result,) = await Submitter(store).submit_many([NewTask(type="charge")])
            assert isinstance(result, Receipt), result

        self._call(send)

    def start(self) -> tuple[bytes, Claimed] | None:
        """A task runs now, on a worker that nobody else knows; None: there is none that may start."""

        async def claim(store: RedisStore) -> tuple[bytes, Claimed] | None:
            inc = new_incarnation()
            await store.register(inc, "w", "direct", 1, 1, 0)
            await store.heartbeat(inc, 2, 1, 1, [])
            turn = await store.turn(inc, 1, 1, [])
            return (inc, turn.tasks[0]) if turn.tasks else None

        return self._call(claim)

    def end(self, held: tuple[bytes, Claimed]) -> None:
        """The task has ended well."""

        async def settle(store: RedisStore) -> None:
            inc, task = held
            assert await store.settle(inc, [Settlement(Kind.COMPLETE, task.id, task.fence)]) == {}

        self._call(settle)

    def _call(self, call: Callable[[RedisStore], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            store = RedisStore(self._server, self._queue, namespace=self._namespace)
            try:
                return await call(store)
            finally:
                await store.close()

        return asyncio.run(run())
