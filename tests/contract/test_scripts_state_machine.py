"""The scripts on a real Redis 7 beside the store in memory: after each random step both give the same answers, show
the same tasks, and in Redis every task is in exactly one place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.contract.stores import FAST, RedisBench, census, envelope, error, load_on_test_time

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.adapters.redis import RedisStore, calls
from laneway.model.config import Keep, Kept, LaneConfig, QueueConfig, TenantConfig
from laneway.model.notes import NOTHING, LogLine, Note, Progress
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.ports.actions import Revision
from laneway.ports.browse import Filter, Sort
from laneway.ports.store import QueueStats, TaskStore, TaskView
from servers.redis import RedisServer

LANES = (
    LaneConfig(n=1, name="high", max=3),
    LaneConfig(n=2, name="default", drate=5.0, dburst=3.0),
    LaneConfig(n=3, name="low", share=25, fifo=True),
)
TENANTS = ("", "a", "b")
CONFIGS: tuple[tuple[dict[str, Any], dict[str, TenantConfig]], ...] = (
    ({"lanes": LANES, "shares": True}, {}),
    ({"lanes": LANES, "tenant": TenantConfig(max=2)}, {}),
    ({"lanes": LANES, "overrides": True, "tenant": TenantConfig(max=3)}, {"a": TenantConfig(max=1, w=4)}),
    ({"lanes": LANES, "max_depth": 8, "rate": 3.0, "burst": 5.0, "idem_ms": 300}, {}),
    ({"lanes": LANES, "paused": True, "keep": Kept(ended=Keep(n=2, ms=500), dead=Keep(n=3, ms=0))}, {}),
)
MOST_WORKERS = 3
URL = ""  # of the Redis of this run


def comparable(stats: QueueStats) -> Any:
    """Statistics without what is Redis' own."""
    workers = sorted((w.incarnation, w.name, w.mode, w.state, w.slots, w.window, w.held) for w in stats.workers)
    return (
        stats.now_ms,
        stats.counts,
        stats.lanes,
        workers,
        stats.outbox_bytes,
        stats.outbox_entries,
        stats.finished_bytes,
    )


def without_scores_of_the_ended(views: list[TaskView | None]) -> list[TaskView | None]:
    """Tasks without what means nothing any more: where they once stood in their lane."""
    for view in views:
        if view is not None and view.state.final and view.record is not None:
            view.record.score = 0.0
    return views


class Worker:
    """What the machine remembers of a worker: the tasks it was handed, in order."""

    def __init__(self, inc: bytes, mode: str) -> None:
        self.inc = inc
        self.mode = mode
        self.request = 0
        self.got: list[tuple[bytes, int]] = []


class StoresMachine(RuleBasedStateMachine):
    """Steps that both stores take."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock)
        self.redis = RedisStore(URL, "q")
        self.bench = RedisBench(self.redis, self.clock)
        self.workers: list[Worker] = []
        self.gone: list[Worker] = []
        self.ids: list[bytes] = []
        self.made = 0

    def teardown(self) -> None:
        self.runner.run(self.redis.close())
        self.runner.close()

    def both(
        self, step: Callable[[TaskStore], Awaitable[Any]], show: Callable[[Any], Any] = lambda answer: answer
    ) -> Any:
        """Takes a step in both stores; the answers must be the same."""

        async def run() -> tuple[Any, Any]:
            return await step(self.memory), await step(self.redis)

        wanted, got = self.runner.run(run())
        assert show(got) == show(wanted)
        return got

    def name(self) -> bytes:
        """Fourteen bytes that nobody has used: an id, or (the last eight) an incarnation."""
        self.made += 1
        return self.clock.now_ms().to_bytes(6, "big") + self.made.to_bytes(8, "big")

    @initialize(config=st.sampled_from(CONFIGS))
    def begin(self, config: Any) -> None:
        async def clear() -> None:
            await self.redis._client.flushall()
            await self.bench.told_time()

        self.runner.run(clear())
        self.configure(config)

    @rule(config=st.sampled_from(CONFIGS))
    def configure(self, config: Any) -> None:
        fields, tenants = config
        self.runner.run(self.bench.configure(tenants, **fields))
        self.runner.run(self.memory.configure(QueueConfig(**{**FAST, **fields}), tenants, expected=None))

    @rule(ms=st.sampled_from((0.5, 1, 50, 200, 450, 600, 1100)))
    def time_passes(self, ms: float) -> None:
        self.runner.run(self.bench.advance(ms))

    # -- submitters

    @rule(
        batch=st.lists(
            st.fixed_dictionaries(
                {
                    "lane": st.integers(1, 4),
                    "priority": st.sampled_from((0, 4, 9)),
                    "tenant": st.sampled_from(TENANTS),
                    "max_attempts": st.integers(1, 3),
                },
                optional={
                    "key": st.sampled_from(("k1", "k2")),
                    "delay_ms": st.sampled_from((1.0, 100.0, 500.0)),
                    "start_timeout_ms": st.sampled_from((100, 1000)),
                    "payload": st.sampled_from((b"\x80", b"\x81\xa1a\x01")),
                },
            ),
            min_size=1,
            max_size=6,
        ),
        again=st.booleans(),
    )
    def submit(self, batch: list[dict[str, Any]], again: bool) -> None:
        sent = [(self.name(), envelope(**fields)) for fields in batch]
        if again and self.ids:
            sent.append((self.ids[-1], envelope(**batch[0])))
        results = self.both(lambda store: store.submit(sent))
        self.ids += [result.id for result in results if result.code == "accepted"]

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.ids), min_size=1, max_size=3))
        self.both(lambda store: store.cancel(ids))

    # -- workers

    @precondition(lambda self: len(self.workers) < MOST_WORKERS)
    @rule(mode=st.sampled_from(("direct", "kafka")), slots=st.integers(1, 4))
    def register(self, mode: str, slots: int) -> None:
        worker = Worker(self.name()[6:], mode)
        self.both(lambda store: store.register(worker.inc, "w", mode, slots, slots + 1, 2))
        self.both(lambda store: store.heartbeat(worker.inc, 2, slots, slots + 1, []))
        self.workers.append(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), slots=st.integers(1, 4))
    def come_back(self, data: st.DataObject, slots: int) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        kept = data.draw(st.lists(st.sampled_from(worker.got), max_size=4, unique=True)) if worker.got else []
        last, worker.inc, worker.request = worker.inc, self.name()[6:], 0
        self.both(lambda store: store.register(worker.inc, "w", worker.mode, slots, slots, 2, last, kept))
        self.both(lambda store: store.heartbeat(worker.inc, 2, slots, slots, [id for id, _ in kept]))

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), want=st.integers(0, 4), repeat=st.booleans())
    def turn(self, data: st.DataObject, want: int, repeat: bool) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        batch = self.draw_settlements(data, worker)
        worker.request += not repeat
        turn = self.both(lambda store: store.turn(worker.inc, worker.request, want, batch))
        worker.got += [(task.id, task.fence) for task in turn.tasks]

    @precondition(lambda self: any(worker.got for worker in self.workers))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.got]))
        batch = self.draw_settlements(data, worker)
        self.both(lambda store: store.settle(worker.inc, batch))

    def draw_settlements(self, data: st.DataObject, worker: Worker) -> list[Settlement]:
        if not worker.got:
            return []
        batch = []
        for id, fence in data.draw(st.lists(st.sampled_from(worker.got), max_size=4)):
            kind = data.draw(st.sampled_from(Kind))
            delay = data.draw(st.sampled_from((0.0, 10.0, 700.0)))
            failed = data.draw(st.booleans()) and kind is not Kind.COMPLETE
            payload = error() if failed else b"\x01" if kind is Kind.COMPLETE else None
            batch.append(Settlement(kind, id, fence, delay, payload, failed))
        return batch

    @precondition(lambda self: any(worker.got for worker in self.workers))
    @rule(data=st.data())
    def note(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.got]))
        tasks = data.draw(st.lists(st.sampled_from(worker.got), min_size=1, max_size=3, unique_by=lambda task: task[0]))
        notes = [
            Note(
                id,
                fence,
                data.draw(st.integers(1, 4)),
                data.draw(st.sampled_from((None, Progress(0.5, "half"), Progress(1.0, "„done“")))),
                data.draw(st.sampled_from((None, b"\x01", b"\xc4\x03abc", NOTHING))),
                [LogLine(1, 1, "info", "x" * data.draw(st.sampled_from((1, 900))))] * data.draw(st.integers(0, 90)),
            )
            for id, fence in tasks
        ]
        self.both(lambda store: store.notes.note(worker.inc, notes))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), succeeded=st.booleans())
    def unsave(self, data: st.DataObject, succeeded: bool) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.ids), min_size=1, max_size=3, unique=True))
        self.both(lambda store: store.notes.unsave(ids, succeeded=succeeded))

    @rule(limit=st.integers(1, 6))
    def dispatch(self, limit: int) -> None:
        got = self.both(lambda store: store.dispatch(limit))
        for inc, _, task in got.tasks:
            next(worker for worker in self.workers if worker.inc == inc).got.append((task.id, task.fence))

    @precondition(lambda self: any(worker.got for worker in self.workers))
    @rule(data=st.data(), release=st.booleans())
    def start_or_release(self, data: st.DataObject, release: bool) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.got]))
        items = data.draw(st.lists(st.sampled_from(worker.got), min_size=1, max_size=4))
        if release:
            self.both(lambda store: store.release([(worker.inc, id, fence) for id, fence in items]))
        else:
            self.both(lambda store: store.start(worker.inc, items))

    @precondition(lambda self: any(worker.got for worker in self.workers))
    @rule(data=st.data(), kind=st.sampled_from((Kind.COMPLETE, Kind.RETRY, Kind.RELEASE)))
    def settle_and_start(self, data: st.DataObject, kind: Kind) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.got]))
        ended = data.draw(st.lists(st.sampled_from(worker.got), min_size=1, max_size=4))
        items = data.draw(st.lists(st.sampled_from(worker.got), min_size=1, max_size=4))
        settled = [Settlement(kind, id, fence) for id, fence in ended]
        self.both(lambda store: store.begin(worker.inc, items, settled))

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), state=st.sampled_from((2, 2, 2, 3, 4)), slots=st.integers(1, 4), ended=st.integers(0, 30))
    def heartbeat(self, data: st.DataObject, state: int, slots: int, ended: int) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        known = data.draw(st.lists(st.sampled_from(worker.got), max_size=6, unique=True)) if worker.got else []
        ids = [id for id, _ in known]
        self.both(lambda store: store.heartbeat(worker.inc, state, slots, slots, ids, ended=ended, took_ms=ended * 0.7))

    @rule(soon=st.sampled_from((0, 100, 1000)))
    def depth(self, soon: int) -> None:
        self.both(lambda store: store.depth(soon))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def deregister(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        self.both(lambda store: store.deregister(worker.inc))

    # -- duties

    @rule(limit=st.sampled_from((2, 100)))
    def promote(self, limit: int) -> None:
        self.both(lambda store: store.promote(limit))

    @rule(page=st.sampled_from((2, 100)), gap=st.sampled_from((500, 100_000)))
    def reap(self, page: int, gap: int) -> None:
        self.both(lambda store: store.reap(gap, page))

    @rule()
    def sweep(self) -> None:
        self.both(lambda store: store.sweep("", 100))

    @rule()
    def trim(self) -> None:
        self.both(lambda store: store.trim(1000))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), purge=st.booleans())
    def replay_or_purge(self, data: st.DataObject, purge: bool) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.ids), min_size=1, max_size=3))
        if purge:
            self.both(lambda store: store.purge(ids))
        else:
            self.both(lambda store: store.replay(ids))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.ids), min_size=1, max_size=4))
        self.both(lambda store: store.actions.retry(ids))

    @precondition(lambda self: self.ids)
    @rule(
        data=st.data(),
        lane=st.sampled_from((None, 1, 2, 3, 4)),
        priority=st.sampled_from((None, 0, 4, 9)),
        wait=st.sampled_from((None, None, -1.0, 0.0, 50.0, 600.0)),
        seen=st.booleans(),
    )
    def revise(
        self, data: st.DataObject, lane: int | None, priority: int | None, wait: float | None, seen: bool
    ) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.ids), min_size=1, max_size=4))
        change = Revision(lane, priority, None if wait is None else self.clock.now_ms() + wait)

        async def step(store: TaskStore) -> list[str]:
            (view,) = await store.get(ids[:1])
            if seen and view is not None:
                return await store.actions.revise(ids[:1], change, view)
            return await store.actions.revise(ids, change)

        self.both(step)

    @precondition(lambda self: self.ids)
    @rule(limit=st.integers(1, 5))
    def list_all(self, limit: int) -> None:
        async def step(store: TaskStore) -> list[tuple[bytes, State, float]]:
            found: list[tuple[bytes, State, float]] = []
            after = None
            while not found or after is not None:
                page = await store.browse.page(Filter(), Sort.STATES, limit, after)
                found += [(row.id, row.state, row.due_ms) for row in page.rows]
                after = page.after
                if after is None:
                    break
            return found

        everything = self.both(step)
        ids = [id for id, _, _ in everything]
        assert len(ids) == len(set(ids))

    # -- what must hold after each step

    @invariant()
    def both_show_the_same(self) -> None:
        if self.memory._t.conf is None:
            return
        self.both(lambda store: store.stats(), comparable)
        self.both(lambda store: store.get(self.ids), without_scores_of_the_ended)
        self.both(lambda store: store.notes.told(self.ids))
        self.both(lambda store: store.notes.saved(self.ids))
        if self.ids:
            self.both(lambda store: store.notes.logs(self.ids[-1]))
        for state in (State.DEAD, State.SUCCEEDED):
            self.both(lambda store, state=state: store.ended(state, 0, 100), set)  # type: ignore[misc]

    @invariant()
    def each_task_is_in_exactly_one_place(self) -> None:
        if self.memory._t.conf is not None:
            assert self.runner.run(census(self.redis)) == []
            assert self.runner.run(self.redis.stats()).drift == 0


def test_the_scripts_and_the_store_in_memory_agree_step_by_step(
    redis7: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    global URL
    monkeypatch.setattr(calls, "load", load_on_test_time)
    redis7.ensure()
    URL = redis7.url
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        StoresMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
