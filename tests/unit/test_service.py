"""Services: started, supervised and stopped in one way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from laneway.kit.health import Health
from laneway.kit.service import Service


class Loop(Service):
    """A service whose loop is given to it; remembers what was called."""

    def __init__(self, body: Callable[["Loop"], Awaitable[None]], **options: object) -> None:
        super().__init__("loop", first_pause=0.001, longest_pause=0.004, **options)  # type: ignore[arg-type]
        self.calls: list[str] = []
        self.runs = 0
        self._body = body

    async def on_start(self) -> None:
        self.calls.append("on_start")

    async def run(self) -> None:
        self.runs += 1
        await self._body(self)

    async def on_stop(self) -> None:
        self.calls.append("on_stop")


async def until_stopped(loop: Loop) -> None:
    while await loop.pause(60):
        pass


async def test_it_runs_from_start_to_stop() -> None:
    loop = Loop(until_stopped)
    assert not loop.started
    await loop.start()
    assert loop.started
    await loop.stop()
    assert not loop.started
    assert loop.calls == ["on_start", "on_stop"]


async def test_stopping_twice_is_fine() -> None:
    loop = Loop(until_stopped)
    await loop.start()
    await asyncio.gather(loop.stop(), loop.stop())
    await loop.stop()
    assert loop.calls == ["on_start", "on_stop"]


async def test_stopping_before_starting_is_fine_and_final() -> None:
    loop = Loop(until_stopped)
    await loop.stop()
    assert loop.calls == []
    with pytest.raises(RuntimeError, match="started once"):
        await loop.start()


async def test_starting_twice_starts_one_loop() -> None:
    running = asyncio.Event()

    async def until_told(loop: Loop) -> None:
        running.set()
        await until_stopped(loop)

    loop = Loop(until_told)
    await loop.start()
    await loop.start()
    await running.wait()
    await loop.stop()
    assert loop.calls == ["on_start", "on_stop"]
    assert loop.runs == 1


async def test_a_broken_loop_is_logged_counted_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    again = asyncio.Event()

    async def breaks_twice(loop: Loop) -> None:
        if loop.runs <= 2:
            raise ZeroDivisionError("the loop's own fault")
        again.set()
        await until_stopped(loop)

    loop = Loop(breaks_twice, on_failure=lambda name, error: told.append(f"{name}: {error}"))
    with caplog.at_level(logging.ERROR):
        await loop.start()
        await again.wait()
    assert loop.failures == 2
    assert told == ["loop: the loop's own fault"] * 2
    assert loop.started
    record = caplog.records[0]
    assert "service=loop" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
    await loop.stop()


async def test_the_pause_before_a_restart_doubles_up_to_a_bound_with_jitter() -> None:
    loop = Loop(until_stopped)
    pauses: list[float] = []

    async def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return True

    async def breaks(service: Loop) -> None:
        if service.runs == 6:
            return
        raise ValueError

    loop._body = breaks
    loop.pause = pause  # type: ignore[method-assign]
    await loop.start()
    await loop.wait_ended()
    assert len(pauses) == 5
    for pause_taken, most in zip(pauses, (0.001, 0.002, 0.004, 0.004, 0.004), strict=True):
        assert most / 2 <= pause_taken <= most


async def test_a_loop_that_keeps_breaking_makes_no_progress() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    broke = asyncio.Event()

    async def breaks(loop: Loop) -> None:
        if loop.runs == 3:
            broke.set()
        raise ValueError

    loop = Loop(breaks, health=health, allowed_silence=5.0)
    await loop.start()
    now[0] += 6
    await broke.wait()
    assert not health.live().ok
    await loop.stop()
    assert health.live().ok, "a loop stopped on purpose is not missed"


async def test_progress_feeds_health() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    loop = Loop(until_stopped, health=health, allowed_silence=5.0)
    await loop.start()
    now[0] += 6
    assert not health.live().ok
    loop.touch()
    assert health.live().ok
    await loop.stop()


async def test_a_run_that_returns_ends_the_service() -> None:
    async def returns(loop: Loop) -> None:
        return

    loop = Loop(returns)
    await loop.start()
    await loop.wait_ended()
    assert not loop.started
    assert loop.calls == ["on_start", "on_stop"]
    await loop.stop()


async def test_what_starting_raises_comes_out_and_nothing_runs() -> None:
    class Broken(Loop):
        async def on_start(self) -> None:
            raise OSError("no such port")

    loop = Broken(until_stopped)
    with pytest.raises(OSError, match="no such port"):
        await loop.start()
    assert loop.runs == 0
    await loop.stop()


async def test_a_loop_that_does_not_end_is_cancelled_after_its_grace() -> None:
    cancelled = asyncio.Event()
    running = asyncio.Event()

    async def deaf(loop: Loop) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    loop = Loop(deaf, grace=0.01)
    await loop.start()
    await running.wait()
    await loop.stop()
    assert cancelled.is_set()
    assert loop.calls == ["on_start", "on_stop"]


async def test_a_loop_cancelled_before_its_first_step_still_ends() -> None:
    loop = Loop(until_stopped, grace=0.0)
    await loop.start()
    assert loop._task is not None
    loop._task.cancel()
    await loop.stop()
    assert loop.calls == ["on_start", "on_stop"]


async def test_a_loop_may_stop_itself() -> None:
    async def suicidal(loop: Loop) -> None:
        await loop.stop()
        assert loop.stopping

    loop = Loop(suicidal)
    await loop.start()
    await loop.wait_ended()
    assert loop.failures == 0
    assert loop.calls == ["on_start", "on_stop"]


async def test_stop_ends_a_pause_at_once() -> None:
    loop = Loop(until_stopped)
    await loop.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await loop.stop()


async def test_stop_during_the_pause_after_a_failure_does_not_start_it_again() -> None:
    failed = asyncio.Event()

    async def breaks(loop: Loop) -> None:
        failed.set()
        raise ValueError

    loop = Loop(breaks)
    loop._first_pause = loop._longest_pause = 60.0
    await loop.start()
    await failed.wait()
    async with asyncio.timeout(5):
        await loop.stop()
    assert loop.runs == 1
