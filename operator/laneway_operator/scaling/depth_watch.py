"""Looks each second how deep the queues with scaled pools are: one round trip per Redis server.

A server that hangs holds up nobody else: each is read by a task of its own, and skipped while that is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from laneway.adapters.redis.depths import DepthReader, QueueName
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.model.servers import RedisServer
from laneway.ports.store import Depth
from laneway_operator.keys import ObjectKey
from laneway_operator.scaling.rules import SOON_MS
from laneway_operator.scaling.servers import QueueServers

_log = get_logger(__name__)

INTERVAL_S: Final = 1.0
#: Where a queue's Redis is is asked again this often: its password may be another by now.
_LOOK_AGAIN_S: Final = 60.0
#: After a failed reading sooner.
_LOOK_AGAIN_FAILED_S: Final = 5.0
#: So many servers' addresses are looked up at once.
_LOOKUPS: Final = 8


@dataclass(slots=True)
class Reading:
    """What is known of a queue's depth: the last good one and when it was read (s of the watch's clock), and what went
    wrong since ("": nothing)."""

    depth: Depth | None = None
    at: float = float("-inf")
    trouble: str = ""


@dataclass(slots=True)
class _Watched:
    reading: Reading = field(default_factory=Reading)
    read: asyncio.Event = field(default_factory=asyncio.Event)
    server: RedisServer | None = None
    generation: object = None
    look_at: float = float("-inf")
    looking: bool = False


class DepthWatch(Service):
    """Reads the depths of the queues that were asked for by :meth:`watch`.

    ``on_read`` hears which queues have just been read, or could not be; ``count`` of each reading of a server (its
    result: ok or failed). Times are in seconds.
    """

    def __init__(
        self,
        servers: QueueServers,
        on_read: Callable[[list[ObjectKey]], None],
        *,
        interval: float = INTERVAL_S,
        count: Callable[[str], None] = lambda result: None,
        health: Health | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("depth-watch", health=health, allowed_silence=30.0, clock=clock)
        self._servers = servers
        self._on_read = on_read
        self._interval = interval
        self._count = count
        self._now = clock
        self._watched: dict[ObjectKey, _Watched] = {}
        self._readers: dict[RedisServer, DepthReader] = {}
        self._reading: set[RedisServer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._soon = asyncio.Event()
        self._lookups = asyncio.Semaphore(_LOOKUPS)

    # -- who is watched

    def watch(self, queue: ObjectKey) -> None:
        """Reads this queue from now on, the first time at once."""
        if queue not in self._watched:
            self._watched[queue] = _Watched()
            self._soon.set()

    def unwatch(self, queue: ObjectKey) -> None:
        """Reads this queue no more."""
        self._watched.pop(queue, None)

    def reading(self, queue: ObjectKey) -> Reading:
        """What is known of a queue's depth now."""
        watched = self._watched.get(queue)
        return watched.reading if watched is not None else Reading(trouble="it is not watched")

    async def first(self, queue: ObjectKey, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds until a watched queue was read, or could not be, for the first time."""
        watched = self._watched.get(queue)
        if watched is None:
            return False
        try:
            async with asyncio.timeout(timeout):
                await watched.read.wait()
        except TimeoutError:
            return False
        return True

    # -- the loop

    async def run(self) -> None:
        """Looks, until told to stop."""
        due = self._now()
        while not self.stopping:
            everything = self._now() >= due
            if everything:
                due = self._now() + self._interval
            self._soon.clear()
            self._round(everything)
            self.touch()
            await self._wait(max(0.01, due - self._now()))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._soon.wait()
        except TimeoutError:
            return
        # Pools come by the hundred when a process begins to lead: those of a moment are read together.
        await asyncio.sleep(0.02)

    def _round(self, everything: bool) -> None:
        """Begins to read all queues, or just those that were never read yet."""
        now = self._now()
        by_server: dict[RedisServer, list[ObjectKey]] = {}
        for queue, watched in self._watched.items():
            if not watched.looking and self._must_look(queue, watched, now):
                watched.looking = True
                self._go(self._look(queue, watched))
            if watched.server is not None and (everything or not watched.read.is_set()):
                by_server.setdefault(watched.server, []).append(queue)
        if everything:
            for server in self._readers.keys() - by_server.keys() - self._reading:
                self._go(self._readers.pop(server).close())
        for server, queues in by_server.items():
            if server not in self._reading:
                self._reading.add(server)
                self._go(self._read(server, queues))

    def _must_look(self, queue: ObjectKey, watched: _Watched, now: float) -> bool:
        return now >= watched.look_at or watched.generation != self._servers.generation(queue)

    async def _look(self, queue: ObjectKey, watched: _Watched) -> None:
        """Finds out where the queue's Redis is."""
        generation = self._servers.generation(queue)
        try:
            async with self._lookups:
                server = await self._servers.redis(queue)
        except Exception as error:
            # Whatever it is (a Secret that is missing, an API server that is away): the queue can't be read now.
            watched.look_at = self._now() + _LOOK_AGAIN_FAILED_S
            if watched.server is None:
                self._failed(queue, watched, str(error))
                self._on_read([queue])
        else:
            watched.look_at = self._now() + _LOOK_AGAIN_S
            if watched.server != server:
                watched.server = server
                self._soon.set()
        finally:
            watched.generation = generation
            watched.looking = False

    async def _read(self, server: RedisServer, queues: list[ObjectKey]) -> None:
        try:
            reader = self._readers.get(server)
            if reader is None:
                reader = self._readers[server] = DepthReader(server)
            names = {QueueName(queue.namespace, queue.name): queue for queue in queues}
            found = await reader.read(names, SOON_MS)
            now, bad = self._now(), 0
            for name, read in found.items():
                watched = self._watched.get(names[name])
                if watched is None:
                    continue
                if isinstance(read, Depth):
                    watched.reading = Reading(read, now)
                    watched.read.set()
                else:
                    bad += 1
                    self._failed(names[name], watched, str(read))
            self._count("failed" if bad else "ok")
        except Exception as error:
            self._count("failed")
            for queue in queues:
                if (watched := self._watched.get(queue)) is not None:
                    self._failed(queue, watched, str(error))
        finally:
            self._reading.discard(server)
        if any(watched.server == server and not watched.read.is_set() for watched in self._watched.values()):
            self._soon.set()  # it came while this was under way
        self._on_read(queues)

    def _failed(self, queue: ObjectKey, watched: _Watched, trouble: str) -> None:
        if not watched.reading.trouble:
            _log.warning("a queue's depth can't be read", queue=f"{queue.namespace}/{queue.name}", error=trouble)
        last = watched.reading
        watched.reading = Reading(last.depth, last.at, trouble or "for an unknown reason")
        watched.look_at = min(watched.look_at, self._now() + _LOOK_AGAIN_FAILED_S)
        watched.read.set()

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def on_stop(self) -> None:
        """Ends what is under way, and closes connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for reader in self._readers.values():
            await reader.close()
        self._readers.clear()
