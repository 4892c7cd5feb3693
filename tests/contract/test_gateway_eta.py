"""When a task would start, over HTTP: from what is measured, in answers and metrics, and how wrong it was."""

import asyncio
import time

import pytest
from tests.contract.gateways import LANES, TASKS, Q, asgi, eventually, metric, open_store, served

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import new_incarnation
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind, Settlement
from laneway.ports.history import Count, LaneSize, Sizes


async def worker(store: RedisStore, slots: int) -> bytes:
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", slots, 0, 0)
    await store.heartbeat(inc, 2, slots, 0, [])
    return inc


async def a_minute_of(store: RedisStore, lane: str, running: int, each_second: float) -> None:
    """A history in which a lane held so many slots and ended so many tasks a second, with work waiting always."""
    now = int(time.time()) // 10 * 10
    for i, at in enumerate(range(now - 60, now, 10)):
        await store.history.tally(b"%d-0" % (i + 1), [Count(at, "succeeded", lane, round(10 * each_second))])
        await store.history.sample(Sizes(at, 50, running, 0, 1, running, [LaneSize(lane, 50, running)]))


async def test_a_lane_with_a_free_slot_starts_at_once_and_one_without_workers_is_unknown(store: RedisStore) -> None:
    async with asgi(store) as client:
        answer = await client.get(f"{Q}/lanes/high/eta")
        assert answer.json() == {
            "lane": "high", "etaSeconds": None, "basis": "unknown", "ratePerSecond": 0.0, "ahead": 0,
        }  # fmt: skip
    await worker(store, 2)
    async with asgi(store) as client:
        answer = await client.get(f"{Q}/lanes/high/eta")
        assert answer.json() == {
            "lane": "high", "etaSeconds": 0.0, "basis": "idle", "ratePerSecond": 0.0, "ahead": 0,
        }  # fmt: skip


async def test_a_backlog_takes_as_long_as_the_measured_rate_says(store: RedisStore) -> None:
    inc = await worker(store, 4)
    await a_minute_of(store, "default", running=4, each_second=8)
    async with asgi(store) as client:
        await client.post(f"{TASKS}/batch", json=[{"type": "t"}] * 84)
        await store.turn(inc, 1, 4, [])
        found = (await client.get(f"{Q}/lanes/default/eta")).json()
        assert found["basis"] == "rate"
        assert found["ahead"] == 80
        assert 9 < found["etaSeconds"] < 12
        assert 7 < found["ratePerSecond"] < 9
        shown = (await client.get(f"{Q}/stats")).json()["lanes"]
        assert {lane["name"]: lane["etaSeconds"] is not None for lane in shown} == {"default": True, "high": True}
        assert shown[0]["etaSeconds"] == pytest.approx(found["etaSeconds"], abs=0.01)


async def test_a_lane_that_is_none_is_told_which_there_are(store: RedisStore) -> None:
    async with asgi(store) as client:
        answer = await client.get(f"{Q}/lanes/hihg/eta")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:laneway:problem:not-found")
        assert "high" in answer.json()["detail"]


async def test_a_paused_lane_has_no_prediction_and_no_sample(redis7_url: str) -> None:
    store = await open_store(redis7_url, lanes=(*LANES, LaneConfig(n=3, name="halted", paused=True)))
    await worker(store, 2)
    async with served(store) as client:
        assert (await client.get(f"{Q}/lanes/halted/eta")).json()["etaSeconds"] is None

        async def shown() -> bool:
            return 'lane="high"' in (await client.get("/metrics")).text

        await eventually(shown)
        text = (await client.get("/metrics")).text
        assert 'laneway_lane_eta_seconds{lane="high",queue="mail"} 0.0' in text
        assert 'laneway_lane_eta_seconds{lane="halted"' not in text
    await store.close()


async def test_predictions_are_compared_with_what_came_true(store: RedisStore) -> None:
    inc = await worker(store, 1)
    async with served(store) as client:

        async def predicted() -> bool:
            return "laneway_lane_eta_seconds{" in (await client.get("/metrics")).text

        await eventually(predicted)
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201
        (task,) = (await store.turn(inc, 1, 1, [])).tasks
        await store.settle(inc, [Settlement(Kind.COMPLETE, task.id, task.fence)])

        async def compared() -> bool:
            return await metric(client, "laneway_eta_error_seconds_bucket", le="+Inf", lane="default") == 1

        await eventually(compared)
        # It was foreseen at once and started within moments: the error is small, and not over 0.
        assert await metric(client, "laneway_eta_error_seconds_bucket", le="0.0", lane="default") == 1
        assert await metric(client, "laneway_eta_error_seconds_bucket", le="-5.0", lane="default") == 0
    await asyncio.sleep(0)
