"""The SDK over real Redis (7 and 6.2): what is submitted is there, once; a handle tells what became of it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laneway import (
    App,
    ConfigError,
    Handle,
    IdempotencyConflict,
    InvalidTask,
    LanewayError,
    OutcomeUnknown,
    QueueFull,
    RateLimited,
    ResultTimeout,
    State,
    TaskCancelled,
    TaskDead,
    Unavailable,
    UnknownLane,
    UnknownTask,
)
from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_bytes, new_incarnation
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import decode_stored
from laneway.model.record import AttemptError, encode_error
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import Claimed
from servers.proxy import RedisProxy

LANES = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="default"))
CONFIG = QueueConfig(lanes=LANES)


class Worker:
    """The worker's side of the store, by hand."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.inc = new_incarnation()
        self.request = 0

    async def claim(self, want: int = 10) -> list[Claimed]:
        if not self.request:
            await self.store.register(self.inc, "w", "direct", 100, 100, 0)
            await self.store.heartbeat(self.inc, 2, 100, 100, [])
        self.request += 1
        return (await self.store.turn(self.inc, self.request, want, [])).tasks

    async def settle(self, task: Claimed, kind: Kind, data: bytes | None = None) -> None:
        assert await self.store.settle(self.inc, [Settlement(kind, task.id, task.fence, 0.0, data)]) == {}


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, "sdk")
    await store.configure(CONFIG, {}, expected="")
    yield store
    await store.close()


@pytest.fixture
async def app(redis_url: str, store: RedisStore) -> AsyncIterator[App]:
    async with App("tests", redis=redis_url, queue="sdk") as app:
        yield app


async def test_a_submitted_task_is_queued_with_all_that_was_said_of_it(app: App, store: RedisStore) -> None:
    @app.task(labels={"team": "a"}, max_attempts=7)
    async def resize(path: str, size: int = 3) -> str:
        return path

    handle = await resize.options(lane="high", priority=9, tenant="acme").submit("a.png")
    status = await handle.status()
    assert (status.id, status.type, status.state) == (handle.id, "resize", State.QUEUED)
    assert (status.lane, status.priority, status.tenant, status.labels) == ("high", 9, "acme", {"team": "a"})
    assert (status.attempts, status.max_attempts, status.errors) == (0, 7, [])
    assert abs(status.submitted_at - datetime.now(UTC)) < timedelta(seconds=5)
    (claimed,) = await Worker(store).claim()
    assert claimed.id == id_bytes(handle.id)


async def test_the_result_comes_back_as_the_handler_returned_it(app: App, store: RedisStore) -> None:
    @app.task
    async def double(a: int) -> dict[str, int]:
        return {"a": 2 * a}

    handle = await double.submit(4)
    worker = Worker(store)
    waiting = asyncio.create_task(handle.result(timeout=10))
    (task,) = await worker.claim()
    await worker.settle(task, Kind.COMPLETE, double.definition.encode_result(await double(4)))
    assert await waiting == {"a": 8}
    assert await app.handle(handle.id).result(timeout=1) == {"a": 8}
    assert await double.handle(handle.id).result() == {"a": 8}
    assert (await handle.status()).attempts == 1


async def test_a_dead_task_tells_its_last_error(app: App, store: RedisStore) -> None:
    @app.task
    def t() -> None: ...

    handle = await t.submit()
    worker = Worker(store)
    (task,) = await worker.claim()
    await worker.settle(task, Kind.DEAD, encode_error(AttemptError("ValueError", "no such file", attempt=1)))
    with pytest.raises(TaskDead, match="is dead after 1 attempt: ValueError: no such file") as raised:
        await handle.result(timeout=5)
    assert raised.value.task_id == handle.id
    assert [error.message for error in (await handle.status()).errors] == ["no such file"]


async def test_a_task_that_waits_is_cancelled_at_once_and_a_running_one_is_asked(app: App, store: RedisStore) -> None:
    @app.task
    def t() -> None: ...

    waits = await t.submit()
    assert await waits.cancel() == "cancelled"
    assert await waits.cancel() == "cancelled"
    with pytest.raises(TaskCancelled):
        await waits.result(timeout=5)
    runs = await t.submit()
    worker = Worker(store)
    (task,) = await worker.claim()
    assert await runs.cancel() == "requested"
    status = await runs.status()
    assert status.state is State.RUNNING and status.cancel_requested
    await worker.settle(task, Kind.COMPLETE)
    assert await runs.cancel() == "ended"


async def test_waiting_ends_at_its_time_out_and_the_task_goes_on(app: App) -> None:
    @app.task
    def t() -> None: ...

    handle = await t.options(delay=60).submit()
    with pytest.raises(ResultTimeout, match=r"has not ended after 0\.05 s; it is scheduled and goes on"):
        await handle.result(timeout=0.05)
    later = await t.options(run_at=datetime.now(UTC) + timedelta(hours=1)).submit()
    assert (await later.status()).state is State.SCHEDULED


async def test_one_key_is_one_task_and_other_arguments_under_it_conflict(app: App, store: RedisStore) -> None:
    @app.task
    def t(a: int) -> None: ...

    keyed = t.options(key="order-7")
    first, again = await keyed.submit(1), await keyed.options(priority=9).submit(1)
    assert not first.duplicate and again.duplicate and again.id == first.id
    other = await keyed.options(tenant="acme").submit(1)
    assert other.id != first.id
    with pytest.raises(IdempotencyConflict) as raised:
        await keyed.submit(2)
    assert raised.value.task_id == first.id
    assert (await store.stats()).counts["submitted"] == 2


async def test_one_call_is_one_task_and_one_id_too(app: App, store: RedisStore) -> None:
    @app.task
    def t(a: int) -> None: ...

    call = t.call(1)
    first, again = await app.submit(call), await app.submit(call)
    assert again.duplicate and again.id == first.id
    by_id = await t.options(id=first.id).submit(1)
    assert by_id.duplicate
    with pytest.raises(IdempotencyConflict, match="the task id"):
        await t.options(id=first.id).submit(2)
    assert (await store.stats()).counts["submitted"] == 1


async def test_many_are_submitted_in_order_each_with_its_own_result(app: App, store: RedisStore) -> None:
    @app.task
    def t(a: int) -> None: ...

    calls = [t.call(i) for i in range(1201)]
    calls[3] = t.options(lane="nowhere").call(3)
    calls[700] = t.options(key="k").call(700)
    calls[1100] = t.options(key="k").call(1100)
    results = await app.submit_many(calls)
    assert isinstance(results[3], UnknownLane) and "high, default" in str(results[3])
    assert isinstance(results[1100], IdempotencyConflict)
    handles = [result for result in results if isinstance(result, Handle)]
    assert len(handles) == 1199 and not any(handle.duplicate for handle in handles)
    claimed = await Worker(store).claim(100)
    assert [id_bytes(handle.id) for handle in handles[:100]] == [task.id for task in claimed]
    sent = [t.definition.decode(decode_stored(task.envelope).body.payload)["a"] for task in claimed]
    assert sent == [0, 1, 2, *range(4, 101)]


async def test_limits_refuse_with_when_to_come_back_and_change_nothing(app: App, store: RedisStore) -> None:
    @app.task
    def t() -> None: ...

    lanes = (LaneConfig(n=1, name="high", rate=0.5, burst=1), LaneConfig(n=2, name="default"))
    await store.configure(QueueConfig(lanes=lanes, max_depth=3, version=2), {}, expected=None)
    await t.options(lane="high").submit()
    with pytest.raises(RateLimited) as raised:
        await t.options(lane="high").submit()
    assert raised.value.scope == "lane" and 0 < raised.value.retry_after <= 2.0
    results = await app.submit_many([t.call() for _ in range(3)])
    assert [type(result) for result in results] == [Handle, Handle, QueueFull]
    assert (await store.stats()).counts["submitted"] == 3


async def test_an_app_follows_lanes_that_come_and_go(app: App, store: RedisStore) -> None:
    @app.task
    def t() -> None: ...

    await t.options(lane="high").submit()
    changed = (
        LaneConfig(n=2, name="default"),
        LaneConfig(n=3, name="slow"),
        LaneConfig(n=1, name="high", gone=True),
    )
    await store.configure(QueueConfig(lanes=changed, version=2), {}, expected=None)
    with pytest.raises(UnknownLane, match="high"):
        await t.options(lane="high").submit()
    handle = await t.options(lane="slow").submit()
    assert (await handle.status()).lane == "slow"


async def test_an_unknown_task_is_said_to_be_unknown(app: App) -> None:
    handle = app.handle("0" * 23)
    for ask in (handle.status(), handle.result(timeout=1), handle.cancel()):
        with pytest.raises(UnknownTask, match="there is no task"):
            await ask
    with pytest.raises(UnknownTask, match="no task can have the id 'nonsense'"):
        app.handle("nonsense")


async def test_a_queue_that_nobody_configured_is_refused_with_what_to_do(redis7_url: str) -> None:
    app = App("tests", redis=redis7_url, queue="nobody")
    with pytest.raises(ConfigError, match="queue default/nobody is not configured: apply a TaskQueue"):
        await app.connect()
    await app.close()


async def test_a_submission_whose_answer_is_lost_is_repeated_and_adds_nothing(
    redis_proxy: RedisProxy, redis7_url: str
) -> None:
    direct = RedisStore(redis7_url, "sdk")
    await direct.configure(CONFIG, {}, expected="")
    through = RedisStore(redis_proxy.url, "sdk", patience=3.0)
    app = App("tests")

    @app.task
    def t(a: int) -> None: ...

    await app.connect(through)
    await t.submit(0)
    fault = redis_proxy.drop_reply(1, "EVALSHA")
    await t.submit(1)
    assert fault.fired
    assert (await direct.stats()).counts["submitted"] == 2
    await app.close()
    await through.close()
    await direct.close()


async def test_the_sync_facade_does_the_same_from_a_thread(redis7_url: str) -> None:
    store = RedisStore(redis7_url, "sdk")
    await store.configure(CONFIG, {}, expected="")
    app = App("tests", redis=redis7_url, queue="sdk")

    @app.task
    def t(a: int) -> int:
        return a

    def work() -> tuple[str, State, list[type], int | None]:
        with app.sync as sync:
            handle = sync.submit(t.call(1))
            many: list[LanewayError | object] = list(sync.submit_many([t.call(2), t.options(lane="x").call(3)]))
            state = handle.status().state
            assert handle.cancel() == "cancelled" and not handle.duplicate
            with pytest.raises(TaskCancelled):
                handle.result(timeout=5)
            with pytest.raises(UnknownTask):
                sync.handle("0" * 23).status()
            return handle.id, state, [type(result) for result in many], None

    _id, state, kinds, _ = await asyncio.to_thread(work)
    assert state is State.QUEUED
    assert [kind.__name__ for kind in kinds] == ["SyncHandle", "UnknownLane"]
    assert not any(thread.name == "laneway-sync" for thread in threading.enumerate())
    with pytest.raises(ConfigError, match=r"app\.sync blocks, and this is an event loop"):
        app.sync.submit(t.call(1))
    assert (await store.stats()).counts["submitted"] == 2
    await store.close()


async def test_when_redis_is_away_nothing_is_said_to_be_accepted() -> None:
    app = App("tests")

    @app.task
    def t() -> None: ...

    nowhere = RedisStore("redis://127.0.0.1:1/0", "sdk", patience=0.1)
    with pytest.raises(Unavailable):
        await app.connect(nowhere)
    with pytest.raises((Unavailable, OutcomeUnknown)):
        await t.submit()
    await nowhere.close()


def test_an_app_used_in_one_event_loop_after_another_connects_in_each(redis7_url: str) -> None:
    app = App("tests", redis=redis7_url, queue="sdk")

    @app.task
    def t() -> None: ...

    async def prepare() -> None:
        store = RedisStore(redis7_url, "sdk")
        await store.configure(CONFIG, {}, expected="")
        await store.close()

    async def once() -> str:
        async with app:
            return (await t.submit()).id

    asyncio.run(prepare())
    assert asyncio.run(once()) != asyncio.run(once())


async def test_arguments_by_name_whose_names_are_no_text_are_refused_and_nothing_is_submitted(
    app: App, store: RedisStore
) -> None:
    odd: Any = {1: "one"}
    with pytest.raises(InvalidTask, match="one map of arguments by name"):
        await app.submit(app.call("elsewhere", odd))
    assert (await store.stats()).counts["submitted"] == 0
