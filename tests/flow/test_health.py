"""Health and readiness of real processes say what is amiss, while servers they need are away."""

from __future__ import annotations

from typing import Any

import httpx
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, Member, until

from servers.ports import free_port
from servers.redis import RedisServer


async def ask(member: Member, path: str) -> tuple[int, dict[str, Any]]:
    """What a process answers."""
    async with httpx.AsyncClient(timeout=5.0) as http:
        answer = await http.get(f"http://127.0.0.1:{member.port}{path}")
    return answer.status_code, answer.json()


async def test_a_worker_that_waits_for_kafka_lives_and_is_not_ready_and_says_why(
    redis7_url: str, new_flow: NewFlow
) -> None:
    flow = new_flow(redis7_url)
    await flow.configure(**SHORT, source="kafka")
    flow.kafka = f"127.0.0.1:{free_port()}"  # where nobody is
    worker = await flow.start_worker(metrics=True)

    async def says_why() -> dict[str, Any] | None:
        try:
            status, answer = await ask(worker, "/readyz")
        except httpx.TransportError:
            return None
        return answer if status == 503 and "kafka" in str(answer["reasons"]) else None

    answer = await until("readiness names Kafka", says_why, 20.0)
    assert [reason for reason in answer["reasons"] if reason.startswith("kafka: waits for Kafka: ")]
    status, live = await ask(worker, "/healthz")
    assert status == 200, live
    assert "worker" in live["checks"]


async def test_a_poller_whose_redis_is_away_lives_and_names_each_duty_that_waits(
    crash_redis: RedisServer, new_flow: NewFlow
) -> None:
    flow = new_flow(crash_redis.url)
    await flow.configure(**SHORT)
    poller = await flow.poller(metrics=True)
    duties = {"relay", "reaper", "promoter", "janitor"}
    _, before = await ask(poller, "/readyz")
    assert before["ok"] and not before["notes"]
    assert duties <= before["checks"].keys()
    crash_redis.stop()

    async def noted() -> bool:
        status, answer = await ask(poller, "/healthz")
        assert status == 200, answer
        return duties <= {note.partition(":")[0] for note in answer["notes"]}

    await until("every duty says that it waits", noted, 30.0)
    crash_redis.start()

    async def well() -> bool:
        _, answer = await ask(poller, "/readyz")
        return bool(answer["ok"] and not answer["notes"])

    await until("nothing is noted any more", well, 20.0)


async def test_a_poller_without_its_queue_is_not_ready_and_names_it(redis7_url: str, new_flow: NewFlow) -> None:
    flow: Flow = new_flow(redis7_url)
    member = await flow.start_poller(metrics=True)

    async def says_why() -> dict[str, Any] | None:
        try:
            status, answer = await ask(member, "/readyz")
        except httpx.TransportError:
            return None
        return answer if status == 503 and "is not configured" in str(answer["reasons"]) else None

    answer = await until("readiness names the queue", says_why, 20.0)
    assert answer["reasons"][0].startswith("queue: ")
