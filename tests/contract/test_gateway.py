"""The gateway over a real Redis: submitting, refusals, batches, looking and cancelling."""

import asyncio

import httpx
import msgspec
import pytest
from tests.contract.gateways import TASKS, TRACE, TRACE_2, Q, asgi, metric, open_store, run_one

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_text, new_incarnation, new_task_id
from laneway.model.settlement import Kind
from laneway.submit import NewTask, Submitter
from servers.proxy import RedisProxy


async def test_a_task_is_accepted_and_all_its_fields_come_back(client: httpx.AsyncClient) -> None:
    sent = {
        "type": "mail.send", "lane": "high", "priority": 7, "payload": {"to": "ä@b", "n": [1, 2.5, None]},
        "description": "a mail", "tenant": "acme", "idempotencyKey": "k",
        "runAt": "2034-01-31T10:00:00+02:00", "startTimeout": 60, "timeout": 1.5,
        "maxAttempts": 9, "labels": {"team": "x"},
        "backoff": {"base": 1, "factor": 3, "cap": 60, "jitter": 0},
    }  # fmt: skip
    answer = await client.post(TASKS, json=sent, headers={"traceparent": TRACE})
    assert answer.status_code == 201
    body = answer.json()
    assert body == {"id": body["id"], "state": "scheduled", "duplicate": False}
    assert answer.headers["location"] == f"{TASKS}/{body['id']}"
    got = (await client.get(answer.headers["location"])).json()
    assert got["submittedAt"].endswith("Z")
    assert {key: got[key] for key in sent if key not in ("runAt", "backoff")} == {
        key: value for key, value in sent.items() if key not in ("runAt", "backoff")
    }
    assert got["backoff"] == {"base": 1.0, "factor": 3.0, "cap": 60.0, "jitter": 0.0}
    assert got["runAt"] == "2034-01-31T08:00:00Z"
    assert got["trace"] == TRACE
    assert (got["id"], got["queue"], got["state"], got["attempts"]) == (body["id"], "mail", "scheduled", 0)


async def test_a_type_alone_is_enough_and_null_counts_as_not_given(client: httpx.AsyncClient) -> None:
    for body in (
        {"type": "t"},
        {"type": "t", "lane": None, "payload": None, "priority": None, "backoff": None},
    ):
        answer = await client.post(TASKS, json=body)
        assert answer.status_code == 201, answer.text
        got = (await client.get(answer.headers["location"])).json()
        assert (got["state"], got["lane"], got["priority"], got["payload"]) == ("queued", "default", 4, {})


async def test_a_delay_schedules_the_task(client: httpx.AsyncClient) -> None:
    body = (await client.post(TASKS, json={"type": "t", "delay": 3600})).json()
    assert body["state"] == "scheduled"
    assert (await client.get(f"{TASKS}/{body['id']}")).json()["state"] == "scheduled"


async def test_a_time_in_the_past_runs_at_once(client: httpx.AsyncClient) -> None:
    body = (await client.post(TASKS, json={"type": "t", "runAt": "2001-01-01T00:00:00Z"})).json()
    assert body["state"] == "queued"
    assert (await client.get(f"{TASKS}/{body['id']}")).json()["state"] == "queued"


@pytest.mark.parametrize("header", ["k-1", '"k-1"'], ids=["bare", "as a structured field"])
async def test_the_same_key_and_payload_gives_the_first_task_marked_duplicate(
    client: httpx.AsyncClient, header: str
) -> None:
    sent = {"type": "t", "payload": {"a": 1}}
    first = (await client.post(TASKS, json={**sent, "idempotencyKey": "k-1"})).json()
    again = await client.post(TASKS, json={**sent, "lane": "high"}, headers={"Idempotency-Key": header})
    assert again.status_code == 200
    assert again.json() == {"id": first["id"], "state": "queued", "duplicate": True}


async def test_the_same_key_with_another_payload_is_a_conflict_that_names_the_first(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = (await client.post(TASKS, json={"type": "t", "payload": {"a": 1}}, headers=key)).json()
    other = await client.post(TASKS, json={"type": "t", "payload": {"a": 2}}, headers=key)
    assert other.status_code == 409
    assert other.json()["type"] == "urn:laneway:problem:conflict"
    assert other.json()["taskId"] == first["id"]
    assert first["id"] in other.json()["detail"]
    assert (await store.stats()).counts["submitted"] == 1


async def test_a_key_is_the_tenants_own(client: httpx.AsyncClient) -> None:
    ids = set()
    for tenant in ("a", "b"):
        answer = await client.post(TASKS, json={"type": "t", "tenant": tenant, "idempotencyKey": "k"})
        assert answer.status_code == 201
        ids.add(answer.json()["id"])
    assert len(ids) == 2


async def test_a_clients_own_id_makes_sending_again_safe_even_with_another_trace(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    sent = {"type": "t", "id": id_text(new_task_id()), "payload": {"a": 1}}
    first = await client.post(TASKS, json=sent, headers={"traceparent": TRACE})
    again = await client.post(TASKS, json=sent, headers={"traceparent": TRACE_2})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] == sent["id"]
    other = await client.post(TASKS, json={**sent, "payload": {"a": 2}}, headers={"traceparent": TRACE_2})
    assert other.status_code == 409
    assert other.json()["taskId"] == sent["id"]
    assert (await store.stats()).counts["submitted"] == 1


async def test_a_traceparent_that_is_malformed_is_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.post(TASKS, json={"type": "t"}, headers={"traceparent": "garbage"})
    assert (await client.get(answer.headers["location"])).json()["trace"] is None


async def test_submissions_that_come_together_go_in_few_calls(redis_proxy: RedisProxy) -> None:
    store = await open_store(redis_proxy.url)
    async with asgi(store) as client:
        await client.post(TASKS, json={"type": "t"})
        answers = await asyncio.gather(*(client.post(TASKS, json={"type": "t"}) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 100
        calls = await metric(client, "laneway_submit_batch_tasks_count", queue="mail")
        assert await metric(client, "laneway_submit_batch_tasks_sum", queue="mail") == 101
        assert calls <= 60
    assert (await store.stats()).counts["submitted"] == 101
    await store.close()


async def test_a_charset_and_json_dialects_are_accepted(client: httpx.AsyncClient) -> None:
    for media in ("application/json; charset=UTF-8", "application/vnd.api+json", "APPLICATION/JSON"):
        answer = await client.post(TASKS, content=b'{"type": "t"}', headers={"Content-Type": media})
        assert answer.status_code == 201


async def test_over_the_rate_it_says_429_and_when_to_try_again(redis7_url: str) -> None:
    store = await open_store(redis7_url, rate=0.5, burst=1.0)
    async with asgi(store) as client:
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201
        answer = await client.post(TASKS, json={"type": "t"})
        problem = answer.json()
        assert answer.status_code == 429
        assert problem["scope"] == "queue"
        assert 1_000 < problem["retryAfterMs"] <= 2_000
        assert answer.headers["retry-after"] == "2"
        assert await metric(client, "laneway_tasks_rejected_total", reason="rate") == 1
    assert (await store.stats()).counts["submitted"] == 1
    await store.close()


async def test_a_full_queue_says_503_and_takes_nothing(redis7_url: str) -> None:
    store = await open_store(redis7_url, max_depth=2)
    async with asgi(store) as client:
        answer = await client.post(f"{TASKS}/batch", json=[{"type": "t"}] * 3)
        assert [item["status"] for item in answer.json()["results"]] == [201, 201, 503]
        answer = await client.post(TASKS, json={"type": "t"})
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:laneway:problem:queue-full"
        assert int(answer.headers["retry-after"]) >= 1
    assert (await store.stats()).counts["submitted"] == 2
    await store.close()


async def test_a_backlog_of_events_says_503(redis7_url: str) -> None:
    store = await open_store(redis7_url, outbox_soft=1)
    async with asgi(store) as client:
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201
        answer = await client.post(TASKS, json={"type": "t"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "events is too far behind" in answer.json()["detail"]
    await store.close()


async def test_a_queue_without_configuration_says_503_and_how_to_configure_it(redis7_url: str) -> None:
    store = RedisStore(redis7_url, "mail", patience=0.3)
    async with asgi(store) as client:
        for answer in (
            await client.post(TASKS, json={"type": "t"}),
            await client.post(f"{TASKS}/batch", json=[{"type": "t"}]),
            await client.get(f"{Q}/stats"),
        ):
            problem = answer.json()
            problem = problem["results"][0]["problem"] if "results" in problem else problem
            assert problem["type"] == "urn:laneway:problem:not-configured"
            assert "apply a TaskQueue" in problem["detail"]
    await store.close()


async def test_a_batch_gives_each_task_its_own_answer(client: httpx.AsyncClient, store: RedisStore) -> None:
    first = (await client.post(TASKS, json={"type": "t", "idempotencyKey": "k"})).json()
    batch = [
        {"type": "t"},
        {"type": "t", "idempotencyKey": "k"},
        {"type": "u", "idempotencyKey": "k"},
        {"type": "t", "delay": 60},
    ]
    answer = await client.post(f"{TASKS}/batch", json=batch)
    got = answer.json()
    assert answer.status_code == 200
    assert [item["status"] for item in got["results"]] == [201, 200, 409, 201]
    assert [item.get("state") for item in got["results"]] == ["queued", "queued", None, "scheduled"]
    assert got["results"][1]["id"] == first["id"] and got["results"][1]["duplicate"]
    assert got["results"][2]["problem"]["taskId"] == first["id"]
    assert (got["accepted"], got["duplicates"], got["refused"]) == (2, 1, 1)
    assert (await store.stats()).counts["submitted"] == 3


async def test_a_batch_of_a_thousand_is_taken(client: httpx.AsyncClient, store: RedisStore) -> None:
    answer = await client.post(f"{TASKS}/batch", json=[{"type": "t", "payload": {"i": i}} for i in range(1_000)])
    assert answer.json()["accepted"] == 1_000
    assert len({item["id"] for item in answer.json()["results"]}) == 1_000
    assert (await store.stats()).counts["queued"] == 1_000


async def test_a_result_and_the_errors_of_attempts_can_be_read(client: httpx.AsyncClient, store: RedisStore) -> None:
    await client.post(TASKS, json={"type": "good"})
    good = id_text(await run_one(store, data={"sum": 3}))
    await client.post(TASKS, json={"type": "bad"})
    error = {"kind": "ValueError", "message": "no", "at": 1_700_000_000_000, "attempt": 1, "worker": "w1"}
    bad = id_text(await run_one(store, Kind.DEAD, error))
    got = (await client.get(f"{TASKS}/{good}")).json()
    assert (got["state"], got["result"], got["attempts"]) == ("succeeded", {"sum": 3}, 1)
    got = (await client.get(f"{TASKS}/{bad}")).json()
    assert (got["state"], got["result"]) == ("dead", None)
    (failure,) = got["errors"]
    assert (failure["kind"], failure["message"], failure["at"]) == (
        "ValueError",
        "no",
        "2023-11-14T22:13:20Z",
    )


async def test_a_payload_that_json_cant_show_is_null(client: httpx.AsyncClient, store: RedisStore) -> None:
    payload = msgspec.msgpack.encode({"x": {(1, 2): 3}})
    receipt = await Submitter(store).submit(NewTask(type="t", payload=payload))
    got = await client.get(f"{TASKS}/{receipt.text}")
    assert got.status_code == 200
    assert got.json()["payload"] is None


async def test_a_waiting_task_is_cancelled_once_and_saying_it_again_is_fine(
    client: httpx.AsyncClient,
) -> None:
    location = (await client.post(TASKS, json={"type": "t"})).headers["location"]
    for _ in range(2):
        answer = await client.post(f"{location}/cancel")
        assert (answer.status_code, answer.json()["outcome"]) == (200, "cancelled")
    assert (await client.get(location)).json()["state"] == "cancelled"
    assert await metric(client, "laneway_tasks_cancelled_total", lane="default", type="t") == 1


async def test_a_running_task_is_asked_to_stop(client: httpx.AsyncClient, store: RedisStore) -> None:
    location = (await client.post(TASKS, json={"type": "t"})).headers["location"]
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", 1, 0, 0)
    await store.heartbeat(inc, 2, 1, 0, [])
    assert len((await store.turn(inc, 1, 1, [])).tasks) == 1
    answer = await client.post(f"{location}/cancel")
    assert (answer.status_code, answer.json()["outcome"]) == (202, "requested")
    got = (await client.get(location)).json()
    assert (got["state"], got["cancelRequested"]) == ("running", True)


async def test_a_task_that_ended_cant_be_cancelled(client: httpx.AsyncClient, store: RedisStore) -> None:
    location = (await client.post(TASKS, json={"type": "t"})).headers["location"]
    await run_one(store)
    answer = await client.post(f"{location}/cancel")
    assert answer.status_code == 409
    assert "has ended already: succeeded" in answer.json()["detail"]


async def test_statistics_show_lanes_workers_and_no_drift(client: httpx.AsyncClient, store: RedisStore) -> None:
    await client.post(f"{TASKS}/batch", json=[{"type": "t", "lane": "high"}, {"type": "t"}, {"type": "t", "delay": 60}])
    await store.register(new_incarnation(), "w1", "direct", 5, 0, 0)
    got = (await client.get(f"{Q}/stats")).json()
    assert got["tasks"]["submitted"] == 3
    assert (got["tasks"]["queued"], got["tasks"]["scheduled"], got["drift"]) == (2, 1, 0)
    assert {lane["name"]: lane["queued"] for lane in got["lanes"]} == {"default": 1, "high": 1}
    (worker,) = got["workers"]
    assert (worker["name"], worker["slots"], worker["state"]) == ("w1", 5, "registered")


async def test_several_queues_share_a_gateway_and_nothing_else(redis7_url: str) -> None:
    mail, sms = await open_store(redis7_url), await open_store(redis7_url, "sms")
    async with asgi(mail, sms) as client:
        id = (await client.post(TASKS, json={"type": "t"})).json()["id"]
        assert (await client.get(f"/api/v1/queues/sms/tasks/{id}")).status_code == 404
        assert (await client.get("/")).json()["queues"] == ["mail", "sms"]
        assert (await client.get("/api/v1/queues/sms/stats")).json()["tasks"]["submitted"] == 0
    await mail.close()
    await sms.close()
