"""Whole flows over TLS under the rights that the docs name, and secrets that stay secret."""

from __future__ import annotations

import httpx
import psutil
import pytest
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, until
from tests.secured import KAFKA_PASSWORD, KAFKA_USERS, RUNTIME_PASSWORD, kafka_as, redis_as

from laneway.kit.ids import id_bytes
from servers.certificates import Authority
from servers.kafka import KafkaServer
from servers.redis import RedisServer

_SECRETS = (RUNTIME_PASSWORD, KAFKA_PASSWORD)


def shown(flow: Flow) -> dict[str, str]:
    """What each process of the flow and each child of it shows to others: its command line and its log."""
    found = {}
    for member in flow.members:
        found[f"{member.name}'s log"] = member.text()
        for process in (one := psutil.Process(member.pid), *one.children(recursive=True)):
            found[f"command line of {process.pid} ({member.name})"] = " ".join(process.cmdline())
    return found


@pytest.fixture(params=["", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], ids=lambda mechanism: mechanism or "direct")
def mechanism_and_kafka(request: pytest.FixtureRequest) -> tuple[str, KafkaServer | None]:
    """Without Kafka, and with each way to log in to it."""
    return request.param, request.getfixturevalue("secure_kafka") if request.param else None


async def test_a_whole_flow_runs_over_tls_with_the_least_rights(
    mechanism_and_kafka: tuple[str, KafkaServer | None],
    secure_redis: RedisServer,
    authority: Authority,
    new_flow: NewFlow,
) -> None:
    mechanism, kafka = mechanism_and_kafka
    secure_redis.command("ACL LOG RESET")
    flow = new_flow(
        redis_as("runtime", secure_redis, authority),
        kafka=kafka_as("runtime", kafka, authority, mechanism) if kafka else None,
        kafka_admin=kafka.bootstrap if kafka else None,
        direct_url=secure_redis.url,
    )
    await flow.configure(**SHORT)
    await flow.poller()
    worker = await flow.worker(processes=2, metrics=True)
    gateway = await flow.gateway()
    await flow.submit("work", 100)
    await flow.submit("work", 5, delay=0.3)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=10) as http:
        answer = await http.post(f"/api/v1/queues/{flow.queue}/tasks", json={"type": "work", "payload": {}})
        assert answer.is_success, answer.text
        flow.accepted.add(id_bytes(answer.json()["id"]))
        scraped = (await http.get("/metrics")).text
        scraped += (await http.get(f"http://127.0.0.1:{worker.port}/metrics")).text
    await flow.check()
    entries = await flow.redis.acl_log()
    assert [(entry["reason"], entry["object"], entry["username"]) for entry in entries] == []
    everything = shown(flow) | {"metrics": scraped, "the server's repr": repr((flow.redis_url, flow.kafka))}
    for where, text in everything.items():
        for secret in _SECRETS:
            assert secret not in text, f"a password is in {where}"
    for member in flow.members:
        assert await member.stop() == 0, member.text()[-2000:]


async def test_a_role_whose_password_is_refused_says_so_waits_and_goes_on_once_it_is_right(
    secure_redis: RedisServer, authority: Authority, new_flow: NewFlow
) -> None:
    flow = new_flow(redis_as("runtime", secure_redis, authority, password="not-yet"), direct_url=secure_redis.url)
    await flow.configure(**SHORT)
    member = await flow.start_worker(metrics=True)

    async def says_so() -> bool:
        assert member.alive, member.text()
        return "refuses the login of user 'laneway-runtime'" in member.text()

    await until("the worker says that its login is refused", says_so, 20)
    assert "LANEWAY_REDIS_PASSWORD" in member.text()
    assert "not-yet" not in member.text()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{member.port}", timeout=10) as http:
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert "refuses the login" in ready.text
    assert secure_redis.command("ACL SETUSER laneway-runtime >not-yet") == b"+OK"
    try:
        await flow.poller()
        await flow.submit("work", 3)
        await flow.check()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{member.port}", timeout=10) as http:
            assert (await http.get("/readyz")).status_code == 200
    finally:
        secure_redis.command("ACL SETUSER laneway-runtime <not-yet")


async def test_a_worker_without_a_right_of_kafka_says_which_and_does_not_end(
    secure_redis: RedisServer, secure_kafka: KafkaServer, authority: Authority, new_flow: NewFlow
) -> None:
    flow = new_flow(
        redis_as("runtime", secure_redis, authority),
        kafka=kafka_as("runtime", secure_kafka, authority, username="nobody", password=KAFKA_USERS["nobody"]),
        kafka_admin=secure_kafka.bootstrap,
        direct_url=secure_redis.url,
    )
    await flow.configure(**SHORT)
    member = await flow.start_worker(metrics=True)

    async def says_so() -> bool:
        assert member.alive, member.text()
        return "does not allow it to the user 'nobody'" in member.text()

    await until("the worker says that it is not allowed", says_so, 30)
