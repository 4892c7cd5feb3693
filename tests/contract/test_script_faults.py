"""Every script is failed at each of its calls (a Lua error does not roll back), and then life goes on.

After the failure the caller repeats the call, or never comes back; workers die and are reaped, the poller's duties
run, and a new worker takes what there is. Then every task must have ended exactly once, and nothing may be left over.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
from redis.exceptions import ResponseError
from tests.contract.stores import RedisBench, VirtualClock, census, envelope, error, load_on_test_time

from laneway.adapters.redis import RedisStore, calls, scripts
from laneway.kit.ids import new_incarnation, new_task_id, new_task_ids
from laneway.model.config import Keep, Kept, LaneConfig, TenantConfig
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.ports.actions import Revision
from servers.redis import RedisServer

pytestmark = pytest.mark.asyncio

_CALL = "local call = redis.call\n"
_FAILING = """local calls_left = tonumber(redis.call('HGET', META, 'test_fault'))
local call = function(...)
  calls_left = calls_left - 1
  if calls_left == 0 then error('a fault made by a test') end
  return redis.call(...)
end
"""
_MOST_CALLS = 200


class FaultyLoader:
    """Loads scripts; the one that is armed fails at the call whose number stands beside the queue's others."""

    def __init__(self) -> None:
        self.armed: str | None = None

    def __call__(self, name: str) -> scripts.Script:
        return _load_failing(name) if self.armed == name else load_on_test_time(name)


@cache
def _load_failing(name: str) -> scripts.Script:
    script = load_on_test_time(name)
    assert _CALL in script.readable, f"lua/{name}.lua does not use call() from base"
    source = scripts.fold(script.readable.replace(_CALL, _FAILING))
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return replace(script, source=source, sha=sha)


@dataclass
class Plan:
    """What a scenario does: the call that fails (and may be repeated), and the states it must lead to then."""

    operate: Callable[[], Awaitable[Any]]
    expected: dict[bytes, State] = field(default_factory=dict)
    forgotten: set[bytes] = field(default_factory=set)


class Ground:
    """The bench of one run, and its ledger: which tasks were acknowledged, and which a worker completed."""

    def __init__(self, bench: RedisBench) -> None:
        self.bench = bench
        self.store: RedisStore = bench.store
        self.ids: set[bytes] = set()

    async def submit(self, n: int = 1, **fields: Any) -> list[bytes]:
        ids = new_task_ids(n)
        sent = envelope(**{"max_attempts": 9, **fields})
        assert {r.code for r in await self.store.submit([(id, sent) for id in ids])} == {"accepted"}
        self.ids |= set(ids)
        return ids

    async def running(self, n: int, **fields: Any) -> tuple[bytes, list[Any]]:
        ids = await self.submit(n, **fields)
        inc = await self.bench.worker(30)
        tasks = await self.bench.claim(inc, n)
        assert {task.id for task in tasks} == set(ids)
        return inc, tasks

    async def parked(self, tenant: str = "a") -> tuple[bytes, list[Any], list[bytes]]:
        """A tenant with two running tasks (its limit) and two parked ones."""
        ids = await self.submit(4, tenant=tenant)
        inc = await self.bench.worker(30)
        tasks = await self.bench.claim(inc, 30)
        assert [task.id for task in tasks] == ids[:2]
        return inc, tasks, ids[2:]

    async def dead(self, **fields: Any) -> bytes:
        inc, (task,) = await self.running(1, **fields)
        await self.bench.settle(inc, task, Kind.DEAD, data=error())
        await self.store.deregister(inc)
        return task.id

    async def dispatched(self, n: int, **fields: Any) -> tuple[bytes, list[Any]]:
        await self.submit(n, **fields)
        inc = await self.bench.worker(10, mode="kafka", window=10, partitions=4)
        got = await self.store.dispatch(n)
        assert len(got.tasks) == n
        return inc, [task for _, _, task in got.tasks]


async def submit(g: Ground) -> Plan:
    await g.parked()
    sent = {
        new_task_id(): envelope(**fields)
        for fields in (
            {}, {"key": "k"}, {"start_timeout_ms": 900_000}, {"delay_ms": 50.0}, {"tenant": "a"},
            {"tenant": "a", "key": "k2", "start_timeout_ms": 900_000}, {"lane": 2, "priority": 9},
        )
    }  # fmt: skip

    async def operate() -> None:
        results = await g.store.submit(list(sent.items()))
        assert all(r.code in ("accepted", "duplicate") and r.id in sent for r in results), results
        g.ids |= set(sent)

    return Plan(operate)


def _outcomes(tasks: list[Any]) -> tuple[list[Settlement], dict[bytes, State]]:
    kinds = (Kind.COMPLETE, Kind.RETRY, Kind.SNOOZE, Kind.DEAD, Kind.CANCEL, Kind.RELEASE, Kind.EXPIRE)
    states = (State.SUCCEEDED, State.SCHEDULED, State.SCHEDULED, State.DEAD, State.CANCELLED, None, State.EXPIRED)
    batch = [
        Settlement(kind, task.id, task.fence, delay_ms=20.0, data=b"\x01" if kind is Kind.COMPLETE else error())
        for kind, task in zip(kinds, tasks, strict=False)
    ]
    expected = {task.id: state for state, task in zip(states, tasks, strict=False) if state is not None}
    return batch, expected


async def settle(g: Ground) -> Plan:
    inc, tasks = await g.running(7, key=None)
    first, (a, _), _ = await g.parked()
    batch, expected = _outcomes(tasks)

    async def operate() -> None:
        await g.store.settle(inc, batch)
        await g.store.settle(first, [Settlement(Kind.COMPLETE, a.id, a.fence)])

    return Plan(operate, {**expected, a.id: State.SUCCEEDED})


async def settle_keys(g: Ground) -> Plan:
    (keyed,) = await g.submit(key="k", start_timeout_ms=900_000)
    inc = await g.bench.worker(5)
    (task,) = await g.bench.claim(inc, 5)
    await g.store.cancel([keyed])

    async def operate() -> None:
        await g.store.settle(inc, [Settlement(Kind.CANCEL, task.id, task.fence, data=error())])

    return Plan(operate, {keyed: State.CANCELLED})


async def turn(g: Ground) -> Plan:
    inc, tasks = await g.running(7)
    batch, expected = _outcomes(tasks)
    await g.parked()
    await g.submit(3)
    await g.submit(3, tenant="a")

    async def operate() -> None:
        await g.store.turn(inc, 500, 4, batch)

    return Plan(operate, expected)


async def claim(g: Ground) -> Plan:
    (late,) = await g.submit(lane=2, priority=9, start_timeout_ms=10)
    ids = await g.submit(3, lane=2)
    ids += await g.submit(1, start_timeout_ms=900_000)
    await g.submit(5, tenant="a")
    inc = await g.bench.worker(12)
    await g.bench.advance(10)

    async def operate() -> None:
        await g.store.turn(inc, 1, 20, [])

    return Plan(operate, {late: State.EXPIRED})


async def dispatch(g: Ground) -> Plan:
    (late,) = await g.submit(priority=9, start_timeout_ms=10)
    await g.submit(3, start_timeout_ms=900_000)
    await g.submit(4, tenant="a")
    for _ in range(2):
        await g.bench.worker(4, mode="kafka", window=4, partitions=2)
    await g.bench.advance(10)

    async def operate() -> None:
        await g.store.dispatch(20)

    return Plan(operate, {late: State.EXPIRED})


async def start(g: Ground) -> Plan:
    inc, tasks = await g.dispatched(3, start_timeout_ms=100)
    more, fine = await g.dispatched(2)
    await g.bench.advance(100)

    async def operate() -> None:
        await g.store.start(inc, [(task.id, task.fence) for task in tasks])
        await g.store.start(more, [(task.id, task.fence) for task in fine])

    return Plan(operate, {**{t.id: State.EXPIRED for t in tasks}, **{t.id: State.RUNNING for t in fine}})


async def begin(g: Ground) -> Plan:
    inc = await g.bench.worker(12, mode="kafka", window=12, partitions=2)
    await g.submit(9)
    tasks = [task for _, _, task in (await g.store.dispatch(9)).tasks]
    await g.store.start(inc, [(task.id, task.fence) for task in tasks[:7]])
    batch, expected = _outcomes(tasks[:7])
    await g.submit(1)

    async def operate() -> None:
        await g.store.begin(inc, [(task.id, task.fence) for task in tasks[7:]], batch)

    return Plan(operate, {**expected, **{task.id: State.RUNNING for task in tasks[7:]}})


async def release(g: Ground) -> Plan:
    inc, tasks = await g.dispatched(2, tenant="a")
    await g.submit(2, tenant="a")
    await g.store.dispatch(5)  # parks them

    async def operate() -> None:
        await g.store.release([(inc, task.id, task.fence) for task in tasks])

    return Plan(operate)


async def promote(g: Ground) -> Plan:
    inc, (retried,) = await g.running(1)
    await g.bench.settle(inc, retried, Kind.RETRY, delay_ms=10.0, data=error())
    await g.parked()
    fresh = await g.submit(2, delay_ms=10.0)
    await g.submit(1, delay_ms=10.0, tenant="a")
    late = await g.submit(1, start_timeout_ms=10)
    late += await g.submit(1, start_timeout_ms=10, tenant="a")
    late += await g.submit(1, start_timeout_ms=10, delay_ms=5000.0, key="k")
    late += await g.submit(1, start_timeout_ms=10, delay_ms=10.0)
    await g.bench.advance(10)

    async def operate() -> None:
        await g.store.promote(100)

    return Plan(operate, {**dict.fromkeys(late, State.EXPIRED), **dict.fromkeys([*fresh, retried.id], State.QUEUED)})


async def reap(g: Ground) -> Plan:
    await g.store.reap(10_000, 100)
    _, (cancelled, plain, last) = await g.running(3)
    await g.store.cancel([cancelled.id])
    await g.parked()
    await g.dispatched(2)
    await g.bench.advance(1001)

    async def operate() -> None:
        while (await g.store.reap(10_000, 3)).more:
            pass

    return Plan(operate, {cancelled.id: State.CANCELLED, plain.id: State.QUEUED, last.id: State.QUEUED})


async def reap_to_death(g: Ground) -> Plan:
    await g.store.reap(10_000, 100)
    await g.submit(1, max_attempts=1, key="poison")
    for _ in range(3):
        inc = await g.bench.worker(5, name="doomed")
        (task,) = await g.bench.claim(inc)
        await g.bench.advance(1001)
        if _ < 2:
            await g.store.reap(10_000, 10)

    async def operate() -> None:
        await g.store.reap(10_000, 10)

    return Plan(operate, {task.id: State.DEAD})


async def cancel(g: Ground) -> Plan:
    _, (running,) = await g.running(1)
    _, _, parked = await g.parked()
    _, (dispatched,) = await g.dispatched(1)
    (queued,) = await g.submit(1, key="k")
    (scheduled,) = await g.submit(1, delay_ms=100.0, start_timeout_ms=900_000)
    ids = [running.id, *parked, dispatched.id, queued, scheduled]

    async def operate() -> None:
        await g.store.cancel(ids)

    return Plan(operate, dict.fromkeys(ids[1:], State.CANCELLED))


async def replay(g: Ground) -> Plan:
    await g.bench.configure(idem_ms=10, lanes=_LANES)
    dead, keyed = await g.dead(), await g.dead(key="k")
    forgotten = await g.dead(key="k2")
    limited = await g.dead(tenant="a")
    await g.bench.advance(10)
    await g.store.sweep("", 100)
    await g.bench.configure(_LIMITED, overrides=True, lanes=_LANES)
    (cancelled,) = await g.submit(1, start_timeout_ms=900_000, key="k3")
    await g.store.cancel([cancelled])
    await g.parked()

    async def operate() -> None:
        await g.store.replay([dead, keyed, forgotten, limited, cancelled])

    waiting = dict.fromkeys([dead, keyed, forgotten, cancelled], State.QUEUED)
    return Plan(operate, {**waiting, limited: State.PARKED})


async def retry(g: Ground) -> Plan:
    inc, (failed, snoozed) = await g.running(2)
    await g.bench.settle(inc, failed, Kind.RETRY, delay_ms=900.0, data=error())
    await g.bench.settle(inc, snoozed, Kind.SNOOZE, delay_ms=900.0)
    fresh = await g.submit(2, delay_ms=900.0)
    await g.parked()
    (parked,) = await g.submit(1, delay_ms=900.0, tenant="a", start_timeout_ms=900_000)

    async def operate() -> None:
        await g.store.actions.retry([failed.id, snoozed.id, *fresh, parked])

    return Plan(operate, {**dict.fromkeys([failed.id, snoozed.id, *fresh], State.QUEUED), parked: State.PARKED})


def _revision(
    name: str, ends: dict[str, State], lane: int | None = None, priority: int | None = None, wait: float | None = None
) -> tuple[str, Callable[[Ground], Awaitable[Plan]]]:
    """A scenario in which tasks of every kind that waits are revised alike; ``ends`` says where those that were queued,
    parked and scheduled are then."""

    async def scenario(g: Ground) -> Plan:
        _, _, parked = await g.parked()
        inc, (first, second) = await g.running(2, priority=9)
        await g.bench.settle(inc, first, Kind.RETRY, delay_ms=900.0, data=error())
        await g.bench.settle(inc, second, Kind.RETRY, delay_ms=0.0, data=error())
        await g.store.promote(10)  # (it has a record, and stands in its lane again)
        queued = await g.submit(2, lane=2, priority=3)
        queued += await g.submit(1, lane=2, start_timeout_ms=900_000, key="k")
        fresh = await g.submit(2, lane=2, delay_ms=900.0)
        groups = {"queued": [*queued, second.id], "scheduled": [*fresh, first.id], "parked": parked}
        ids = [id for group in groups.values() for id in group]
        change = Revision(lane, priority, None if wait is None else g.bench.clock.now_ms() + wait)

        async def operate() -> None:
            await g.store.actions.revise(ids, change)

        return Plan(operate, {id: ends[group] for group in ends for id in groups[group]})

    scenario.__name__ = f"revise_{name}"
    return "revise", scenario


_WAITS = {"queued": State.QUEUED, "scheduled": State.SCHEDULED, "parked": State.PARKED}
_NOW, _LATER = {**_WAITS, "scheduled": State.QUEUED}, dict.fromkeys(_WAITS, State.SCHEDULED)
# (What was parked may be parked again or queued: that depends on whether something of the tenant's is parked then, and
# a call that failed may have left a mark of it there.)
_MOVED = {"queued": State.QUEUED, "scheduled": State.SCHEDULED}
REVISIONS = [
    _revision("priority", _MOVED, priority=7),
    _revision("both", _MOVED, lane=2, priority=0),
    _revision("now", _NOW, wait=0.0),
    _revision("later", _LATER, wait=600.0),
    _revision("all_now", {**_MOVED, "scheduled": State.QUEUED}, lane=3, priority=8, wait=0.0),
    _revision("all_later", _LATER, lane=3, priority=8, wait=600.0),
]


async def purge(g: Ground) -> Plan:
    ids = [await g.dead(), await g.dead(key="k")]

    async def operate() -> None:
        await g.store.purge(ids)

    return Plan(operate, forgotten=set(ids))


async def trim(g: Ground) -> Plan:
    await g.bench.configure(lanes=_LANES, keep=Kept(ended=Keep(n=1, ms=0), dead=Keep(n=1, ms=0)))
    ids = []
    for _ in range(3):
        ids.append(await g.dead())
        await g.bench.advance(10)

    async def operate() -> None:
        await g.store.trim(100)

    return Plan(operate, forgotten=set(ids[:2]))


async def register(g: Ground) -> Plan:
    old, tasks = await g.running(4)
    await g.parked()
    new = new_incarnation()
    mine = [(task.id, task.fence) for task in tasks[:2]]

    async def operate() -> None:
        registered = await g.store.register(new, "w", "kafka", 10, 10, 4, old, mine)
        assert registered.adopted == {id for id, _ in mine}

    return Plan(operate, dict.fromkeys((task.id for task in tasks[:2]), State.RUNNING))


async def deregister(g: Ground) -> Plan:
    inc, tasks = await g.running(3)
    more, _, _ = await g.parked()
    kafka, _ = await g.dispatched(2)
    await g.store.cancel([tasks[0].id])

    async def operate() -> None:
        for who in (inc, more, kafka):
            await g.store.deregister(who)

    return Plan(operate, {tasks[0].id: State.CANCELLED, tasks[1].id: State.QUEUED})


async def drain(g: Ground) -> Plan:
    inc, (task,) = await g.running(1)

    async def operate() -> None:
        assert await g.store.workers.drain(inc)
        assert (await g.bench.beat(inc, [task.id])).state == 3
        assert (await g.store.turn(inc, 99, 5, [])).status == "draining"

    return Plan(operate, {task.id: State.RUNNING})


async def register_drained(g: Ground) -> Plan:
    old, (task,) = await g.running(1)
    assert await g.store.workers.drain(old)
    new = new_incarnation()

    async def operate() -> None:
        await g.store.register(new, "w", "direct", 10, 10, 0, old, [(task.id, task.fence)])
        assert (await g.bench.beat(new, [task.id])).state == 3

    return Plan(operate, {task.id: State.RUNNING})


async def heartbeat(g: Ground) -> Plan:
    inc, tasks = await g.running(3)
    limited, _, _ = await g.parked()
    kafka, _ = await g.dispatched(2)
    await g.store.cancel([tasks[0].id])
    await g.bench.advance(450)

    async def operate() -> None:
        await g.bench.beat(inc, [tasks[2].id])
        await g.bench.beat(limited, [], slots=7)
        await g.bench.beat(kafka, [], state=3)

    return Plan(operate, {tasks[0].id: State.CANCELLED, tasks[1].id: State.QUEUED, tasks[2].id: State.RUNNING})


async def sweep(g: Ground) -> Plan:
    await g.parked("a")
    await g.parked("b")
    await g.dead(key="k")
    await g.bench.configure({"a": TenantConfig(max=3), "b": TenantConfig(max=3)}, overrides=True, lanes=_LANES)

    async def operate() -> None:
        cursor = "first"
        while cursor:
            cursor, _ = await g.store.sweep("" if cursor == "first" else cursor, 1)

    return Plan(operate)


async def extend(g: Ground) -> Plan:
    inc, (task,) = await g.running(1)

    async def operate() -> None:
        assert await g.store.extend(inc, task.id, task.fence) is False

    return Plan(operate, {task.id: State.RUNNING})


_LANES = (
    LaneConfig(n=1, name="high", drate=1e6, dburst=1e6), LaneConfig(n=2, name="default"), LaneConfig(n=3, name="low"),
)  # fmt: skip
_LIMITED = {"a": TenantConfig(max=2), "b": TenantConfig(max=2)}
SCENARIOS: list[tuple[str, Callable[[Ground], Awaitable[Plan]]]] = [
    ("submit", submit), ("settle", settle), ("settle", settle_keys), ("turn", turn), ("claim", claim),
    ("dispatch", dispatch), ("start", start), ("start", begin), ("release", release), ("promote", promote),
    ("reap", reap),
    ("reap", reap_to_death), ("cancel", cancel), ("replay", replay), ("purge", purge), ("purge", trim),
    ("register", register), ("deregister", deregister), ("heartbeat", heartbeat), ("sweep", sweep),
    ("extend", extend), ("drain", drain), ("register", register_drained),
    ("retry", retry), *REVISIONS,
]  # fmt: skip


@pytest.fixture
async def faults(
    redis7: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FaultyLoader, RedisBench]]:
    loader = FaultyLoader()
    monkeypatch.setattr(calls, "load", loader)
    redis7.ensure()
    redis7.flush()
    bench = RedisBench(RedisStore(redis7.url, "q"), VirtualClock())
    yield loader, bench
    await bench.close()


async def go_on(g: Ground) -> set[bytes]:
    """Everybody who held something dies and is reaped, the duties run, a new worker completes all that there is.
    Returns what it completed; nothing may be completed twice."""
    bench, store = g.bench, g.store
    await store.reap(10_000, 100)
    for _ in range(2):
        await bench.advance(1001)
        while (await store.reap(10_000, 100)).more:
            pass
    done: set[bytes] = set()
    inc = await bench.worker(50)
    idle = 0
    while idle < 2:
        cursor, _ = await store.sweep("", 100)
        while cursor:
            cursor, _ = await store.sweep(cursor, 100)
        await store.promote(100)
        tasks = await bench.claim(inc, 50)
        batch = [Settlement(Kind.COMPLETE, task.id, task.fence, data=b"\x02") for task in tasks]
        assert not done & {task.id for task in tasks}, "a task was handed out again after its end"
        done |= {task.id for task in tasks}
        assert await store.settle(inc, batch) == {}
        await bench.advance(100)
        assert (await bench.beat(inc, [], slots=50)).status == "ok"
        idle = 0 if tasks else idle + 1
    assert await store.deregister(inc) == 0
    await bench.advance(1_000_000)  # past every start timeout and delay
    await store.promote(100)
    await store.trim(100)
    await store.sweep("", 100)
    return done


@pytest.mark.parametrize("again", [True, False], ids=["the caller repeats it", "the caller never comes back"])
@pytest.mark.parametrize(("name", "scenario"), SCENARIOS, ids=[scenario.__name__ for _, scenario in SCENARIOS])
async def test_a_script_that_fails_at_any_call_loses_and_doubles_nothing(
    faults: tuple[FaultyLoader, RedisBench],
    name: str,
    scenario: Callable[[Ground], Awaitable[Plan]],
    again: bool,
) -> None:
    loader, bench = faults
    for n in range(1, _MOST_CALLS):
        await bench.store._client.flushall()
        await bench.told_time()
        await bench.configure(_LIMITED, overrides=True, lanes=_LANES)
        ground = Ground(bench)
        plan = await scenario(ground)
        await bench.store._client.hset(bench.store.keys.key("meta"), "test_fault", n)
        loader.armed = name
        failed = False
        try:
            await plan.operate()
        except ResponseError as fault:
            assert "a fault made by a test" in str(fault)
            failed = True
        loader.armed = None
        where = f"failed at call {n}"
        if failed and again:
            await plan.operate()
        if again or not failed:
            for id, state in plan.expected.items():
                assert await bench.state(id) is state, f"{where}: {id.hex()}"
            assert await bench.store.get(sorted(plan.forgotten)) == [None] * len(plan.forgotten), where
        done = await go_on(ground)
        await check_ends(ground, plan, done, where)
        if not failed:
            assert n > 3, "the script was never failed"
            return
    pytest.fail(f"{name} makes more than {_MOST_CALLS} calls")


async def check_ends(g: Ground, plan: Plan, done: set[bytes], where: str) -> None:
    """Every acknowledged task has ended once, and nothing is left of what was half-way."""
    store, key = g.store, g.store.keys.key
    stats = await store.stats()
    assert stats.drift == 0, f"{where}: {stats.counts}"
    assert await census(store, sizes=False) == [], where
    for view, id in zip(await store.get(sorted(g.ids)), sorted(g.ids), strict=True):
        if view is None:
            assert id in plan.forgotten, f"{where}: {id.hex()} was lost"
        else:
            assert view.state.final, f"{where}: {id.hex()} never ended: {view.state.label}"
            assert (view.result == b"\x02") == (id in done), f"{where}: {id.hex()}"
    for what in ("held", "dispatched", "scheduled", "parked", "cancelling", "startby", "running", "workers", "beats"):
        left = await store._client.type(key(what))
        assert left in (b"none", "none"), f"{where}: something is left in {what}"
