"""The gateway on a real server: body limits, stopping, health and metrics."""

import asyncio
import json
import socket
from typing import Any

import httpx
import psutil
import pytest
from tests.contract.gateways import TASKS, Q, eventually, metric, served

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.gateway.app import build_app
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.ops import build_ops_app
from laneway.gateway.server import HttpServer
from laneway.kit.health import Health
from laneway.kit.metrics import new_registry
from laneway.ports.store import TaskStore


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
    head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    async with served(store) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head.encode() + b'{"type": "t"')
        await writer.drain()
        writer.close()

        async def noticed() -> bool:
            return await metric(client, "laneway_http_requests_total", status="499") == 1

        await eventually(noticed)
    assert (await store.stats()).counts["submitted"] == 0


async def test_a_port_that_is_taken_is_said_so(store: RedisStore) -> None:
    async with served(store) as client:
        port = client.base_url.port
        assert port is not None
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{port}"):
            await HttpServer(build_app({"mail": store}), port=port).start()


async def test_stopping_says_not_ready_and_finishes_what_is_under_way(store: RedisStore) -> None:
    health = Health()
    server = HttpServer(build_app({"mail": store}, health=health), port=0, health=health, linger=0.5, drain=5.0)
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


async def test_a_server_stopped_before_it_served_leaves_no_socket(store: RedisStore) -> None:
    def sockets() -> set[int]:
        return {one.fd for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN}

    before = sockets()
    server = HttpServer(build_app({"mail": store}), port=0)
    await server.start()
    assert len(sockets() - before) == 1
    await server.stop()
    assert sockets() <= before


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

        async def watched() -> bool:
            return await metric(client, "laneway_depth", queue="mail", lane="high") == 1

        await eventually(watched)
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
        openmetrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
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


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {problem['status']} ".encode())
    return problem


LONG = b"a" * 70_000
HEADS = {
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + LONG + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1234567890\r\n" * 6_000 + b"\r\n",
    "a long path": b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header that never ends": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + LONG * 8,
    "headers that never end": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1234567890\r\n" * 40_000,
    "a path that never ends": b"GET /" + LONG * 8,
    "trailers that never end": (
        f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
        + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + LONG * 8
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
async def test_a_head_over_the_limit_is_refused_with_a_problem(store: RedisStore, case: str) -> None:
    async with served(store) as client:
        problem = problem_in(await raw_request(client, HEADS[case], []))
        assert problem["status"] == 431
        assert problem["type"] == "urn:laneway:problem:head-too-large"
        assert problem["limit"] == 65_536
        assert (await client.get("/healthz")).status_code == 200


async def test_heads_within_the_limit_are_taken_however_many_come_on_one_connection(store: RedisStore) -> None:
    async with served(store) as client:
        for _ in range(5):
            answer = await client.get("/healthz", headers={"X-Long": "a" * 60_000})
            assert answer.status_code == 200
        body = b'{"type": "t", "payload": {"d": "' + b"x" * 200_000 + b'"}}'
        answer = await client.post(TASKS, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 201


@pytest.mark.parametrize("head", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"])
async def test_what_is_not_http_is_refused_with_a_problem(store: RedisStore, head: bytes) -> None:
    async with served(store) as client:
        problem = problem_in(await raw_request(client, head, []))
        assert problem["type"] == "urn:laneway:problem:malformed-request"


async def test_a_broken_chunk_refuses_the_task_whose_body_it_is_in(store: RedisStore) -> None:
    head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(store) as client:
        answer = await raw_request(client, head.encode() + b'c\r\n{"type":"t"}\r\nzz\r\n', [])
        assert problem_in(answer)["type"] == "urn:laneway:problem:malformed-request"
    assert (await store.stats()).counts["submitted"] == 0


async def test_rubbish_behind_a_whole_request_is_not_answered_in_its_place(store: RedisStore) -> None:
    body = b'{"type":"t"}'
    head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with served(store) as client:
        answer = await raw_request(client, head.encode() + body + b"\x00\x01 rubbish\r\n\r\n", [])
        assert b" 400 " not in answer


async def test_answers_do_not_wait_for_acknowledgements_of_their_head(store: RedisStore) -> None:
    server = HttpServer(build_app({"mail": store}), port=0)
    await server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)):
            assert server._socket is not None
            # (What the listener has, connections inherit.)
            assert server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert server._socket.proto == socket.IPPROTO_TCP
    finally:
        await server.stop()


SLOW = GatewayLimits(head_seconds=0.3, body_stall_seconds=0.5, body_seconds=1.0)


async def dribble(client: httpx.AsyncClient, first: bytes, drop: bytes) -> bytes:
    """Sends ``first``, and then ``drop`` again and again until the server ends it; what it said."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(first)
        async with asyncio.timeout(15):
            answer = asyncio.create_task(reader.read())
            while not answer.done():
                if drop:
                    writer.write(drop)
                await asyncio.wait([answer], timeout=0.05)
            try:
                return await answer
            except ConnectionError:
                return b""
    finally:
        writer.close()


POST = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


@pytest.mark.parametrize(
    ("first", "drop", "words"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a", b"the head was not whole in 0.3 s"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"", b"the head was not whole in 0.3 s"),
        (POST + b"Content-Length: 90000\r\n\r\n{", b"", b"no byte of the body came for 0.5 s"),
        (POST + b"Content-Length: 90000\r\n\r\n{", b" ", b"the body was not whole 1 s after its head"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x", b"no byte of the body came for 0.5 s"),
    ],
    ids=["a dribbled head", "a head that stops", "a body that stops", "a dribbled body", "a dribbled chunk head"],
)
async def test_a_request_that_does_not_come_whole_in_time_is_ended(
    store: RedisStore, first: bytes, drop: bytes, words: bytes
) -> None:
    async with served(store, limits=SLOW) as client:
        problem = problem_in(await dribble(client, first, drop))
        assert problem["type"] == "urn:laneway:problem:too-slow" and words.decode() in problem["detail"]
        assert (await client.get("/healthz")).status_code == 200
    assert (await store.stats()).counts["submitted"] == 0


@pytest.mark.parametrize("drop", [b"", b"\r\n"], ids=["silence", "empty lines"])
async def test_a_connection_that_brings_no_request_is_closed_and_silence_without_a_word(
    store: RedisStore, drop: bytes
) -> None:
    async with served(store, limits=SLOW) as client:
        said = await dribble(client, drop, drop)
        assert said == b"" or (drop and problem_in(said)["type"] == "urn:laneway:problem:too-slow")


async def test_a_stray_line_after_an_answer_does_not_keep_the_connection_for_ever(store: RedisStore) -> None:
    async with served(store, limits=SLOW) as client:
        said = await dribble(client, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n")
        assert said.startswith(b"HTTP/1.1 200 ")


async def test_deadlines_do_not_touch_a_request_that_is_whole(store: RedisStore) -> None:
    async with served(store, limits=SLOW) as client:
        events = {"Accept": "application/json"}
        answer = await client.get(f"{Q}/events", params={"wait": 1.5}, headers=events)
        assert answer.status_code == 200


async def test_connections_over_the_limit_are_told_so_and_closed(store: RedisStore) -> None:
    async with served(store, limits=GatewayLimits(max_connections=3)) as client:
        assert client.base_url.port is not None
        held = [await asyncio.open_connection(client.base_url.host, client.base_url.port) for _ in range(3)]
        try:
            for _, writer in held:  # so that all three are surely there
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            for reader, _ in held:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert problem_in(answer)["type"] == "urn:laneway:problem:too-many-connections"
            assert b"Retry-After: 1\r\n" in answer
        finally:
            for _, writer in held:
                writer.close()

        async def let_in() -> bool:
            return (await client.get("/healthz")).status_code == 200

        await eventually(let_in)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [("", 400), ("Host: x\r\n", 200), ("Host: x\r\nHost: y\r\n", 400), ("Host: x\r\nhost: x\r\n", 400)],
)
async def test_a_request_has_one_host(store: RedisStore, hosts: str, status: int) -> None:
    async with served(store) as client:
        head = f"GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        answer = await raw_request(client, head.encode(), [])
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        if status == 400:
            assert "Host" in problem_in(answer)["detail"]
