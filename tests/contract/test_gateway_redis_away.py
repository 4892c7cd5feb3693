"""The gateway when Redis is away, hangs or loses replies."""

import time
from collections.abc import Callable
from typing import Any

from tests.contract.gateways import TASKS, Q, asgi, eventually, open_store, served

from laneway.gateway.limits import GatewayLimits
from laneway.gateway.watch import QueueWatch
from laneway.kit.ids import id_text, new_task_id
from servers.proxy import RedisProxy
from servers.redis import RedisServer


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
                # What was sent to a Redis that went away at that moment may have happened: 504.
                assert answer.status_code in ((503, 504) if method == "POST" else (503,)), answer.text
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

        async def taken() -> bool:
            return (await client.post(TASKS, json={"type": "t"})).status_code == 201

        await eventually(taken)
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

        async def both() -> bool:
            return (await store.stats()).counts["submitted"] == 2

        await eventually(both)
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
