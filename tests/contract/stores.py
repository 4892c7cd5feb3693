"""Stores under test, all on a clock that the test moves: memory, and Redis with such a clock in its scripts.

The scripts know one clock, the call of TIME in ``lua/lib/base.lua``. Here that line is replaced by one that
reads the clock of the test from a field beside the queue's other numbers, so that nothing waits or depends on luck.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.adapters.redis import RedisStore, calls, scripts
from laneway.kit.ids import ID_BYTES, new_incarnation, new_task_id
from laneway.model.config import QueueConfig, TenantConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.ports.store import Claimed, TaskStore, TaskView

_TIME = "local time = call('TIME')"
_TEST_TIME = "local time = call('HMGET', META, 'test_s', 'test_us')"
FINAL_SETS = {
    "succeeded": State.SUCCEEDED,
    "dead": State.DEAD,
    "cancelled": State.CANCELLED,
    "expired": State.EXPIRED,
}
EMPTY = b"\x80"  # a payload: an empty map
FAST = {"lease_ms": 1000, "beat_ms": 200, "dispatch_ms": 500, "keep_least_ms": 0}


def on_test_time(script: scripts.Script) -> scripts.Script:
    """The script with the test's clock in place of Redis TIME."""
    readable = script.readable.replace(_TIME, _TEST_TIME)
    source = scripts.fold(readable)
    return replace(
        script, readable=readable, source=source, sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    )


@cache
def load_on_test_time(name: str) -> scripts.Script:
    """As ``scripts.load``, with the test's clock."""
    return on_test_time(scripts.load(name))


class Bench:
    """A store, its clock, and short ways to do what tests do often.

    ``moment``: how long to wait (s) for what is there already.
    """

    moment = 0.0

    def __init__(self, store: TaskStore, clock: VirtualClock) -> None:
        self.store = store
        self.clock = clock
        self.request = 0

    async def configure(self, tenants: dict[str, TenantConfig] | None = None, **fields: Any) -> QueueConfig:
        """Writes a configuration with short times; ``fields`` are those of QueueConfig."""
        config = QueueConfig(**{**FAST, **fields})
        assert await self.store.configure(config, tenants or {}, expected=None)
        return config

    async def advance(self, ms: float) -> None:
        """Moves the clock."""
        self.clock.advance(ms)
        await self.told_time()

    async def told_time(self) -> None:
        """Lets the store know the time."""

    async def woken(self) -> bool:
        """Whether a wake token lies there; takes it."""
        return await self.store.wait_work(self.moment)

    async def tend_woken(self) -> bool:
        """Whether there is news to the poller's duties; takes it."""
        return await self.store.wait_tend(self.moment)

    async def quiet(self) -> None:
        """Takes all wake tokens that lie there."""
        while await self.woken():
            pass
        while await self.tend_woken():
            pass

    # -- submitters

    async def submit(self, **fields: Any) -> bytes:
        """Submits one task, which must be accepted; ``fields`` as of :func:`envelope`."""
        id = fields.pop("id", None) or new_task_id()
        (result,) = await self.store.submit([(id, envelope(**fields))])
        assert result.code == "accepted", result
        return id

    async def submit_many(self, n: int, **fields: Any) -> list[bytes]:
        """Submits tasks one after the other."""
        return [await self.submit(**fields) for _ in range(n)]

    async def view(self, id: bytes) -> TaskView:
        """What is known of a task that must exist."""
        (view,) = await self.store.get([id])
        assert view is not None
        return view

    async def state(self, id: bytes) -> State:
        """The state of a task that must exist."""
        return (await self.view(id)).state

    # -- workers

    async def worker(
        self,
        slots: int = 10,
        *,
        mode: str = "direct",
        window: int = 0,
        partitions: int = 0,
        name: str = "w",
        **more: Any,
    ) -> bytes:
        """Registers a worker and announces its slots."""
        inc = new_incarnation()
        await self.store.register(inc, name, mode, slots, window, partitions, **more)
        assert (await self.beat(inc, slots=slots, window=window)).status == "ok"
        return inc

    async def beat(
        self, inc: bytes, running: Sequence[bytes] = (), *, state: int = 2, slots: int = 10, window: int = 0
    ) -> Any:
        """One heartbeat."""
        return await self.store.heartbeat(inc, state, slots, window, running)

    async def claim(self, inc: bytes, want: int = 1, settled: Sequence[Settlement] = ()) -> list[Claimed]:
        """Claims with a new request number."""
        self.request += 1
        turn = await self.store.turn(inc, self.request, want, settled)
        assert turn.status == "ok", turn
        return turn.tasks

    async def claim_ids(self, inc: bytes, want: int = 1) -> list[bytes]:
        """Claims, and gives the ids in the order of the answer."""
        return [task.id for task in await self.claim(inc, want)]

    async def settle(self, inc: bytes, task: Claimed, kind: Kind, **fields: Any) -> None:
        """Settles one task, which must be accepted."""
        assert await self.store.settle(inc, [Settlement(kind, task.id, task.fence, **fields)]) == {}

    async def reap_after_grace(self, page: int = 100) -> Any:
        """Two ticks of a reaper that has been running all along, the second one a full lease after the first."""
        await self.store.reap(10_000, page)
        await self.advance(1001)
        return await self.store.reap(10_000, page)

    async def run_to_end(self, id: bytes, kind: Kind = Kind.COMPLETE) -> None:
        """Claims and settles until this task has ended (others that come first succeed)."""
        inc = await self.worker(1)
        for _ in range(100):
            (task,) = await self.claim(inc)
            await self.settle(inc, task, kind if task.id == id else Kind.COMPLETE)
            if task.id == id:
                break
        await self.store.deregister(inc)

    async def events(self) -> list[tuple[str, bytes]]:
        """All events that wait in the outbox: (kind, id)."""
        entries, _ = await self.store.outbox(1000)
        return [(entry.kind, id) for entry in entries for id in entry.ids]

    async def check(self) -> None:
        """Conservation, by the sizes of the real sets."""
        stats = await self.store.stats()
        assert stats.drift == 0, stats.counts

    async def close(self) -> None:
        """Closes the store."""
        await self.store.close()


class RedisBench(Bench):
    """The same over Redis."""

    store: RedisStore
    moment = 0.01  # 0 would mean for ever

    async def told_time(self) -> None:
        """Writes the clock to where the scripts read it."""
        us = self.clock.now_us()
        await self.store._client.hset(
            self.store.keys.key("meta"), mapping={"test_s": us // 1_000_000, "test_us": us % 1_000_000}
        )

    async def check(self) -> None:
        """Conservation, and by the keys themselves: every task in exactly one place, all numbers real."""
        await super().check()
        problems = await census(self.store)
        assert problems == [], problems


async def census(store: RedisStore, *, sizes: bool = True) -> list[str]:
    """What is wrong with a queue's keys: tasks in no place or in two, records or counts that disagree.

    ``sizes``: whether the bytes of ended tasks, which nothing mends after a failed call, are checked too.
    """
    client, key = store._client, store.keys.key
    config = await store.config()
    places: dict[bytes, list[str]] = {}

    async def note(name: str, members: list[bytes]) -> None:
        for member in members:
            places.setdefault(member[-ID_BYTES:], []).append(name)

    for lane in config.lanes:
        await note(f"lane {lane.name}", await client.zrange(store.keys.lane(lane.name), 0, -1))
    for name in ("scheduled", "parked", "held", *FINAL_SETS):
        await note(name, await client.zrange(key(name), 0, -1))
    tasks = await client.hgetall(key("tasks"))
    submitted, purged = int(tasks.pop(b"#", 0)), int(tasks.pop(b"#p", 0))
    problems = [f"{id.hex()} is in {where}" for id, where in places.items() if len(where) != 1 or id not in tasks]
    problems += [f"{id.hex()} is in no place" for id in tasks if id not in places]
    if submitted - purged != len(tasks):
        problems.append(f"{submitted} submitted, {purged} purged, but {len(tasks)} there")
    views = [view for view in await store.get(list(tasks)) if view is not None]
    wanted = {State.QUEUED: "lane", State.RUNNING: "held", State.DISPATCHED: "held"}
    running: dict[str, int] = {}
    size = 0
    for view in views:
        where = places.get(view.id, ["nowhere"])[0]
        if where.split()[0] != wanted.get(view.state, view.state.label):
            problems.append(f"{view.id.hex()} says {view.state.label}, and is in {where}")
        if where == "held" and view.record:
            for field in (f"l{view.record.lane}", f"t{view.record.tenant}"):
                running[field] = running.get(field, 0) + 1
        if view.state.final and view.state != State.DEAD and view.record:
            size += view.record.size
    told = {field[:ID_BYTES] for field in await client.hkeys(key("notes"))}
    problems += [f"{id.hex()} has notes, and is no task" for id in told if id not in tasks]
    counted = {k.decode(): int(v) for k, v in (await client.hgetall(key("running"))).items()}
    if not (config.overrides or config.tenant.max):  # nobody asks for the tenants' counts
        counted, running = ({k: n for k, n in counts.items() if k[0] == "l"} for counts in (counted, running))
    if counted != running:
        problems.append(f"running counts say {counted}, held are {running}")
    told = int(await client.hget(key("meta"), "finished_bytes") or 0)
    if sizes and told != size:
        problems.append(f"finished_bytes says {told}, ended tasks have {size}")
    return problems


def envelope(
    *,
    type: str = "t",
    payload: bytes = EMPTY,
    lane: int = 1,
    priority: int = 4,
    max_attempts: int = 3,
    tenant: str = "",
    delay_ms: float = 0.0,
    at_ms: float = 0.0,
    start_timeout_ms: int = 0,
    key: str | None = None,
) -> bytes:
    """An envelope as a submitter sends it."""
    return encode_envelope(
        Envelope(
            lane, priority, max_attempts, tenant, Body(type, payload),
            delay_ms=delay_ms, at_ms=at_ms, start_timeout_ms=start_timeout_ms, idempotency_key=key,
        )
    )  # fmt: skip


def error(message: str = "boom") -> bytes:
    """An error as a worker sends it."""
    return msgspec.msgpack.encode({"kind": "ValueError", "message": message, "at": 1})


async def redis_bench(url: str, monkeypatch: Any, *, cluster: bool = False) -> RedisBench:
    """A bench over an empty Redis, on test time."""
    monkeypatch.setattr(calls, "load", load_on_test_time)
    bench = RedisBench(RedisStore(url, "q", cluster=cluster), VirtualClock())
    await bench.told_time()
    return bench


def memory_bench() -> Bench:
    """A bench over memory."""
    clock = VirtualClock()
    return Bench(MemoryStore(clock), clock)
