"""The queue of work: once per key, one at a time, again after errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from laneway_operator.engine.errors import NotLeading
from laneway_operator.engine.queue import FIRST_BACKOFF_S, PATIENCE_S, WorkQueue
from laneway_operator.keys import ObjectKey


def key(name: str) -> ObjectKey:
    return ObjectKey("TaskQueue", "ns", name)


class Passes:
    """Passes that wait for the test, and say what they return."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self.go = asyncio.Event()
        self.go.set()
        self.now = 0
        self.most = 0
        self.returns: Callable[[ObjectKey], float | None] = lambda key: None
        self.ended: list[tuple[str, str]] = []
        self.queue = WorkQueue({"TaskQueue": self}, concurrency=2, pass_timeout=5.0, observe=self.observe)

    def observe(self, kind: str, result: str, seconds: float) -> None:
        self.ended.append((kind, result))

    async def __call__(self, key: ObjectKey) -> float | None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.began.put_nowait(key)
        try:
            await self.go.wait()
            return self.returns(key)
        finally:
            self.now -= 1

    async def next(self) -> str:
        """The name of the next object whose pass begins."""
        async with asyncio.timeout(10):
            return (await self.began.get()).name

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The queue runs."""
        task = asyncio.create_task(self.queue.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def idle(passes: Passes) -> None:
    """Until no pass runs."""
    async with asyncio.timeout(10):
        while passes.queue.running or passes.queue.depth:  # noqa: ASYNC110  (its own state is what is awaited)
            await asyncio.sleep(0)


async def test_a_key_that_is_woken_many_times_has_one_pass() -> None:
    passes = Passes()
    for _ in range(5):
        passes.queue.wake(key("a"))
    assert passes.queue.depth == 1
    async with passes.running():
        assert await passes.next() == "a"
        await idle(passes)
    assert passes.ended == [("TaskQueue", "done")]


async def test_a_key_that_is_woken_during_its_pass_has_another_after_it_and_never_two_at_once() -> None:
    passes = Passes()
    passes.go.clear()
    passes.queue.wake(key("a"))
    async with passes.running():
        await passes.next()
        passes.queue.wake(key("a"))
        passes.queue.wake(key("a"))
        assert passes.queue.depth == 0
        passes.go.set()
        assert await passes.next() == "a"
        await idle(passes)
    assert passes.most == 1
    assert len(passes.ended) == 2


async def test_no_more_passes_run_at_once_than_allowed() -> None:
    passes = Passes()
    passes.go.clear()
    for name in "abcde":
        passes.queue.wake(key(name))
    async with passes.running():
        assert {await passes.next(), await passes.next()} == {"a", "b"}
        await asyncio.sleep(0)
        assert (passes.queue.running, passes.queue.depth) == (2, 3)
        passes.go.set()
        await idle(passes)
    assert passes.most == 2
    assert len(passes.ended) == 5


async def test_a_pass_is_repeated_after_the_seconds_that_it_returned() -> None:
    passes = Passes()
    passes.returns = lambda key: 0.01
    passes.queue.wake(key("a"))
    async with passes.running():
        for _ in range(3):
            assert await passes.next() == "a"


async def test_of_several_delays_the_earliest_wins() -> None:
    passes = Passes()
    passes.queue.wake_after(key("a"), 3600)
    passes.queue.wake_after(key("a"), 0.01)
    passes.queue.wake_after(key("a"), 7200)
    async with passes.running():
        assert await passes.next() == "a"
        await idle(passes)
    assert len(passes.ended) == 1


async def in_order(passes: Passes, waited: float) -> list[str]:
    """In which order two timed keys, that have waited for so long, and five woken ones have their passes."""
    passes.queue = WorkQueue({"TaskQueue": passes}, concurrency=1)
    for name in ("t1", "t2"):
        passes.queue._timed[key(name)] = asyncio.get_running_loop().time() - waited
    for name in ("w1", "w2", "w3", "w4", "w5"):
        passes.queue.wake(key(name))
    async with passes.running():
        return [await passes.next() for _ in range(7)]


async def test_what_events_woke_goes_before_what_a_timer_woke() -> None:
    assert await in_order(Passes(), waited=1.0) == ["w1", "w2", "w3", "w4", "w5", "t1", "t2"]


async def test_what_a_timer_woke_long_ago_has_every_fourth_pass() -> None:
    order = await in_order(Passes(), waited=PATIENCE_S + 1)
    assert order == ["w1", "w2", "w3", "t1", "w4", "w5", "t2"]


async def test_a_pass_that_fails_is_tried_again_after_a_pause_that_doubles() -> None:
    passes = Passes()
    delays: list[float] = []
    passes.queue.wake_after = lambda key, seconds: delays.append(seconds)  # type: ignore[method-assign]
    passes.queue._jitter = lambda: 0.0
    works = False

    def outcome(key: ObjectKey) -> float | None:
        if works:
            return None
        raise RuntimeError("Kafka is away")

    passes.returns = outcome
    async with passes.running():
        for _ in range(9):
            passes.queue.wake(key("a"))
            await passes.next()
            await idle(passes)
        assert delays == [FIRST_BACKOFF_S * factor for factor in (1, 2, 4, 8, 16, 32, 60, 60, 60)]
        works = True
        passes.queue.wake(key("a"))
        await passes.next()
        await idle(passes)
        works = False
        passes.queue.wake(key("a"))
        await passes.next()
        await idle(passes)
    assert delays[-1] == FIRST_BACKOFF_S  # success ends the growth
    assert passes.ended.count(("TaskQueue", "failed")) == 10


async def test_a_pass_that_takes_too_long_is_cancelled_counted_and_tried_again() -> None:
    passes = Passes()
    passes.queue = WorkQueue({"TaskQueue": passes}, pass_timeout=0.01, observe=passes.observe)
    passes.go.clear()
    passes.queue.wake(key("a"))
    async with passes.running():
        assert await passes.next() == "a"
        assert await passes.next() == "a"
    assert passes.ended[0] == ("TaskQueue", "timeout")


async def test_a_time_out_inside_a_pass_is_a_failure_of_the_pass_and_not_its_own_time() -> None:
    passes = Passes()

    def outcome(key: ObjectKey) -> float | None:
        raise TimeoutError("Redis took too long")

    passes.returns = outcome
    passes.queue.wake(key("a"))
    async with passes.running():
        await passes.next()
        await idle(passes)
    assert passes.ended == [("TaskQueue", "failed")]


async def test_a_pass_that_may_not_write_is_no_failure_and_is_made_again_soon() -> None:
    """Its lease may have been renewed late, and then this process leads on: no other comes to do it."""
    passes = Passes()

    def outcome(key: ObjectKey) -> float | None:
        if not passes.ended:
            raise NotLeading("the lease was renewed late")
        return None

    passes.returns = outcome
    passes.queue.wake(key("a"))
    async with passes.running():
        await passes.next()
        await idle(passes)
        assert passes.queue._failures == {}
        assert await passes.next() == "a"
        await idle(passes)
    assert passes.ended == [("TaskQueue", "fenced"), ("TaskQueue", "done")]


async def test_passes_that_wait_for_long_give_their_places_to_others() -> None:
    passes = Passes()
    passes.go.clear()
    for name in "abcdef":
        passes.queue.wake(key(name))
    passes.queue.wake(ObjectKey("TaskQueue", "other", "healthy"))
    async with passes.running():
        assert [await passes.next() for _ in range(7)] == [*"abcdef", "healthy"]
        passes.go.set()
        await idle(passes)
    assert passes.queue._lingering == set()
    assert not passes.queue._lingering_in


async def test_one_namespace_can_not_have_all_places_by_lingering() -> None:
    passes = Passes()
    passes.go.clear()
    for n in range(20):
        passes.queue.wake(key(f"hangs-{n}"))
    async with passes.running():
        # Four times the two that run at once, and those that began before they were seen to linger.
        began = [await passes.next() for _ in range(8)]
        passes.queue.wake(ObjectKey("TaskQueue", "other", "healthy"))
        while "healthy" not in began:
            began.append(await passes.next())
        assert len(began) <= 8 + 2 + 1
        assert passes.queue.depth >= 10
        passes.go.set()
        await idle(passes)
    assert passes.ended.count(("TaskQueue", "done")) == 21


async def test_finish_lets_passes_end_and_begins_no_more() -> None:
    passes = Passes()
    passes.go.clear()
    for name in "abc":
        passes.queue.wake(key(name))
    run = asyncio.create_task(passes.queue.run())
    await passes.next()
    await passes.next()
    finish = asyncio.create_task(passes.queue.finish(30.0))
    await asyncio.sleep(0)
    passes.go.set()
    assert await finish
    await run
    assert passes.ended == [("TaskQueue", "done")] * 2
    assert passes.queue.depth == 1


async def test_after_finish_nothing_begins_any_more_even_in_a_new_term() -> None:
    passes = Passes()
    assert await passes.queue.finish(1.0)
    passes.queue.wake(key("a"))
    await passes.queue.run()
    assert (passes.ended, passes.queue.depth) == ([], 1)


async def test_finish_cancels_what_does_not_end_within_the_grace() -> None:
    passes = Passes()
    passes.go.clear()
    passes.queue.wake(key("a"))
    run = asyncio.create_task(passes.queue.run())
    await passes.next()
    assert not await passes.queue.finish(0.01)
    await run
    assert passes.ended == [("TaskQueue", "cancelled")]


async def test_cancelling_the_queue_cancels_its_passes() -> None:
    passes = Passes()
    passes.go.clear()
    passes.queue.wake(key("a"))
    async with passes.running():
        await passes.next()
    assert passes.ended == [("TaskQueue", "cancelled")]
    assert passes.queue.running == 0


async def test_a_forgotten_key_has_no_pass_any_more() -> None:
    passes = Passes()
    passes.queue.wake(key("a"))
    passes.queue.wake_after(key("b"), 0.001)
    passes.queue.wake(key("c"))
    passes.queue.forget(key("a"))
    passes.queue.forget(key("b"))
    async with passes.running():
        assert await passes.next() == "c"
        await idle(passes)
    assert len(passes.ended) == 1


async def test_the_oldest_wait_is_that_of_the_first_key_still_waiting() -> None:
    passes = Passes()
    assert passes.queue.oldest == 0
    passes.queue.wake(key("a"))
    passes.queue._woken[key("a")] -= 7
    passes.queue.wake(key("b"))
    assert 7 <= passes.queue.oldest < 60


async def test_a_kind_without_a_pass_is_refused_by_name() -> None:
    passes = Passes()
    with pytest.raises(KeyError, match="no pass for Secret; there are passes for TaskQueue"):
        passes.queue.wake(ObjectKey("Secret", "ns", "a"))
