"""The events of a queue over HTTP: streams, long-polls, resuming, filters, tenants, slow readers and the end."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.contract.credentials import bearer, keys_of_roles
from tests.contract.gateways import TASKS, asgi, eventually, metric, open_store, run_one, served, submit
from tests.contract.streams import EVENTS, JSON, SSE, poll, stream

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.kafka.feed import KafkaFeed
from laneway.adapters.kafka.log import KafkaEventLog
from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.gateway.app import build_app
from laneway.gateway.auth.access import Access
from laneway.gateway.event_filter import EventFilter, TenantIndex
from laneway.gateway.follower import Follower
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.server import HttpServer
from laneway.gateway.stream import Gap, Listener
from laneway.model.auth import AuthSettings
from laneway.model.events import EVENT_SCHEMA, GAP, START, Event, EventTasks
from laneway.model.topics import Topics
from laneway.ports.store import TaskView
from laneway.tend.relay import Relay
from servers.kafka import KafkaServer
from servers.redis import RedisServer


async def test_a_stream_tells_what_happens_as_it_happens(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client, stream(client) as events:
        id = await submit(client, lane="high")
        name, data = await events.next()
        assert (name, data["kind"], data["lane"], data["attempts"], data["ids"]) == (
            "submitted",
            "submitted",
            "high",
            0,
            [id],
        )
        assert data["at"].endswith("Z")
        await run_one(store)
        data = await events.of("succeeded")
        assert (data["ids"], data["attempts"]) == ([id], 1)


async def test_the_numbers_of_the_queue_come_in_the_same_stream_unless_unwanted(
    store: RedisStore, relay: Relay
) -> None:
    async with served(store) as client:
        async with stream(client) as events:
            first = await events.of("stats")
            assert first["tasks"]["submitted"] == 0
            await submit(client)
            while (await events.of("stats"))["tasks"]["queued"] != 1:
                pass
        async with stream(client, stats=0) as events:
            await submit(client)
            assert (await events.next(stats=True))[0] == "submitted"


async def test_a_stream_that_broke_goes_on_where_it_was(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        async with stream(client) as events:
            first = await submit(client)
            assert (await events.next())[1]["ids"] == [first]
            seen = events.last_id
        missed = [await submit(client) for _ in range(3)]
        async with stream(client, {"Last-Event-ID": seen}) as events:
            assert [(await events.next())[1]["ids"] for _ in range(3)] == [[id] for id in missed]
            assert events.last_id > seen


async def test_a_position_is_told_before_anything_happens(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        async with stream(client) as events:
            await events.next(stats=True)
            before = events.last_id
        id = await submit(client)
        async with stream(client, {"Last-Event-ID": before}) as events:
            assert (await events.next())[1]["ids"] == [id]


async def test_only_what_was_asked_for_comes(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        wanted = await submit(client, lane="high")
        other = await submit(client, lane="default")
        await run_one(store)
        await run_one(store)

        async def all_told() -> bool:
            return sum(len(event["ids"]) for event in (await poll(client))["events"]) == 4

        await eventually(all_told)
        for query, expected in (
            ({"kinds": "succeeded"}, [("succeeded", other), ("succeeded", wanted)]),
            ({"kinds": "succeeded,submitted", "lane": "default"}, [("submitted", other), ("succeeded", other)]),
            ({"task": wanted}, [("submitted", wanted), ("succeeded", wanted)]),
            ({"lane": "high,default", "kinds": "dead"}, []),
        ):
            found = (await poll(client, after="0-0", **query))["events"]
            assert [(event["kind"], id) for event in found for id in event["ids"]] == expected


async def test_a_poll_waits_for_the_first_event_and_goes_on_from_there(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        first = await submit(client)

        async def told() -> bool:
            return bool((await poll(client))["events"])

        await eventually(told)
        latest = await poll(client)
        assert [event["ids"] for event in latest["events"]] == [[first]]
        waiting = asyncio.create_task(poll(client, after=latest["next"], wait=30))
        second = await submit(client)
        answer = await waiting
        assert [event["ids"] for event in answer["events"]] == [[second]]
        nothing = await poll(client, after=answer["next"], wait=0.01)
        assert nothing == {"events": [], "next": answer["next"]}


async def test_what_the_log_keeps_no_more_is_a_gap(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:

        async def told(n: int) -> bool:
            return len((await poll(client))["events"]) == n

        await submit(client)
        await eventually(partial(told, 1))
        first = (await poll(client))["next"]
        await submit(client)
        await eventually(partial(told, 2))
        last = await submit(client)
        await eventually(partial(told, 3))
        await store._client.xtrim(store.keys.log("events"), maxlen=1, approximate=False)
    # Another gateway, which has nothing of this in memory.
    async with served(store) as client, stream(client, {"Last-Event-ID": first}) as events:
        name, data = await events.next()
        assert (name, data["kind"], data["reason"]) == ("gap", "gap", "trimmed")
        assert (await events.next())[1]["ids"] == [last]


async def test_a_position_of_another_log_is_a_gap_and_goes_on_from_now(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        async with stream(client, {"Last-Event-ID": "99999999999999-0"}) as events:
            assert (await events.next())[1]["reason"] == "unknown"
            id = await submit(client)
            assert (await events.next())[1]["ids"] == [id]
        answer = await poll(client, after="99999999999999-0")
        assert [event["reason"] for event in answer["events"]] == ["unknown"]
        assert (await poll(client, after=answer["next"]))["events"] == []


async def test_events_that_the_outbox_had_no_room_for_are_a_gap(store: RedisStore, redis7_url: str) -> None:
    async with served(store) as client:
        await submit(client)
        await store._client.hset(store.keys.key("meta"), "outbox_gap", 7)
        own = Relay(store, StreamEventLog(store), "default/mail")
        await own.start()

        async def told() -> bool:
            return len((await poll(client))["events"]) == 2

        await eventually(told)
        gap, submitted = (await poll(client))["events"]
        assert (gap["kind"], gap["missing"], gap["reason"]) == ("gap", 7, "outbox")
        assert submitted["kind"] == "submitted"
        # Who goes on after the event that the gap stands before is not told of it again.
        assert (await poll(client, after=(await poll(client))["next"]))["events"] == []
        await own.stop()


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ({"kinds": "submited"}, {}, "kinds"),
        ({"task": "nonsense"}, {}, "task"),
        ({"after": "yesterday"}, {}, "after"),
        ({}, {"Last-Event-ID": "nonsense"}, "Last-Event-ID"),
        ({"wait": "61"}, {}, "wait"),
        ({"lanes": "high"}, {}, "lanes"),
        ({"stats": "2"}, {}, "stats"),
    ],
)
async def test_a_wrong_question_is_told_what_would_be_right(
    store: RedisStore, query: dict[str, str], headers: dict[str, str], field: str
) -> None:
    async with asgi(store) as client:
        answer = await client.get(EVENTS, params=query, headers=SSE | headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"] == "urn:laneway:problem:invalid-query"
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_there_is_a_bound_on_streams(store: RedisStore, relay: Relay) -> None:
    async with served(store, limits=GatewayLimits(max_streams=2)) as client:
        async with stream(client) as one, stream(client):
            await one.next(stats=True)
            answer = await client.get(EVENTS, headers=SSE)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:laneway:problem:unavailable")
            assert await metric(client, "laneway_event_streams", queue="mail") == 2

        async def free() -> bool:
            return await metric(client, "laneway_event_streams", queue="mail") == 0

        await eventually(free)
        assert (await client.head(EVENTS, headers=SSE)).headers["content-type"].startswith("text/event-stream")


async def test_one_address_takes_no_more_than_its_share_of_the_streams(store: RedisStore, relay: Relay) -> None:
    async with served(store, limits=GatewayLimits(max_streams=9, max_streams_each=2)) as client:
        async with stream(client) as one, stream(client):
            await one.next(stats=True)
            for headers, query in ((SSE, {}), (JSON, {"wait": 1})):
                answer = await client.get(EVENTS, headers=headers, params=query)
                assert (answer.status_code, answer.json()["type"]) == (429, "urn:laneway:problem:too-many-streams")
                assert answer.headers["retry-after"] == "5" and answer.json()["limit"] == 2
            await poll(client)  # one that does not wait needs no place

        async def free() -> bool:
            return (await client.get(EVENTS, headers=JSON, params={"wait": 0.01})).status_code == 200

        await eventually(free)


async def test_a_credential_with_all_its_streams_leaves_room_for_others(
    store: RedisStore, relay: Relay, tmp_path: Path
) -> None:
    keys = keys_of_roles(tmp_path / "keys.yaml")
    access = Access(AuthSettings.model_validate({"keys": {"path": str(tmp_path / "keys.yaml")}}))
    await access.start()
    try:
        async with served(store, access=access, limits=GatewayLimits(max_streams=4, max_streams_each=2)) as client:
            viewer, admin = bearer(keys["viewer"]), bearer(keys["admin"])
            async with stream(client, viewer), stream(client, viewer):
                answer = await client.get(EVENTS, headers=SSE | viewer)
                assert (answer.status_code, answer.json()["type"]) == (429, "urn:laneway:problem:too-many-streams")
                async with stream(client, admin) as theirs:
                    assert await theirs.next(stats=True)
    finally:
        await access.stop()


async def test_a_place_is_taken_before_a_stream_begins_and_given_back_once(store: RedisStore) -> None:
    """A hundred that come at once can't all pass a bound that counts only those which have begun."""
    async with asgi(store, limits=GatewayLimits(max_streams=9, max_streams_each=2)) as client:
        answers = await asyncio.gather(*(client.get(EVENTS, headers=JSON, params={"wait": 0.3}) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
        assert (await client.get(EVENTS, headers=JSON, params={"wait": 0.01})).status_code == 200


async def test_a_server_that_stops_ends_its_streams_and_polls_in_order(store: RedisStore, relay: Relay) -> None:
    app = build_app({"mail": store}, watch_interval=0.05)
    server = HttpServer(app, port=0, drain=30.0)
    await server.start()
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=40) as client, stream(client) as events:
        id = await submit(client)
        assert (await events.of("submitted"))["ids"] == [id]
        polling = asyncio.create_task(poll(client, after=events.last_id, wait=60))

        async def open_both() -> bool:
            return await metric(client, "laneway_event_streams", queue="mail") == 2

        await eventually(open_both)
        async with asyncio.timeout(20):  # (far less than the drain that they would hold up)
            await server.stop()
        await events.ended()
        assert (await polling)["events"] == []


async def test_the_log_is_read_only_while_somebody_listens(store: RedisStore, relay: Relay) -> None:
    follower = Follower("mail", lambda: store.events, linger=0.01)

    async def follows() -> bool:
        return follower.follows

    assert not await follows()
    async with follower.listening(lambda: None, 5), follower.listening(lambda: None, 5):
        assert await follows()

    async def left() -> bool:
        return not await follows()

    await eventually(left)
    async with follower.listening(lambda: None, 5):
        assert await follows()
    await follower.close()


async def test_while_redis_is_away_there_is_no_stream(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    store = await open_store(server.url)
    async with served(store) as client, stream(client) as events:
        await events.next(stats=True)
        server.kill()

        async def away() -> bool:
            return (await client.get(EVENTS, headers=JSON)).status_code == 503

        await eventually(away)
        server.start()
        # The stream that was open goes on by itself.
        await events.of("stats")
    await store.close()


def raw(n: int, kind: str = "submitted", ids: int = 1, missing: int = 0) -> bytes:
    tasks = [] if kind == GAP else [EventTasks("high", 0, [f"{n:023}"] * ids)]
    sequence = f"{n}-0" + ("-gap" if kind == GAP else "")
    return msgspec.json.encode(Event(EVENT_SCHEMA, "q", kind, n, sequence, tasks, missing))


async def test_who_is_bound_to_tenants_sees_only_their_tasks_and_no_numbers(store: RedisStore, relay: Relay) -> None:
    async with served(store) as client:
        mine = await submit(client, tenant="a")
        theirs = await submit(client, tenant="b")
        both = (await client.post(f"{TASKS}/batch", json=[{"type": "t", "tenant": t} for t in "ab"])).json()["results"]

        async def told() -> bool:
            return sum(len(event["ids"]) for event in (await poll(client, after="0-0"))["events"]) == 4

        await eventually(told)
    follower = Follower("mail", lambda: store.events)
    async with follower.listening(lambda: None, 5):
        asked: list[int] = []

        async def get(ids: Sequence[bytes]) -> Sequence[TaskView | None]:
            asked.append(len(ids))
            return await store.get(ids)

        index = TenantIndex(get)
        for _ in range(2):
            listener = Listener(follower, EventFilter(), START, frozenset({"a"}), index)
            listener.begin()
            listener.rewind(100)
            bodies = await listener.bodies(listener.next())
            assert [id for body in bodies for id in body.ids] == [mine, both[0]["id"]]
            assert theirs not in str(bodies)
        assert asked == [4]  # once, all together
        gap = Listener(follower, EventFilter(), None, frozenset({"a"}), index)
        assert (await gap.bodies([Gap("slow", 1234)]))[0].missing is None
    await follower.close()


async def test_a_queue_with_kafka_is_followed_there(kafka: KafkaServer, redis7_url: str) -> None:
    queue, patient = "mail", GatewayLimits(deadline=30.0)  # (a first connection to Kafka on a busy machine)
    store = await open_store(redis7_url)
    topics = Topics.of("default", f"events-{os.urandom(4).hex()}")
    await ensure_topics(kafka.bootstrap, topics, partitions=1)
    relay = Relay(store, KafkaEventLog(kafka.bootstrap, topics), "default/mail")
    await relay.start()
    async with served(store, feeds={queue: KafkaFeed(kafka.bootstrap, topics)}, limits=patient) as client:
        async with stream(client) as events:
            first = await submit(client, lane="high")
            assert (await events.next())[1]["ids"] == [first]
            seen = events.last_id
        ids = [
            item["id"] for item in (await client.post(f"{TASKS}/batch", json=[{"type": "t"}] * 50)).json()["results"]
        ]
        missed: list[str] = []
        async with stream(client, {"Last-Event-ID": seen}) as events:
            while len(missed) < 50:
                missed += (await events.next())[1]["ids"]
        assert sorted(missed) == sorted(ids)
        assert len(await store._client.xrange(store.keys.log("events"))) == 0
    # A gateway that has nothing in memory reads it from the topic.
    async with served(store, feeds={queue: KafkaFeed(kafka.bootstrap, topics)}, limits=patient) as client:
        found = (await poll(client, after=seen, limit=1000))["events"]
        assert sorted(id for event in found for id in event["ids"]) == sorted(ids)
    await relay.stop()
    await store.close()


async def test_a_client_that_stops_reading_holds_nobody_up_and_then_gets_a_gap(store: RedisStore) -> None:
    app = build_app({"mail": store}, watch_interval=0.05)
    server = HttpServer(app, port=0, drain=1.0)
    await server.start()
    follower: Follower = app.state.gateway.events._followers["mail"]
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=slow, limit=2**16)
    writer.write(f"GET {EVENTS}?stats=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
        async with stream(client, stats="0") as quick:

            async def both() -> bool:
                return follower.listeners == 2

            await eventually(both)
            last = 0
            for n in range(1, 160):
                now = 2_000_000_000_000 + n
                follower.add([raw(now, ids=4_000)])  # (about 100 kB each)
                last = now
                assert len((await quick.next())[1]["ids"]) == 4_000
                assert follower.size <= 4 * 1_048_576 + 200_000
        text = b""
        async with asyncio.timeout(20):
            while f"id: {last}-0".encode() not in text:
                text = text[-200_000:] + await reader.read(65_536)
                if found := re.search(rb"event: gap\ndata: ({.*?})\n", text):
                    gap = json.loads(found[1])
        assert gap["reason"] == "slow" and gap["missing"] > 10
    writer.close()
    await server.stop()
