"""The gateway over a real Redis: queues, lanes, workers, draining, and one task with its ETag and its result."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, Q, asgi, eventually, open_store, problem, run_one, served, submit

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_bytes, id_text, new_incarnation, new_task_id
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind, Settlement


async def worker(store: RedisStore, name: str = "w1", slots: int = 5, state: int = 2) -> bytes:
    inc = new_incarnation()
    await store.register(inc, name, "direct", slots, 0, 0)
    await store.heartbeat(inc, state, slots, 0, [])
    return inc


# -- queues and lanes


async def test_the_list_of_queues_has_their_numbers(client: httpx.AsyncClient, store: RedisStore) -> None:
    await submit(client)
    await worker(store, slots=7)
    (queue,) = (await client.get("/api/v1/queues")).json()["items"]
    assert (queue["name"], queue["namespace"], queue["available"], queue["paused"]) == ("mail", "default", True, False)
    assert (queue["tasks"]["queued"], queue["tasks"]["submitted"]) == (1, 1)
    assert (queue["lanes"], queue["workers"], queue["slots"]) == (2, 1, 7)


async def test_a_queue_that_is_not_configured_is_listed_as_not_available(store: RedisStore) -> None:
    bare = RedisStore(store.server, "bare", patience=0.3)
    try:
        async with asgi(store, bare) as client:
            bare_item, mail = (await client.get("/api/v1/queues")).json()["items"]
            assert bare_item == {"name": "bare", "namespace": "default", "available": False}
            assert mail["available"]
            assert (await client.get("/api/v1/queues/bare")).json() == bare_item
    finally:
        await bare.close()


async def test_a_queue_tells_its_configuration_and_the_tag_changes_with_it(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    first = await client.get(Q)
    body = first.json()
    conf = body["configuration"]
    assert conf["durability"] == "fast"
    assert conf["limits"] == {
        "maxDepth": None, "maxPayloadBytes": 1_048_576, "rate": None, "tenantRate": None, "tenantMaxRunning": None,
    }  # fmt: skip
    assert conf["retry"]["maxAttempts"] == 4
    assert conf["keepEnded"] == {"count": 100_000, "seconds": 3600.0}
    assert conf["keepDead"] == {"count": 1_000_000, "seconds": None}
    assert first.headers["etag"] == f'W/"{conf["hash"]}"' == f'W/"{store.config_hash}"'
    await store.configure(
        (await store.config()).__class__(lanes=(LaneConfig(n=1, name="default"),), max_depth=9, rate=5.0, burst=10.0),
        {},
        expected=None,
    )
    again = await client.get(Q)
    assert again.headers["etag"] != first.headers["etag"]
    assert again.json()["configuration"]["limits"]["maxDepth"] == 9
    assert again.json()["configuration"]["limits"]["rate"] == {"perSecond": 5.0, "burst": 10.0}


async def test_lanes_are_told_with_settings_and_numbers_in_the_order_they_are_served(redis7_url: str) -> None:
    lanes = (
        LaneConfig(n=2, name="high", prio=9, max=3, share=20, rate=50.0, burst=50.0, drate=7.5, dburst=8.0, fifo=True),
        LaneConfig(n=1, name="default", paused=True),
    )
    store = await open_store(redis7_url, lanes=lanes, shares=True)
    try:
        async with asgi(store) as client:
            await submit(client, lane="high")
            await submit(client)
            high, default = (await client.get(f"{Q}/lanes")).json()["items"]
    finally:
        await store.close()
    assert (high["name"], high["priority"], high["paused"], high["queued"], high["running"]) == ("high", 9, False, 1, 0)
    assert (high["maxRunning"], high["minShare"]) == (3, 20)
    assert (high["rate"], high["dispatchRate"], high["fifo"], high["removed"]) == (50.0, 7.5, True, False)
    assert 0 <= high["oldestSeconds"] < 60
    assert (default["name"], default["paused"], default["queued"]) == ("default", True, 1)
    assert default["maxRunning"] is default["minShare"] is default["rate"] is default["dispatchRate"] is None


async def test_lanes_that_have_not_changed_are_304(client: httpx.AsyncClient) -> None:
    first = await client.get(f"{Q}/lanes")
    tag = first.headers["etag"]
    same = await client.get(f"{Q}/lanes", headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await submit(client)
    assert (await client.get(f"{Q}/lanes", headers={"If-None-Match": tag})).status_code == 200


# -- workers


async def test_workers_are_listed_with_what_they_hold(client: httpx.AsyncClient, store: RedisStore) -> None:
    ids = [await submit(client) for _ in range(3)]
    inc = await worker(store, "b", slots=2)
    await store.turn(inc, 1, 2, [])
    await worker(store, "a", state=4)
    first, second = (await client.get(f"{Q}/workers")).json()["items"]
    assert (first["name"], first["state"], first["tasks"]) == ("a", "stalled", [])
    assert (second["id"], second["name"], second["mode"], second["state"]) == (inc.hex(), "b", "direct", "announced")
    assert (second["slots"], second["running"], second["partition"]) == (2, 2, None)
    assert second["tasks"] == sorted(ids[:2])
    assert 0 <= second["lastBeatSeconds"] < 60
    assert abs((datetime.now(UTC) - datetime.fromisoformat(second["startedAt"])).total_seconds()) < 60


async def test_a_worker_is_drained_once_and_for_all(client: httpx.AsyncClient, store: RedisStore) -> None:
    inc = await worker(store)
    await submit(client)
    for _ in range(2):
        answer = await client.post(f"{Q}/workers/{inc.hex()}/drain")
        assert (answer.status_code, answer.json()) == (202, {"id": inc.hex(), "state": "draining"})
    assert (await store.turn(inc, 1, 5, [])).tasks == []
    assert (await store.heartbeat(inc, 2, 5, 0, [])).state == 3
    (item,) = (await client.get(f"{Q}/workers")).json()["items"]
    assert item["state"] == "draining"


@pytest.mark.parametrize("id", ["0" * 16, "xyz", "0" * 15, "ABCDEF0123456789", "%00"])
async def test_a_worker_that_does_not_live_can_not_be_drained(client: httpx.AsyncClient, id: str) -> None:
    assert problem(await client.post(f"{Q}/workers/{id}/drain")) == (404, "unknown-worker")


async def test_a_worker_that_has_left_can_not_be_drained(client: httpx.AsyncClient, store: RedisStore) -> None:
    inc = await worker(store)
    await store.deregister(inc)
    assert problem(await client.post(f"{Q}/workers/{inc.hex()}/drain")) == (404, "unknown-worker")


# -- one task


async def test_a_queued_task_waits_and_has_a_history_of_one(client: httpx.AsyncClient) -> None:
    task = (await client.get(f"{TASKS}/{await submit(client)}")).json()
    assert [event["what"] for event in task["history"]] == ["submitted"]
    assert 0 <= task["waits"]["waitSeconds"] < 60
    assert task["waits"]["runSeconds"] is task["endedAt"] is task["worker"] is task["progress"] is task["logs"] is None
    assert task["redacted"] is False


async def test_a_running_task_names_its_worker(client: httpx.AsyncClient, store: RedisStore) -> None:
    id = await submit(client)
    inc = await worker(store, "mary")
    await store.turn(inc, 1, 1, [])
    task = (await client.get(f"{TASKS}/{id}")).json()
    assert (task["state"], task["worker"]) == ("running", "mary")
    assert [event["what"] for event in task["history"]] == ["submitted", "started"]
    assert 0 <= task["waits"]["runSeconds"] < 60


async def test_the_history_of_a_task_that_failed_and_then_died(client: httpx.AsyncClient, store: RedisStore) -> None:
    id = await submit(client, maxAttempts=2)
    submitted = int.from_bytes(id_bytes(id)[:6], "big")

    def error(n: int) -> dict[str, Any]:
        return {"kind": "E", "message": f"no {n}", "at": submitted + n, "attempt": n, "worker": "w1", "traceback": "tb"}

    await run_one(store, Kind.RETRY, error(1))
    task = (await client.get(f"{TASKS}/{id}")).json()
    assert task["state"] == "scheduled"
    assert {"scheduled", "failed", "started", "submitted"} == {event["what"] for event in task["history"]}
    await eventually(lambda: _promoted(store))
    await run_one(store, Kind.DEAD, error(2))
    task = (await client.get(f"{TASKS}/{id}")).json()
    assert (task["state"], task["attempts"], task["worker"]) == ("dead", 2, "w1")
    assert [(e["what"], e["attempt"], e["detail"]) for e in task["history"] if e["what"] == "failed"] == [
        ("failed", 1, "E: no 1"), ("failed", 2, "E: no 2"),
    ]  # fmt: skip
    assert task["history"][-1]["what"] == "dead"
    assert task["history"][-1]["at"] == task["endedAt"] == task["stateSince"]
    # (The errors' times are made up: by the clock of a worker, they need not fit those of Redis.)
    assert [event["what"] for event in task["history"]] == ["submitted", "failed", "started", "failed", "dead"]


async def _promoted(store: RedisStore) -> bool:
    return (await store.promote(10)).promoted > 0


async def test_a_task_that_has_not_changed_is_304_and_a_change_of_state_is_not(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    url = f"{TASKS}/{await submit(client)}"
    first = await client.get(url)
    tag = first.headers["etag"]
    assert tag.startswith('W/"') and first.headers["cache-control"] == "private, no-cache"
    assert (await client.get(url, headers={"If-None-Match": tag})).status_code == 304
    assert (await client.get(url, headers={"If-None-Match": "*"})).status_code == 304
    assert (await client.get(url, headers={"If-None-Match": 'W/"other"'})).status_code == 200
    await run_one(store)
    again = await client.get(url, headers={"If-None-Match": tag})
    assert (again.status_code, again.json()["state"]) == (200, "succeeded")


# -- the result


async def test_the_result_of_an_ended_task_comes_at_once(client: httpx.AsyncClient, store: RedisStore) -> None:
    id = await submit(client)
    await run_one(store, Kind.COMPLETE, {"sum": 3})
    answer = await client.get(f"{TASKS}/{id}/result?wait=30")
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": id, "state": "succeeded", "result": {"sum": 3}, "error": None},
    )


async def test_the_result_of_a_dead_task_is_its_last_error(client: httpx.AsyncClient, store: RedisStore) -> None:
    id = await submit(client)
    await run_one(store, Kind.DEAD, {"kind": "E", "message": "no", "at": 1, "attempt": 1})
    body = (await client.get(f"{TASKS}/{id}/result")).json()
    assert (body["state"], body["result"]) == ("dead", None)
    assert (body["error"]["kind"], body["error"]["message"]) == ("E", "no")


async def test_without_waiting_an_unfinished_task_is_202(client: httpx.AsyncClient) -> None:
    id = await submit(client)
    for query in ("", "?wait=0", "?wait=0.05"):
        answer = await client.get(f"{TASKS}/{id}/result{query}")
        assert (answer.status_code, answer.json()) == (202, {"id": id, "state": "queued"})


async def test_many_who_wait_for_a_result_get_it_when_it_comes(store: RedisStore) -> None:
    async with served(store) as client:
        id = await submit(client)
        waiting = [asyncio.create_task(client.get(f"{TASKS}/{id}/result?wait=30")) for _ in range(20)]
        connected = asyncio.create_task(_wait_listeners(store))
        await connected
        await run_one(store, Kind.COMPLETE, 42)
        answers = await asyncio.gather(*waiting)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["result"] for answer in answers} == {42}
        # All of them shared one subscription, which ends with the last.
        await eventually(lambda: _listeners(store, 0))


async def _wait_listeners(store: RedisStore) -> None:
    await eventually(lambda: _listeners(store, 1))


async def _listeners(store: RedisStore, n: int) -> bool:
    ((_, count),) = await store._client.pubsub_numsub(store.keys.done_channel)
    return bool(count == n)


async def test_waiting_for_a_task_that_is_purged_meanwhile_is_404(store: RedisStore) -> None:
    async with served(store) as client:
        id = await submit(client)
        waiting = asyncio.create_task(client.get(f"{TASKS}/{id}/result?wait=30"))
        await eventually(lambda: _listeners(store, 1))
        await store.cancel([id_bytes(id)])
        await store.purge([id_bytes(id)])
        answer = await waiting
        # Whether the end or the purge is seen first is up to the clock; both are true answers.
        if answer.status_code == 200:
            assert answer.json()["state"] == "cancelled"
        else:
            assert problem(answer) == (404, "unknown-task")


async def test_what_can_not_be_waited_for_is_refused(client: httpx.AsyncClient) -> None:
    id = await submit(client)
    assert problem(await client.get(f"{TASKS}/{id}/result?wait=61")) == (422, "invalid-query")
    assert problem(await client.get(f"{TASKS}/{id}/result?wait=abc")) == (422, "invalid-query")
    assert problem(await client.get(f"{TASKS}/{id}/result?wait=1&wait=2")) == (422, "invalid-query")
    answer = await client.get(f"{TASKS}/{id}/result?wiat=1")
    assert problem(answer) == (422, "invalid-query")
    assert answer.json()["errors"] == [
        {"field": "wiat", "message": "there is no parameter wiat: did you mean wait?"},
    ]
    assert problem(await client.get(f"{TASKS}/{id_text(new_task_id())}/result?wait=5")) == (404, "unknown-task")


@pytest.mark.parametrize("url", [Q, f"{Q}/lanes", f"{Q}/workers", "/api/v1/queues", f"{Q}/stats"])
async def test_routes_without_a_query_refuse_one(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(f"{url}?x=1")
    assert problem(answer) == (422, "invalid-query")
    assert "there is no parameter x" in answer.json()["detail"]


async def test_a_worker_that_settles_while_it_drains_leaves_nothing_behind(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    id = await submit(client)
    inc = await worker(store)
    (task,) = (await store.turn(inc, 1, 1, [])).tasks
    assert (await client.post(f"{Q}/workers/{inc.hex()}/drain")).status_code == 202
    assert await store.settle(inc, [Settlement(Kind.COMPLETE, task.id, task.fence)]) == {}
    assert (await client.get(f"{TASKS}/{id}")).json()["state"] == "succeeded"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (TASKS, {"GET", "HEAD", "POST"}),
        (f"{Q}/dead/replay", {"POST"}),
        (f"{Q}/dead/groups", {"GET", "HEAD"}),
        (f"{Q}/lanes", {"GET", "HEAD"}),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_told_which_it_has(
    client: httpx.AsyncClient, path: str, allow: set[str]
) -> None:
    answer = await client.delete(path)
    assert problem(answer) == (405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == allow


async def test_a_time_in_a_query_is_a_time_and_no_number(client: httpx.AsyncClient) -> None:
    assert problem(await client.get(f"{Q}/stats/history?to=0.5")) == (422, "invalid-query")
