"""The gateway over a real Redis: every route and answer, by an ASGI transport and by a real server."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError, LanewayError
from laneway.gateway.app import build_app
from laneway.gateway.coalescer import Coalescer
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.ops import build_ops_app
from laneway.gateway.problems import TYPES
from laneway.gateway.server import HttpServer
from laneway.gateway.watch import QueueWatch
from laneway.kit.health import Health
from laneway.kit.ids import id_bytes, id_text, new_incarnation, new_task_id
from laneway.kit.metrics import Timer, new_registry
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import TaskStore
from laneway.submit import NewTask, Receipt
from servers.proxy import RedisProxy
from servers.redis import RedisServer

Q = "/api/v1/queues/mail"
TASKS = f"{Q}/tasks"
LANES = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high", prio=9))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_2 = "00-0af7651916cd43dd8448eb211c80319c-c7ad6b7169203332-01"


async def open_store(url: str, queue: str = "mail", patience: float = 0.3, **config: Any) -> RedisStore:
    store = RedisStore(url, queue, patience=patience)
    await store.configure(QueueConfig(**{"lanes": LANES, **config}), {}, expected=None)
    return store


@asynccontextmanager
async def asgi(*stores: RedisStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app({store.queue: store for store in stores}, **options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


@asynccontextmanager
async def served(*stores: RedisStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A real server on a free port."""
    health = Health()
    app = build_app({s.queue: s for s in stores}, health=health, watch_interval=0.05, **options)
    server = HttpServer(app, port=0, health=health, drain=2.0)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
            yield client
    finally:
        await server.stop()


@pytest.fixture
async def store(redis7_url: str) -> AsyncIterator[RedisStore]:
    store = await open_store(redis7_url)
    yield store
    await store.close()


@pytest.fixture
async def client(store: RedisStore) -> AsyncIterator[httpx.AsyncClient]:
    async with asgi(store) as client:
        yield client


async def run_one(store: RedisStore, kind: Kind = Kind.COMPLETE, data: Any = None) -> bytes:
    """Claims the best task and settles it, as a worker does."""
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", 1, 0, 0)
    await store.heartbeat(inc, 2, 1, 0, [])
    turn = await store.turn(inc, 1, 1, [])
    (task,) = turn.tasks
    raw = None if data is None else msgspec.msgpack.encode(data)
    assert await store.settle(inc, [Settlement(kind, task.id, task.fence, data=raw)]) == {}
    await store.deregister(inc)
    return task.id


async def metric(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


# -- submitting


async def test_a_task_is_accepted_and_all_its_fields_come_back(client: httpx.AsyncClient) -> None:
    sent = {
        "type": "mail.send", "lane": "high", "priority": 7, "payload": {"to": "ä@b", "n": [1, 2.5, None, True]},
        "description": "a mail", "tenant": "acme", "idempotencyKey": "k-1", "runAt": "2199-01-31T10:00:00+02:00",
        "startTimeout": 60, "timeout": 1.5, "maxAttempts": 9, "labels": {"team": "x"},
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
    assert got["backoff"] == {"base": 1.0, "factor": 3.0, "cap": 60.0, "jitter": 0.0} or got["backoff"] == {
        "base": 1.0, "factor": 3.0, "cap": 60.0, "jitter": 0.0,
    }  # fmt: skip
    assert got["runAt"] == "2199-01-31T08:00:00Z"
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


# -- refusals


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


# -- batches


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
    answer = await client.post(
        f"{TASKS}/batch", json=[{"type": "t", "payload": {"i": i}} for i in range(1_000)]
    )
    assert answer.json()["accepted"] == 1_000
    assert len({item["id"] for item in answer.json()["results"]}) == 1_000
    assert (await store.stats()).counts["queued"] == 1_000


# -- looking and cancelling


async def test_a_result_and_the_errors_of_attempts_can_be_read(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
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
    from laneway.submit import Submitter

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


async def test_statistics_show_lanes_workers_and_no_drift(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    await client.post(
        f"{TASKS}/batch", json=[{"type": "t", "lane": "high"}, {"type": "t"}, {"type": "t", "delay": 60}]
    )
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


# -- Redis away


async def test_with_redis_away_it_says_503_at_once_and_recovers_by_itself(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    store = await open_store(server.url)
    async with served(store) as client:
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201
        server.stop()
        requests: list[tuple[str, str, Any]] = [
            ("POST", TASKS, {"type": "t"}), ("POST", f"{TASKS}/batch", [{"type": "t"}] * 2),
            ("GET", f"{TASKS}/{id_text(new_task_id())}", None), ("GET", f"{Q}/stats", None),
        ]  # fmt: skip
        # The first may still find out for itself; from then on nobody waits.
        for _ in range(2):
            for method, path, body in requests:
                began = time.monotonic()
                answer = await client.request(method, path, json=body)
                assert answer.status_code in (503, 504), answer.text
                assert time.monotonic() - began < 3.0
        for method, path, body in requests:
            began = time.monotonic()
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["type"] == "urn:laneway:problem:unavailable"
            assert time.monotonic() - began < 0.5
        ready = await client.get("/readyz")
        assert ready.status_code == 200, "it can still say 503 with Retry-After, so it stays in service"
        assert "queue mail" in ready.json()["notes"][0]
        assert (await client.get("/healthz")).status_code == 200
        server.start()
        async with asyncio.timeout(20):
            while (answer := await client.post(TASKS, json={"type": "t"})).status_code == 503:
                await asyncio.sleep(0.05)
        assert answer.status_code == 201
    await store.close()


async def test_when_redis_hangs_the_outcome_is_unknown_and_a_retry_by_the_id_given_is_safe(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    store = await open_store(server.url)
    async with asgi(store, limits=GatewayLimits(deadline=0.3)) as client:
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201
        server.pause()
        try:
            hung = await client.post(TASKS, json={"type": "t", "payload": {"n": 1}})
        finally:
            server.resume()
        assert hung.status_code == 504
        problem = hung.json()
        assert problem["type"] == "urn:laneway:problem:outcome-unknown"
        assert "is safe" in problem["detail"]
        again = await client.post(TASKS, json={"type": "t", "payload": {"n": 1}, "id": problem["taskId"]})
        assert again.status_code in (200, 201)
        assert again.json()["id"] == problem["taskId"]
        async with asyncio.timeout(10):
            while (await store.stats()).counts["submitted"] != 2:
                await asyncio.sleep(0.01)
    await store.close()


async def test_a_lost_reply_is_made_good_without_a_second_task(redis_proxy: RedisProxy) -> None:
    store = await open_store(redis_proxy.url, patience=3.0)
    async with asgi(store) as client:
        await client.post(TASKS, json={"type": "t"})
        fault = redis_proxy.drop_reply(match="EVALSHA")
        answer = await client.post(TASKS, json={"type": "t"})
        fault.wait()
        assert answer.status_code in (200, 201)
    assert (await store.stats()).counts["submitted"] == 2
    await store.close()


async def test_the_watch_says_when_redis_goes_and_comes_back(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    store = await open_store(server.url, patience=0.1)
    told: list[str | None] = []
    watch = QueueWatch("mail", store, patience=0.5, on_change=told.append)
    await watch.look()
    assert watch.away is None
    server.pause()
    await watch.look()
    assert watch.away == "Redis has not answered for 0.5 s"
    server.resume()
    await watch.look()
    assert watch.away is None
    assert told == ["Redis has not answered for 0.5 s", None]
    await store.close()


# -- the coalescer alone


async def test_what_arrives_during_a_call_goes_with_the_next_and_an_idle_one_goes_at_once() -> None:
    sizes, gate = [], asyncio.Event()

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        sizes.append(len(tasks))
        await gate.wait()
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=100, sizes=Timer((1.0,)))
    first = asyncio.create_task(coalescer.submit(NewTask(type="t"), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(coalescer.submit(NewTask(type="t"), 5)) for _ in range(10)]
    await asyncio.sleep(0)
    assert sizes == [1]
    gate.set()
    assert all(isinstance(answer, Receipt) for answer in await asyncio.gather(first, *rest))
    assert sizes == [1, 10]


async def test_a_submission_that_never_left_is_unavailable_and_one_under_way_is_unknown() -> None:
    gate = asyncio.Event()
    seen: list[NewTask] = []

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        seen.extend(tasks)
        for task in tasks:
            task.id = new_task_id()
        await gate.wait()
        return [Receipt(task.id) for task in tasks]

    coalescer = Coalescer(submit_many, most=100, sizes=Timer((1.0,)))
    first, second = NewTask(type="first"), NewTask(type="second")
    sent = asyncio.create_task(coalescer.submit(first, 0.05))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(coalescer.submit(second, 0.05))
    unknown, unavailable = await sent, await waiting
    assert type(unknown).__name__ == "OutcomeUnknown" and type(unavailable).__name__ == "Unavailable"
    assert unknown.task_id == id_text(first.id)  # type: ignore[union-attr,arg-type]
    gate.set()
    await coalescer.close()
    assert [task.type for task in seen] == ["first"], "what was given up before it left is never sent"


async def test_too_many_waiting_submissions_are_refused_at_once() -> None:
    gate = asyncio.Event()

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        await gate.wait()
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=2, sizes=Timer((1.0,)))
    first = asyncio.create_task(coalescer.submit(NewTask(type="t"), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(coalescer.submit(NewTask(type="t"), 5)) for _ in range(2)]
    await asyncio.sleep(0)
    refused = await coalescer.submit(NewTask(type="t"), 5)
    assert "2 submissions wait" in str(refused)
    gate.set()
    assert all(isinstance(answer, Receipt) for answer in await asyncio.gather(first, *waiting))


async def test_a_defect_in_submitting_reaches_every_caller_and_the_next_call_goes_on() -> None:
    broken = True

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        if broken:
            raise ZeroDivisionError
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=9, sizes=Timer((1.0,)))
    with pytest.raises(ZeroDivisionError):
        await coalescer.submit(NewTask(type="t"), 5)
    broken = False
    assert isinstance(await coalescer.submit(NewTask(type="t"), 5), Receipt)


# -- a real server


async def raw_request(client: httpx.AsyncClient, head: bytes, chunks: list[bytes]) -> bytes:
    """Sends bytes as they are, and reads until the server closes the connection."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(head)
        for chunk in chunks:
            try:
                writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                await writer.drain()
            except ConnectionError:
                break
        return await asyncio.wait_for(reader.read(65_536), 10)
    finally:
        writer.close()


async def test_the_body_limit_holds_for_chunked_bodies(store: RedisStore) -> None:
    head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(store, limits=GatewayLimits(max_body=10_000)) as client:
        answer = await raw_request(client, head.encode(), [b"x" * 1_000] * 11)
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
        assert b"urn:laneway:problem:body-too-large" in answer
        small = [b'{"type"', b': "t"}', b""]
        answer = await raw_request(client, head.encode(), small)
        assert answer.startswith(b"HTTP/1.1 201 "), answer[:200]
    assert (await store.stats()).counts["submitted"] == 1


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_sent(store: RedisStore) -> None:
    head = (
        f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    )
    async with served(store) as client:
        answer = await raw_request(client, head.encode(), [])
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
        assert b"connection: close" in answer.lower()


async def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(store: RedisStore) -> None:
    head = (
        f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    )
    async with served(store) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head.encode() + b'{"type": "t"')
        await writer.drain()
        writer.close()
        async with asyncio.timeout(10):
            while not await metric(client, "laneway_http_requests_total", status="499"):
                await asyncio.sleep(0.01)
    assert (await store.stats()).counts["submitted"] == 0


async def test_a_port_that_is_taken_is_said_so(store: RedisStore) -> None:
    async with served(store) as client:
        port = client.base_url.port
        assert port is not None
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{port}"):
            await HttpServer(build_app({"mail": store}), port=port).start()


async def test_stopping_says_not_ready_and_finishes_what_is_under_way(store: RedisStore) -> None:
    health = Health()
    server = HttpServer(
        build_app({"mail": store}, health=health), port=0, health=health, linger=0.5, drain=5.0
    )
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert (await client.get("/readyz")).status_code == 200
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["http: stopping"])
        assert (await client.post(TASKS, json={"type": "t"})).status_code == 201, "lingering, it still serves"
        await stopping
        with pytest.raises(httpx.TransportError):
            await client.get("/readyz")
    await server.stop()
    assert (await store.stats()).counts["submitted"] == 1


async def test_a_server_stopped_before_starting_leaves_no_socket(store: RedisStore) -> None:
    server = HttpServer(build_app({"mail": store}), port=0)
    await server.stop()


# -- operation


async def test_health_is_503_with_the_reason_when_a_loop_makes_no_progress() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    health.watch("poller", 5.0)
    app = build_ops_app(health, new_registry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ops") as client:
        assert (await client.get("/healthz")).status_code == 200
        now[0] = 9.0
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()["ok"]) == (503, False)
        assert answer.json()["reasons"] == ["poller: progress 9.0 s ago, 5 s allowed"]
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/nothing")).json()["type"] == "urn:laneway:problem:not-found"


async def test_metrics_tell_what_was_submitted_and_what_the_queue_holds(store: RedisStore) -> None:
    async with served(store) as client:
        await client.post(TASKS, json={"type": "a", "lane": "high", "idempotencyKey": "k"})
        await client.post(TASKS, json={"type": "a", "lane": "high", "idempotencyKey": "k"})
        await client.post(TASKS, json={"type": "a", "lane": "fast"})
        await client.post(TASKS, json={"type": 1})
        async with asyncio.timeout(10):
            while not await metric(client, "laneway_depth", queue="mail", lane="high"):
                await asyncio.sleep(0.02)
        high = {"queue": "mail", "lane": "high", "type": "a"}
        assert await metric(client, "laneway_tasks_submitted_total", **high) == 1
        assert await metric(client, "laneway_tasks_duplicate_total", **high) == 1
        assert await metric(client, "laneway_tasks_rejected_total", reason="lane") == 1
        assert await metric(client, "laneway_tasks_rejected_total", reason="invalid") == 1
        assert await metric(client, "laneway_tasks", state="queued") == 1
        assert await metric(client, "laneway_conservation_drift") == 0
        route = "/api/v1/queues/{queue}/tasks"
        assert await metric(client, "laneway_http_requests_total", route=route, status="201") == 1
        assert await metric(client, "laneway_http_requests_total", route=route, status="422") == 2
        assert await metric(client, "laneway_http_request_seconds_count", route=route) == 4
        openmetrics = await client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        assert openmetrics.text.endswith("# EOF\n")


async def test_an_unexpected_error_is_a_problem_too_and_is_logged(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

    broken: TaskStore = Broken()  # type: ignore[assignment]
    app = build_app({"mail": broken})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        answer = await client.get(f"{Q}/stats")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:laneway:problem:internal"
    assert "ZeroDivisionError" in caplog.text


# -- the description


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def nodes(value: Any) -> list[dict[str, Any]]:
    """Every object within a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [node for item in inner for node in nodes(item)]


async def test_the_description_is_consistent(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert used <= {f"#/components/schemas/{name}" for name in schemas}
    operations = [
        (path, method, operation, item.get("parameters", []))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    names = [operation["operationId"] for _, _, operation, _ in operations]
    assert len(names) == len(set(names)) == 10
    for path, _, operation, shared in operations:
        parameters = shared + operation.get("parameters", [])
        declared = {p["name"] for p in parameters if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert all(p["required"] for p in parameters if p["in"] == "path")
        assert all("schema" in p for p in parameters)
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[2-5]\d\d", status)
            assert response["description"] and response["content"]
            if status >= "400" and operation["tags"] == ["tasks"]:
                assert "application/problem+json" in response["content"]


async def test_every_route_is_described_and_every_description_has_a_route(
    store: RedisStore, document: dict[str, Any]
) -> None:
    routes = {
        (route.path, method.lower())  # type: ignore[attr-defined]
        for route in build_app({"mail": store}).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    described = {
        (path, method)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert routes == described


async def test_every_problem_type_is_described(document: dict[str, Any]) -> None:
    text = str(document)
    missing = [
        name for name in TYPES if f"`{name}`" not in text and name not in ("not-found", "method-not-allowed")
    ]
    assert missing == []


async def test_the_description_names_every_field_with_its_bounds(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["TaskBody"]["properties"]
    assert set(fields) == {
        "type", "payload", "id", "lane", "priority", "description", "tenant", "idempotencyKey", "delay", "runAt",
        "startTimeout", "timeout", "maxAttempts", "backoff", "labels",
    }  # fmt: skip
    priority = next(n for n in nodes(fields["priority"]) if n.get("type") == "integer")
    assert (priority["minimum"], priority["maximum"]) == (0, 9)
    assert document["components"]["schemas"]["TaskBody"]["required"] == ["type"]
    assert document["components"]["schemas"]["TaskBody"]["additionalProperties"] is False


async def test_the_index_leads_to_everything(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert index["queues"] == ["mail"]
    for name in ("openapi", "health", "ready", "metrics"):
        assert (await client.get(index["links"][name])).status_code == 200
    assert id_bytes(id_text(new_task_id()))
