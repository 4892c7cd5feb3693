"""Waiting on the store in memory: with the machine's time, and with time that a test moves."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.contract.stores import envelope

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.errors import ConfigError
from laneway.kit.ids import new_task_id
from laneway.model.config import QueueConfig

pytestmark = pytest.mark.asyncio


async def store_on(clock: VirtualClock | None = None) -> MemoryStore:
    store = MemoryStore(clock)
    await store.configure(QueueConfig(), {}, expected=None)
    assert await store.wait_work(0)
    assert await store.wait_tend(0)
    return store


async def test_a_wait_ends_when_work_comes() -> None:
    store = await store_on()
    waiting = asyncio.ensure_future(store.wait_work(30.0))
    await asyncio.sleep(0)
    await store.submit([(new_task_id(), envelope())])
    assert await asyncio.wait_for(waiting, 5.0)


async def test_on_real_time_a_wait_for_nothing_takes_its_time() -> None:
    store = await store_on()
    before = time.monotonic()
    assert not await store.wait_work(0.05)
    assert time.monotonic() - before >= 0.045


async def test_on_virtual_time_a_wait_ends_when_the_clock_is_moved() -> None:
    clock = VirtualClock()
    store = await store_on(clock)
    waits = [asyncio.ensure_future(w) for w in (store.wait_work(60.0), store.wait_tend(90.0))]
    await asyncio.sleep(0)
    assert clock.next_timer_ms() == 60_000
    clock.advance(59_999)
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    clock.advance(1)
    assert await waits[0] is False
    assert not waits[1].done()
    clock.advance(30_000)
    assert await waits[1] is False
    assert clock.next_timer_ms() is None


async def test_on_virtual_time_waiting_for_an_end_times_out_too() -> None:
    clock = VirtualClock()
    store = await store_on(clock)
    id = new_task_id()
    await store.submit([(id, envelope())])
    waiting = asyncio.ensure_future(store.wait_ended(id, 10.0))
    await asyncio.sleep(0)
    clock.advance(10_000)
    assert await waiting is None


async def test_each_token_wakes_one_waiter() -> None:
    store = await store_on(VirtualClock())
    waits = [asyncio.ensure_future(store.wait_work(1.0)) for _ in range(3)]
    await asyncio.sleep(0)
    await store.submit([(new_task_id(), envelope()) for _ in range(2)])
    await asyncio.sleep(0.01)
    assert [wait.done() for wait in waits] == [True, True, False]
    waits[2].cancel()
    await asyncio.gather(waits[2], return_exceptions=True)


async def test_a_token_for_a_waiter_that_left_stays_for_the_next() -> None:
    store = await store_on(VirtualClock())
    waiting = asyncio.ensure_future(store.wait_work(1.0))
    await asyncio.sleep(0)
    await store.submit([(new_task_id(), envelope())])
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await store.wait_work(0)


async def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="0 ms or more"):
        VirtualClock().advance(-1)


async def test_a_queue_without_a_configuration_says_so() -> None:
    with pytest.raises(ConfigError, match="configure"):
        await MemoryStore().config()
