"""laneway.testing: an App's queue in a test's own memory."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest

from laneway import (
    App,
    Backoff,
    ConfigError,
    Context,
    Discard,
    InvalidTask,
    Middleware,
    RateLimited,
    ResultTimeout,
    Retry,
    Snooze,
    State,
    TaskCancelled,
    TaskDead,
    TaskExpired,
    UnknownLane,
    UnknownTask,
)
from laneway.model.config import Keep, Kept, LaneConfig, QueueConfig
from laneway.testing import QueueStuck, TestQueue

EXACT = Backoff(base=2.0, jitter=0.0)


@dataclass
class Address:
    street: str


class Shop:
    """An application with something to see."""

    def __init__(self, **options: Any) -> None:
        self.app = app = App("shop", **options)
        self.ran: list[str] = []
        self.queue: TestQueue | None = None

        @app.task
        async def mail(to: str, subject: str = "hello") -> str:
            self.ran.append(to)
            return f"sent to {to}"

        @app.task(lane="high", max_attempts=3, backoff=EXACT)
        async def flaky(ctx: Context, fails: int) -> int:
            self.ran.append(f"attempt {ctx.attempt}")
            if ctx.attempt <= fails:
                raise OSError(f"failure {ctx.attempt}")
            return ctx.attempt

        @app.task
        def thread(n: int) -> int:
            return n + 1

        self.mail, self.flaky, self.thread = mail, flaky, thread


@pytest.fixture
def shop() -> Shop:
    return Shop()


# -- running


async def test_a_submitted_task_runs_when_the_queue_is_run_and_not_before(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        handle = await shop.mail.submit("ada")
        assert shop.ran == [] and queue.counts() == {State.QUEUED: 1}
        assert await queue.run() == 1
        assert shop.ran == ["ada"] and queue.counts() == {State.SUCCEEDED: 1}
        assert await handle.result() == "sent to ada"


async def test_retries_come_after_their_backoff_in_virtual_time(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        began = queue.now
        handle = await shop.flaky.submit(2)
        assert await queue.run() == 3
        assert await handle.result() == 3
        assert queue.now - began == timedelta(seconds=2 + 4)
        first, second = (await handle.status()).errors
        assert (first.message, second.message) == ("failure 1", "failure 2")
        assert second.at - first.at == 2000


async def test_jitter_is_the_same_in_each_run_of_a_test(shop: Shop) -> None:
    @shop.app.task(max_attempts=4)
    async def jittery() -> None:
        raise OSError

    async def length(seed: int | None) -> timedelta:
        async with TestQueue(shop.app, seed=seed) as queue:
            began = queue.now
            await jittery.submit()
            await queue.run()
            return queue.now - began

    assert await length(0) == await length(0) != await length(1)
    assert timedelta(seconds=10.5) <= await length(None) <= timedelta(seconds=14.1)


async def test_a_dead_letter_shows_what_its_attempts_raised(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        handle = await shop.flaky.submit(9)
        await queue.run()
        (dead,) = queue.dead()
        assert dead.id == handle.id and dead.attempts == 3
        assert [error.message for error in dead.errors] == ["failure 1", "failure 2", "failure 3"]
        with pytest.raises(TaskDead, match="failure 3"):
            await handle.result()


async def test_outcomes_mean_what_they_mean_in_production(shop: Shop) -> None:
    @shop.app.task(max_attempts=5)
    async def outcome(ctx: Context, what: str) -> str:
        if what == "discard":
            raise Discard("no good")
        if what == "snooze" and ctx.submitted_at > queue.now - timedelta(hours=1):
            raise Snooze(600)
        if what == "retry" and ctx.attempt == 1:
            raise Retry(30)
        return f"attempt {ctx.attempt}"

    async with TestQueue(shop.app) as queue:
        began = queue.now
        retried = await outcome.submit("retry")
        await queue.run()
        assert await retried.result() == "attempt 2" and queue.now - began == timedelta(seconds=30)
        snoozed = await outcome.submit("snooze")
        discarded = await outcome.submit("discard")
        assert await queue.run() == 8
        assert await snoozed.result() == "attempt 1"
        with pytest.raises(TaskDead, match="no good"):
            await discarded.result()


async def test_without_skipping_time_delayed_tasks_stay(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        began = queue.now
        await shop.mail.options(delay=60).submit("later")
        await shop.mail.submit("now")
        assert await queue.run(skip_time=False) == 1
        assert shop.ran == ["now"] and queue.now == began
        assert queue.submitted(state=State.SCHEDULED)[0].due_at == began + timedelta(seconds=60)


async def test_advancing_runs_each_task_at_its_moment(shop: Shop) -> None:
    @shop.app.task
    async def tick(again: float) -> str:
        shop.ran.append(f"{(queue.now - began).total_seconds():g}")
        await tick.options(delay=again).submit(again)
        return "ticked"

    async with TestQueue(shop.app) as queue:
        began = queue.now
        await tick.options(delay=10).submit(10)
        assert await queue.advance(35) == 3
        assert shop.ran == ["10", "20", "30"]
        assert queue.now == began + timedelta(seconds=35)
        assert await queue.advance(timedelta(seconds=5)) == 1


async def test_advancing_without_running_only_lets_time_pass(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        late = await shop.mail.options(start_timeout=5).submit("late")
        await shop.mail.options(start_timeout=50).submit("ada")
        assert await queue.advance(10, run=False) == 0
        assert shop.ran == [] and queue.counts() == {State.EXPIRED: 1, State.QUEUED: 1}
        with pytest.raises(TaskExpired):
            await late.result()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_time_goes_forward(shop: Shop, seconds: float) -> None:
    async with TestQueue(shop.app) as queue:
        began = queue.now
        with pytest.raises(ValueError, match="0 seconds or more"):
            await queue.advance(seconds)
        assert queue.now == began


async def test_a_time_to_run_at_is_up_to_ten_years_from_the_time_of_the_queue(shop: Shop) -> None:
    start = datetime(2060, 1, 1, tzinfo=UTC)
    async with TestQueue(shop.app, start=start) as queue:
        with pytest.raises(InvalidTask, match="at most ten years from now"):
            await shop.mail.options(run_at=start + timedelta(days=3651)).submit("ada")
        assert queue.counts() == {}
        await shop.mail.options(run_at=start + timedelta(days=3649)).submit("ada")
        assert queue.counts() == {State.SCHEDULED: 1}


async def test_one_attempt_at_a_time(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        await shop.flaky.submit(1)
        await shop.mail.submit("ada")
        first = await queue.run_one()
        assert first is not None and (first.type, first.state, first.attempts) == ("flaky", State.SCHEDULED, 1)
        second = await queue.run_one()
        assert second is not None and (second.type, second.state) == ("mail", State.SUCCEEDED)
        assert await queue.run_one() is None
        third = await queue.run_one(skip_time=True)
        assert third is not None and (third.type, third.state, third.attempts) == ("flaky", State.SUCCEEDED, 2)
        assert await queue.run_one(skip_time=True) is None


async def test_tasks_run_in_the_order_of_lanes_and_priorities(shop: Shop) -> None:
    async with TestQueue(shop.app, lanes=["high", "default", "low"]) as queue:
        for lane, priority in (("low", 9), ("default", 1), ("default", 9), ("high", 0)):
            await shop.mail.options(lane=lane, priority=priority).submit(f"{lane} {priority}")
        await queue.run()
        assert shop.ran == ["high 0", "default 9", "default 1", "low 9"]


async def test_several_handlers_run_at_once_when_asked(shop: Shop) -> None:
    met = asyncio.Barrier(3)

    @shop.app.task
    async def meet() -> None:
        await met.wait()

    async with TestQueue(shop.app, slots=3) as queue:
        for _ in range(3):
            await meet.submit()
        assert await queue.drain() == 3


async def test_draining_shows_why_a_task_did_not_succeed(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        await shop.mail.submit("ada")
        assert await queue.drain() == 1
        await shop.flaky.submit(9)
        with pytest.raises(AssertionError, match=r"(?s)flaky\(fails=9\).*attempt 3: OSError: failure 3.*raise OSError"):
            await queue.drain()


async def test_draining_tells_what_was_left(shop: Shop) -> None:
    config = QueueConfig(lanes=(LaneConfig(n=1, name="default", paused=True), LaneConfig(n=2, name="high")))
    async with TestQueue(shop.app, config=config) as queue:
        await shop.mail.submit("ada")
        with pytest.raises(AssertionError, match="nothing due will run it"):
            await queue.drain()


# -- waiting for results


async def test_waiting_for_a_result_runs_the_queue_until_then(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        began = queue.now
        handle = await shop.mail.options(delay=45).submit("ada")
        await shop.mail.options(delay=90).submit("later")
        assert await handle.result() == "sent to ada"
        assert queue.now - began == timedelta(seconds=45) and shop.ran == ["ada"]


async def test_a_wait_with_a_timeout_ends_in_virtual_time(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        began = queue.now
        handle = await shop.mail.options(delay=3600).submit("ada")
        with pytest.raises(ResultTimeout):
            await handle.result(timeout=100)
        assert queue.now - began == timedelta(seconds=100)
        with pytest.raises(ResultTimeout):
            await handle.result(timeout=0)
        assert shop.ran == []


async def test_a_handler_may_wait_for_another_task_with_one_slot(shop: Shop) -> None:
    @shop.app.task
    async def parent() -> str:
        first = await shop.mail.submit("first")
        second = await shop.mail.options(delay=300).submit("second")
        return " and ".join(await asyncio.gather(first.result(), second.result()))

    @shop.app.task
    def in_thread() -> str:
        return shop.app.sync.submit(shop.mail.options(delay=5).call("third")).result(timeout=10)

    async with TestQueue(shop.app) as queue:
        handle, other = await parent.submit(), await in_thread.submit()
        await queue.drain()
        assert await handle.result() == "sent to first and sent to second"
        assert await other.result() == "sent to third"
        one = await parent.submit()
        ran = await queue.run_one()
        assert ran is not None and ran.id == one.id and ran.state is State.RUNNING
        assert await one.result() == "sent to first and sent to second"
    await asyncio.to_thread(shop.app.sync.close)


async def test_waiting_in_vain_is_an_error_and_not_a_hang(shop: Shop) -> None:
    config = QueueConfig(lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high", paused=True)))

    @shop.app.task
    async def parent() -> None:
        await (await shop.flaky.submit(0)).result()

    async with TestQueue(shop.app, config=config) as queue:
        handle = await shop.flaky.submit(0)
        with pytest.raises(QueueStuck, match=r"flaky\), which is queued, was waited for in vain"):
            await handle.result()
        await parent.submit()
        with pytest.raises(QueueStuck, match=r"parent\) has been running, waiting for task .*flaky\), which is queued"):
            await queue.run()


async def test_two_may_wait_at_once_while_the_queue_runs(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        first = await shop.mail.options(delay=10).submit("first")
        second = await shop.mail.options(delay=5).submit("second")
        assert await asyncio.gather(first.result(timeout=60), queue.run(), second.result(timeout=60)) == [
            "sent to first", 0, "sent to second",
        ]  # fmt: skip


async def test_a_handler_that_does_not_end_is_named(shop: Shop) -> None:
    @shop.app.task
    async def hang() -> None:
        await asyncio.Event().wait()

    async with TestQueue(shop.app, patience=0.05) as queue:
        await hang.submit()
        with pytest.raises(QueueStuck, match=r"\(hang\) has been running for 0.05 s of real time"):
            await queue.run()


async def test_a_queue_that_never_rests_is_stopped(shop: Shop) -> None:
    @shop.app.task
    async def again() -> None:
        await again.options(delay=60).submit()

    async with TestQueue(shop.app) as queue:
        await again.submit()
        with pytest.raises(QueueStuck, match=r"not at rest after 20 attempts \('again'"):
            await queue.run(limit=20)


async def test_the_timeout_of_an_execution_is_real(shop: Shop) -> None:
    @shop.app.task(timeout=0.02, max_attempts=1)
    async def slow() -> None:
        await asyncio.Event().wait()

    async with TestQueue(shop.app) as queue:
        await slow.submit()
        await queue.run()
        assert queue.dead()[0].errors[0].kind == "timeout"


async def test_a_running_task_can_be_cancelled(shop: Shop) -> None:
    cleaned: list[str] = []

    @shop.app.task
    async def long() -> None:
        try:
            await (await canceller.submit()).result()
            await asyncio.Event().wait()
        finally:
            await shop.mail.submit("sorry")  # asked to stop once, so this is not interrupted
            cleaned.append("up")

    @shop.app.task
    async def canceller() -> str:
        return await handle.cancel()

    async with TestQueue(shop.app) as queue:
        handle = await long.submit()
        await queue.run()
        assert cleaned == ["up"] and shop.ran == ["sorry"]
        with pytest.raises(TaskCancelled):
            await handle.result()


# -- as in production


async def test_process_handlers_run_in_this_process(shop: Shop) -> None:
    @shop.app.task(process=True)
    def work(n: int) -> int:
        shop.ran.append("here")
        return n * 2

    async with TestQueue(shop.app) as queue:
        handle, other = await work.submit(4), await shop.thread.submit(1)
        await queue.drain()
        assert (await handle.result(), await other.result()) == (8, 2) and shop.ran == ["here"]


async def test_process_handlers_get_processes_when_the_path_of_the_app_is_given() -> None:
    from tests.unit import testing_app

    async with TestQueue(testing_app.app, app_path="tests.unit.testing_app:app") as queue:
        handle = await testing_app.own_pid.submit()
        await queue.drain()
        assert await handle.result() != testing_app.here()


async def test_middleware_and_lifespan_surround_handlers() -> None:
    seen: list[str] = []

    class Tell(Middleware):
        async def around_execute(self, context: Context, call_next: Callable[[], Awaitable[Any]]) -> Any:
            seen.append(f"before {context.task_type} with {context.state}")
            return await call_next()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        seen.append("opened")
        yield "a database"
        seen.append("closed")

    shop = Shop(middleware=[Tell()], lifespan=lifespan)
    async with TestQueue(shop.app) as queue:
        await shop.mail.submit("ada")
        assert seen == []
        await queue.run()
    assert seen == ["opened", "before mail with a database", "closed"]
    async with TestQueue(shop.app, state="a fake") as queue:
        await shop.mail.submit("ada")
        await queue.run()
    assert seen[3:] == ["before mail with a fake"]


async def test_contexts_know_their_lane_time_and_lease(shop: Shop) -> None:
    @shop.app.task
    async def look(ctx: Context) -> tuple[str, int]:
        await ctx.extend()
        assert ctx.submitted_at == queue.now - timedelta(hours=2)
        return ctx.lane, ctx.max_attempts

    async with TestQueue(shop.app, start=datetime(2030, 1, 1, tzinfo=UTC)) as queue:
        assert queue.now == datetime(2030, 1, 1, tzinfo=UTC)
        handle = await look.options(delay=timedelta(hours=2)).submit()
        await queue.drain()
        assert await handle.result() == ("default", 4)


async def test_refusals_are_those_of_production(shop: Shop) -> None:
    config = QueueConfig(lanes=(LaneConfig(n=1, name="default", rate=1.0, burst=1.0),))
    async with TestQueue(shop.app, config=config) as queue:
        await shop.mail.submit("first")
        with pytest.raises(RateLimited):
            await shop.mail.submit("too soon")
        await queue.advance(1)
        await shop.mail.submit("second")
        with pytest.raises(UnknownLane, match="default"):
            await shop.flaky.submit(1)
        assert len(queue.submitted()) == 2


async def test_keys_are_forgotten_a_day_after_the_end(shop: Shop) -> None:
    keyed = shop.mail.options(key="welcome-1")
    async with TestQueue(shop.app) as queue:
        first = await keyed.submit("ada")
        await queue.advance(3600)
        assert (await keyed.submit("ada")).id == first.id and len(queue.submitted()) == 1
        await queue.advance(timedelta(days=1))
        assert (await keyed.submit("ada")).id != first.id


async def test_ended_tasks_are_kept_unless_the_configuration_says_otherwise(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        handle = await shop.mail.submit("ada")
        await queue.advance(timedelta(days=400))
        assert await handle.result() == "sent to ada"
    kept = Kept(ended=Keep(n=10, ms=60_000))
    async with TestQueue(shop.app, config=QueueConfig(keep=kept)) as queue:
        handle = await shop.mail.submit("ada")
        await queue.advance(61)
        with pytest.raises(UnknownTask):
            await handle.result()
        assert [task.state for task in queue.submitted()] == [None]


async def test_a_lane_at_its_rate_is_served_as_time_passes(shop: Shop) -> None:
    config = QueueConfig(lanes=(LaneConfig(n=1, name="default", drate=0.5, dburst=1.0),))
    async with TestQueue(shop.app, config=config) as queue:
        began = queue.now
        for name in "abc":
            await shop.mail.submit(name)
        assert await queue.drain() == 3
        assert queue.now - began == timedelta(seconds=4)


# -- the App within and after


async def test_the_app_is_as_before_at_the_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestQueue(shop.app) as outer:
        async with TestQueue(shop.app) as inner:
            await shop.mail.submit("inner")
            async with shop.app:  # as a web application's own lifespan does
                await shop.mail.submit("inner too")
            await shop.mail.submit("still inner")
            assert len(inner.submitted()) == 3
        await shop.mail.submit("outer")
        assert [task.arguments["to"] for task in outer.submitted()] == ["outer"]
    assert await inner_count(inner) == 3
    monkeypatch.setenv("LANEWAY_REDIS_URL", "not a url")
    with pytest.raises(ConfigError, match="LANEWAY_REDIS_URL"):
        await shop.mail.submit("nowhere")


async def inner_count(queue: TestQueue) -> int:
    with pytest.raises(ConfigError, match="closed"):
        await queue.run()
    return len(queue.submitted())


async def test_a_handler_cannot_run_the_queue_that_runs_it(shop: Shop) -> None:
    @shop.app.task(max_attempts=1)
    async def inside() -> None:
        await queue.run()

    async with TestQueue(shop.app) as queue:
        await inside.submit()
        await queue.run()
        assert "a handler can't run the queue that runs it" in queue.dead()[0].errors[0].message


async def test_an_unused_queue_says_how_it_is_used(shop: Shop) -> None:
    queue = TestQueue(shop.app)
    with pytest.raises(ConfigError, match="async with TestQueue"):
        queue.submitted()
    with pytest.raises(ConfigError, match="async with TestQueue"):
        await queue.run()
    async with queue:
        with pytest.raises(ConfigError, match="open already"):
            await queue.__aenter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": ["a"], "config": QueueConfig()}, "not both"),
        ({"start": datetime(2030, 1, 1)}, "time zone"),
        ({"slots": 0}, "1 or more"),
        ({"stubs": {"mail": "sent"}}, "give a function"),
    ],
)
def test_wrong_options_are_refused_with_what_would_be_right(shop: Shop, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TestQueue(shop.app, **options)


# -- stubs


async def test_stubs_are_called_in_place_of_handlers(shop: Shop) -> None:
    mail = AsyncMock(return_value="stubbed", side_effect=[OSError("down"), None])
    mail.side_effect = [OSError("down"), "stubbed"]
    async with TestQueue(shop.app, stubs={"mail": mail, "resize": lambda path: path.upper()}) as queue:
        handle = await shop.mail.submit("ada")
        resized = await shop.app.submit(shop.app.call("resize", {"path": "a.png"}))
        await queue.drain()
        assert await handle.result() == "stubbed" and shop.ran == []
        assert await resized.result() == "A.PNG"
        mail.assert_awaited_with(to="ada")
        assert mail.await_count == 2


async def test_a_task_that_the_app_does_not_have_is_named_and_stays(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        await shop.app.submit(shop.app.call("resize", {"path": "a.png"}, lane="high"))
        with pytest.raises(UnknownTask, match=r"has no task 'resize'.*it has: flaky, mail, thread.*stubs"):
            await queue.run()
        (task,) = queue.submitted("resize")
        assert (task.state, task.attempts, task.arguments) == (State.QUEUED, 0, {"path": "a.png"})

        @shop.app.task
        async def resize(path: str) -> str:
            return path

        assert await queue.drain() == 1


# -- looking at what was submitted


async def test_what_was_submitted_can_be_looked_at(shop: Shop) -> None:
    @shop.app.task
    async def ship(to: Address, when: datetime) -> None: ...

    when = datetime(2030, 5, 1, 12, 0, 0, 1500, tzinfo=UTC)
    async with TestQueue(shop.app) as queue:
        await shop.mail.submit("ada")
        await ship.options(run_at=when, tenant="acme", labels={"a": "1", "b": "2"}, key="k").submit(Address("x"), when)
        assert [task.type for task in queue.submitted()] == ["mail", "ship"]
        assert queue.submitted(shop.mail)[0].arguments == {"to": "ada", "subject": "hello"}
        task = queue.assert_submitted(
            ship, {"to": Address("x")}, run_at=when, tenant="acme", labels={"a": "1"}, key="k"
        )
        assert task.arguments == {"to": Address("x"), "when": when} and task.state is State.SCHEDULED
        assert queue.assert_submitted("mail", {"subject": "hello"}, times=1, delay=0, lane="default").type == "mail"
        queue.assert_not_submitted("mail", {"to": "grace"})
        queue.assert_not_submitted("mail", delay=timedelta(seconds=1))


async def test_a_failed_assertion_shows_what_was_submitted_instead(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        with pytest.raises(AssertionError, match=r"mail\(to='x'\) was not submitted; nothing was"):
            queue.assert_submitted("mail", {"to": "x"})
        await shop.mail.options(delay=5).submit("ada")
        with pytest.raises(
            AssertionError, match=r"(?s)mail\(to='x'\) was not.*mail\(to='ada', subject='hello'\).*delay=5"
        ):
            queue.assert_submitted("mail", {"to": "x"})
        with pytest.raises(AssertionError, match="submitted 1 times, not 2"):
            queue.assert_submitted("mail", times=2)
        with pytest.raises(AssertionError, match="was submitted: mail"):
            queue.assert_not_submitted("mail")
        with pytest.raises(ValueError, match="assert_not_submitted"):
            queue.assert_submitted("mail", times=0)


async def test_a_misspelt_expectation_is_an_error_and_never_passes(shop: Shop) -> None:
    async with TestQueue(shop.app) as queue:
        with pytest.raises(UnknownTask, match="it has: flaky, mail, thread"):
            queue.assert_not_submitted("mial")
        with pytest.raises(InvalidTask, match=r"no argument 'too'; its arguments are: to, subject"):
            queue.assert_not_submitted("mail", {"too": "ada"})
        with pytest.raises(InvalidTask, match="Arguments of the task go into a dict"):
            queue.assert_not_submitted("mail", to="ada")  # type: ignore[call-arg]


# -- without an event loop


def test_the_same_works_without_an_event_loop(shop: Shop) -> None:
    with TestQueue(shop.app).sync() as queue:
        began = queue.now
        handle = shop.app.sync.submit(shop.flaky.call(1))
        assert queue.run() == 2 and handle.result() == 2
        assert queue.now - began == timedelta(seconds=2)
        shop.app.sync.submit(shop.mail.options(delay=9).call("ada"))
        assert queue.advance(8) == 0 and queue.run_one() is None
        assert queue.counts() == {State.SUCCEEDED: 1, State.SCHEDULED: 1}
        assert queue.assert_submitted("mail", {"to": "ada"}).due_at == began + timedelta(seconds=11)
        assert queue.drain() == 1 and queue.dead() == []
        queue.assert_not_submitted("thread")
        assert shop.app.sync.submit(shop.mail.call("grace")).result(timeout=1) == "sent to grace"
    assert len(queue.submitted()) == 3
    with pytest.raises(ConfigError, match="not open"):
        queue.run()
    shop.app.sync.close()


async def test_the_blocking_form_refuses_to_block_an_event_loop(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="async with TestQueue"):
        TestQueue(shop.app).sync().__enter__()


def test_importing_it_brings_in_no_server_and_no_client_of_one() -> None:
    code = (
        "import sys, laneway.testing\n"
        "heavy = {'redis', 'aiokafka', 'starlette', 'pydantic', 'uvicorn', 'httpx', 'click', 'yaml', 'pytest'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
