"""Statistics over time: from what is relayed, sampled and told by workers, to the points of a chart."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, Q, asgi, eventually, run_one

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.execute.teller import Teller
from laneway.kit.task_metrics import TaskMetrics
from laneway.model.settlement import Kind
from laneway.ports.history import COARSE, Count
from laneway.tend.historian import Historian
from laneway.tend.relay import Relay

HISTORY = f"{Q}/stats/history"


@pytest.fixture
async def historian(store: RedisStore, redis7_url: str) -> AsyncIterator[Historian]:
    """A relay and a historian, as the poller puts them together."""
    own = RedisStore(redis7_url, "mail")
    historian = Historian(store, store.history, lambda: relay.leading)
    relay = Relay(own, StreamEventLog(own), "default/mail", on_relayed=historian.count)
    await historian.start()
    await relay.start()
    yield historian
    await relay.stop()
    await historian.stop()
    await own.close()


async def points(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get(HISTORY, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def total(answer: dict[str, Any], field: str) -> int:
    return sum(point[field] for point in answer["points"])


async def test_what_happens_is_counted_by_the_relay_and_sampled_by_its_poller(
    store: RedisStore, historian: Historian
) -> None:
    async with asgi(store) as client:
        for lane in ("high", "high", "high", "default"):
            await client.post(TASKS, json={"type": "t", "lane": lane})
        await run_one(store)
        await run_one(store, Kind.DEAD, {"kind": "E", "message": "m", "at": 1})

        async def told() -> bool:
            now = await points(client)
            return total(now, "dead") == 1 and any(point["queued"] is not None for point in now["points"])

        await eventually(told)
        answer = await points(client, step="10s")
        assert [total(answer, f) for f in ("submitted", "succeeded", "failed", "dead", "retried")] == [4, 1, 1, 1, 0]
        assert sum(point["submitted"] for point in answer["lanes"]["high"]) == 3
        assert sum(point["submitted"] for point in answer["lanes"]["default"]) == 1
        assert answer["step"] == "10s"
        hours = await points(client, step="1h")
        assert total(hours, "submitted") == 4
        assert hours["points"][0]["at"].endswith(":00:00Z")


async def test_workers_tell_how_long_tasks_waited_and_ran_once(store: RedisStore) -> None:
    tasks = TaskMetrics().queue("mail")
    teller = Teller(tasks, store.history)
    series = tasks.series("high", "t")
    for _ in range(100):
        series.run.observe(0.2)
        series.wait.observe(0.007)
    tasks.series("high", "u").run.observe(0.2)
    await teller.tell()
    await teller.tell()
    series.run.observe(0.2)
    await teller.start()
    await teller.stop()
    async with asgi(store) as client:
        (point,) = (await points(client, step="1h"))["points"]
        assert 0.1 < point["runP50"] <= 0.25
        assert 0.005 < point["waitP50"] <= point["waitP99"] <= 0.01
    ring = await store.history.read(COARSE, 0, int(time.time()) + 300)
    assert sum(sum(bucket.r["high"][:-1]) for bucket in ring) == 102
    assert sum(bucket.w["high"][-1] for bucket in ring) == pytest.approx(0.7)


async def test_a_time_without_news_is_a_gap_and_no_row_of_zeros(store: RedisStore) -> None:
    now = int(time.time()) // 10 * 10
    await store.history.tally(
        b"1-1", [Count(now - 600, "submitted", "high", 1), Count(now - 60, "submitted", "high", 2)]
    )
    async with asgi(store) as client:
        answer = await points(client, **{"from": iso(now - 900), "to": iso(now), "step": "10s"})
        assert [(point["at"], point["submitted"]) for point in answer["points"]] == [
            (iso(now - 600), 1),
            (iso(now - 60), 2),
        ]
        assert answer["points"][0]["queued"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"step": "7s"}, "step"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2030-01-01T00:00:00Z", "to": "2029-01-01T00:00:00Z"}, "from"),
        ({"from": "2020-01-01T00:00:00Z", "to": "2024-01-01T00:00:00Z", "step": "10s"}, "step"),
        ({"since": "2020-01-01T00:00:00Z"}, "since"),
    ],
)
async def test_a_wrong_question_is_told_what_would_be_right(
    store: RedisStore, query: dict[str, str], field: str
) -> None:
    async with asgi(store) as client:
        answer = await client.get(HISTORY, params=query)
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"] == "urn:laneway:problem:invalid-query"
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_the_step_follows_from_the_time_when_none_is_named(store: RedisStore) -> None:
    now = int(time.time())
    async with asgi(store) as client:
        for back, step in ((900, "10s"), (3600, "10s"), (7000, "1m"), (86_400, "5m"), (14 * 86_400, "1h")):
            assert (await points(client, **{"from": iso(now - back), "to": iso(now)}))["step"] == step


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
