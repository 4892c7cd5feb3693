"""One queue as the agent sees it: what was acknowledged, what of it has not ended, and a stream of submissions."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from queue_ledger import read_ledger, views_of
from submitting import Submissions, new_tasks

from laneway.adapters.kafka.admin import TopicAdmin
from laneway.adapters.redis import RedisStore
from laneway.errors import LanewayError, Unavailable
from laneway.kit.ids import id_bytes
from laneway.model.states import State
from laneway.model.topics import Topics
from laneway.ports.store import QueueStats

_LOOK_S = 0.2
_PAGE = 500
_STEP_S = 0.1


class WatchedQueue:
    """Makes sure that what it is told was acknowledged is seen to end."""

    def __init__(self, queue: str, namespace: str, redis: str, kafka: str, key: str) -> None:
        self.queue = queue
        self._namespace = namespace
        self._redis = redis
        self._kafka = kafka
        self._store = RedisStore(redis, queue, namespace=namespace)
        self._submissions = Submissions(f"laneway-{queue}.{namespace}.svc", queue, key, self._note)
        self._accepted: list[bytes] = []
        self._open: dict[bytes, int] = {}
        self._last_end = 0.0
        self._watcher = asyncio.create_task(self._watch())
        self._stream: asyncio.Task[None] | None = None
        self._streaming = False

    def _note(self, ids: Sequence[str]) -> None:
        for id_ in map(id_bytes, ids):
            self._open[id_] = len(self._accepted)
            self._accepted.append(id_)

    async def _watch(self) -> None:
        """Looks at the oldest of what has not ended. While the server is away, again later."""
        while True:
            page = list(self._open)[:_PAGE]
            ended = 0
            with contextlib.suppress(LanewayError):
                for id_, view in (await views_of(self._store, page)).items():
                    # One that is gone has been lost: the ledger tells of it, and nobody needs to wait for it.
                    if view is None or view.state.final:
                        del self._open[id_]
                        ended += 1
            if ended:
                self._last_end = time.monotonic()
            if ended < _PAGE // 2:
                await asyncio.sleep(_LOOK_S)

    # -- what the agent is asked for

    async def ask(self, method: str, path: str, key: str | None) -> dict[str, Any]:
        """The status of one request to the gateway, with this key or without any."""
        return {"status": await asyncio.to_thread(self._submissions.ask, method, path, key)}

    async def submit(self, type: str, payloads: list[dict[str, Any]], timeout: float, **fields: Any) -> dict[str, Any]:
        """Returns once all are acknowledged."""
        began = time.monotonic()
        await self._submissions.submit(new_tasks(type, payloads, **fields), timeout)
        return {"count": len(payloads), "seconds": time.monotonic() - began}

    async def start_stream(self, type: str, rate: float, payload: dict[str, Any]) -> dict[str, Any]:
        """Submits `rate` tasks a second from now on."""
        assert self._stream is None, "a stream runs already"
        self._streaming = True
        self._stream = asyncio.create_task(self._run_stream(type, rate, payload))
        return {}

    async def _run_stream(self, type: str, rate: float, payload: dict[str, Any]) -> None:
        began, made = time.monotonic(), 0
        unsent: list[dict[str, Any]] = []
        while self._streaming or unsent:
            if self._streaming:
                due = int((time.monotonic() - began) * rate)
                unsent += new_tasks(type, [payload] * (due - made))
                made = due
            unsent = await self._submissions.offer(unsent)
            await asyncio.sleep(_STEP_S)

    async def stop_stream(self, timeout: float) -> dict[str, Any]:
        """No new ones; returns once all that there were are acknowledged."""
        assert self._stream is not None, "no stream runs"
        self._streaming = False
        async with asyncio.timeout(timeout):
            await self._stream
        self._stream = None
        return {"accepted": len(self._accepted), "refusals": self._submissions.refusals}

    async def mark(self) -> dict[str, Any]:
        """What has been acknowledged up to now, for `recovered`."""
        assert self._stream is None or not self._stream.done(), "the stream has broken off"
        return {"accepted": len(self._accepted), "open": len(self._open), "at": time.monotonic()}

    async def recovered(self, accepted: int, at: float, type: str, timeout: float) -> dict[str, Any]:
        """Waits until all that was acknowledged before the mark has ended, and a task submitted now too; in how many
        seconds since the mark."""
        async with asyncio.timeout(timeout):
            (task,) = new_tasks(type, [{}])
            await self._submissions.submit([task], timeout)
            probe = time.monotonic() - at
            new = id_bytes(task["id"])
            while new in self._open or any(number < accepted for number in self._open.values()):
                assert not self._watcher.done(), f"the watcher broke off: {self._watcher!r}"
                await asyncio.sleep(_STEP_S / 2)
        return {"seconds": time.monotonic() - at, "acknowledged_s": probe}

    async def listening(self, address: str, at: float, timeout: float) -> dict[str, Any]:
        """Waits until a server that was killed takes connections again; in how many seconds since the mark."""
        host, _, port = address.rpartition(":")
        away = False
        async with asyncio.timeout(timeout):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except OSError:
                    away = True
                else:
                    writer.close()
                    # (One that is just being killed may still take a connection.)
                    if away:
                        return {"seconds": time.monotonic() - at}
                await asyncio.sleep(_STEP_S / 5)

    async def settled(self, timeout: float) -> dict[str, Any]:
        """Waits until all that was acknowledged has ended."""
        began = time.monotonic()
        while self._open:
            assert not self._watcher.done(), f"the watcher broke off: {self._watcher!r}"
            if time.monotonic() - began > timeout:
                stats = await self._stats()
                counts = {name: n for name, n in stats.counts.items() if n}
                raise AssertionError(f"{len(self._open)} tasks have not ended after {timeout:g} s; the queue: {counts}")
            await asyncio.sleep(_STEP_S / 2)
        return {"seconds": time.monotonic() - began, "ago": time.monotonic() - self._last_end}

    async def wake(self, type: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Submits one task: after how many seconds it was acknowledged, seen to run, and seen to have ended."""
        (task,) = new_tasks(type, [payload])
        began = time.monotonic()
        await self._submissions.submit([task], timeout)
        acknowledged, started = time.monotonic() - began, None
        while time.monotonic() - began < timeout:
            (view,) = (await views_of(self._store, [id_bytes(task["id"])])).values()
            if view is not None and started is None and (view.state is State.RUNNING or view.state.final):
                started = time.monotonic() - began
            if view is not None and view.state.final:
                return {"acknowledged_s": acknowledged, "started_s": started, "ended_s": time.monotonic() - began}
            await asyncio.sleep(0.01)
        raise AssertionError(f"task {task['id']} had not ended after {timeout:g} s")

    async def result(self, type: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Submits one task and waits for what its handler returns."""
        (task,) = new_tasks(type, [payload])
        await self._submissions.submit([task], timeout)
        view = await self._store.wait_ended(id_bytes(task["id"]), timeout)
        assert view is not None, f"task {task['id']} had not ended after {timeout:g} s"
        return {"state": view.state.label, "result": msgspec.msgpack.decode(view.result) if view.result else None}

    async def counts(self) -> dict[str, Any]:
        """The queue's sizes by state."""
        return dict((await self._stats()).counts)

    async def _stats(self) -> QueueStats:
        """The queue's sizes. A connection that broke with its server is found out by who uses it next: once more."""
        try:
            return await self._store.stats()
        except Unavailable:
            return await self._store.stats()

    async def topics(self) -> dict[str, Any]:
        """Which of the queue's topics Kafka has."""
        names = Topics.of(self._namespace, self.queue)
        admin = TopicAdmin(self._kafka)
        try:
            return {"topics": sorted(await admin.describe([names.tasks, names.events, names.dead]))}
        finally:
            await admin.close()

    async def ledger(self, timeout: float) -> dict[str, Any]:
        """The account of all that was acknowledged, once the relay has told all events."""
        deadline = time.monotonic() + timeout
        while (await self._stats()).outbox_entries and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_STEP_S)
        return await read_ledger(
            self._store, self._redis, self._kafka, self._namespace, self.queue, list(self._accepted)
        )
