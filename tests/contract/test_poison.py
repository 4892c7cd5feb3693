"""Tasks that can't be told or carried hold up nobody behind them."""

import asyncio
import json
import os
from collections.abc import Sequence

import msgspec
import pytest

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.kafka.publisher import Publisher
from laneway.adapters.kafka.tasks import KafkaTaskPublisher
from laneway.adapters.memory import MemoryStore
from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_text, new_incarnation, new_task_ids
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State
from laneway.model.topics import Topics
from laneway.ports.store import Claimed, TaskStore
from laneway.tend.dispatcher import Dispatcher
from laneway.tend.relay import Relay
from servers.kafka import KafkaServer


class Log:
    """An event log in memory."""

    def __init__(self) -> None:
        self.told: dict[str, list[bytes]] = {"events": [], "dead": []}

    async def append(self, stream: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        self.told[stream] += [value for _, value in records]

    async def close(self) -> None:
        """Nothing to end."""


def sent(payload: bytes, tenant: str = "") -> bytes:
    """An envelope as a submitter sends it."""
    return encode_envelope(Envelope(1, 4, 1, tenant, Body("t", payload)))


async def kill(store: TaskStore, payloads: Sequence[bytes]) -> list[bytes]:
    """Submits tasks with these payloads and lets a worker send each to the dead letters."""
    ids = new_task_ids(len(payloads))
    await store.submit([(id_, sent(payload)) for id_, payload in zip(ids, payloads, strict=True)])
    inc = new_incarnation()
    await store.register(inc, "w", "direct", 50, 50, 0)
    await store.heartbeat(inc, 2, 50, 50, [])
    turn = await store.turn(inc, 1, 50, [])
    error = msgspec.msgpack.encode({"kind": "x"})
    await store.settle(inc, [Settlement(Kind.DEAD, task.id, task.fence, data=error) for task in turn.tasks])
    return ids


async def until(ready: object, seconds: float = 15.0) -> None:
    """Waits until ``ready()`` is true."""
    async with asyncio.timeout(seconds):
        while not await ready():  # type: ignore[operator]  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.05)


PAYLOADS = {
    "keys that JSON has no form for": msgspec.msgpack.encode({(1, 2): "x"}),
    "an extension value": msgspec.msgpack.encode({"a": msgspec.msgpack.Ext(5, b"x")}),
    "a map that is cut off": b"\x81",
    "bytes after the map": b"\x80junk",
    "a payload too large to tell": msgspec.msgpack.encode({"text": os.urandom(400_000).hex()}),
    "an ordinary one": msgspec.msgpack.encode({"text": "hello"}),
}


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_the_relay_tells_every_dead_letter_whatever_its_payload(kind: str, redis7_url: str) -> None:
    store: TaskStore = MemoryStore() if kind == "memory" else RedisStore(redis7_url, "poison")
    await store.configure(QueueConfig(max_payload=2_000_000), {}, expected=None)
    ids = await kill(store, list(PAYLOADS.values()))
    log = Log()
    relay = Relay(store, log, "default/poison")
    await relay.start()

    async def empty() -> bool:
        return not (await store.stats()).outbox_entries

    await until(empty)
    await relay.stop()
    letters = {letter["id"]: letter["payload"] for letter in map(json.loads, log.told["dead"])}
    assert set(letters) == {id_text(id_) for id_ in ids}
    assert letters[id_text(ids[-1])] == {"text": "hello"}
    assert set(letters[id_text(ids[0])]) == {"msgpack"} and set(letters[id_text(ids[4])]) == {"omitted", "bytes"}
    assert relay.failures == 0
    await store.close()


async def test_a_corrupt_envelope_is_shown_as_such_and_told(redis7_url: str) -> None:
    store = RedisStore(redis7_url, "poison")
    await store.configure(QueueConfig(), {}, expected=None)
    (id_,) = await kill(store, [b"\x80"])
    raw = await store._client.hget(store.keys.key("tasks"), id_)
    await store._client.hset(store.keys.key("tasks"), id_, raw[:-3])
    (view,) = await store.get([id_])
    assert view is not None
    assert (view.state, view.envelope.body.type) == (State.DEAD, "(unreadable)")
    await store.close()


async def test_a_task_larger_than_its_topic_is_dead_and_the_others_run(redis7_url: str, kafka: KafkaServer) -> None:
    store = RedisStore(redis7_url, "poison")
    await store.configure(QueueConfig(source="kafka", max_payload=20_000_000), {}, expected=None)
    topics = Topics.of("default", f"poison-{new_task_ids(1)[0].hex()}")
    await ensure_topics(kafka.bootstrap, topics, partitions=1)
    inc = new_incarnation()
    await store.register(inc, "w", "kafka", 50, 50, 1)
    await store.heartbeat(inc, 2, 50, 50, [])
    ids = new_task_ids(3)
    large = msgspec.msgpack.encode({"a": os.urandom(19_500_000)})
    payloads = [b"\x80", large, msgspec.msgpack.encode({"a": os.urandom(1_100_000)})]
    await store.submit([(id_, sent(payload)) for id_, payload in zip(ids, payloads, strict=True)])
    dispatcher = Dispatcher(store, KafkaTaskPublisher(kafka.bootstrap, topics))
    await dispatcher.start()

    async def told() -> bool:
        return (await store.stats()).counts["dead"] == 1

    await until(told)
    small, dead, medium = await store.get(ids)
    assert small and dead and medium
    assert dead.state is State.DEAD and "larger than the topic takes" in dead.errors[-1].message
    assert {small.state, medium.state} <= {State.DISPATCHED, State.QUEUED}
    assert small.record and medium.record and small.record.flags == 0  # (published: no deadline was missed for it)
    await dispatcher.stop()
    await store.close()


async def test_many_publications_at_once_share_one_producer(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laneway.adapters.kafka import publisher as module

    made = []

    class Counted(module.AIOKafkaProducer):  # type: ignore[misc]
        def __init__(self, **options: object) -> None:
            made.append(self)
            super().__init__(**options)

    monkeypatch.setattr(module, "AIOKafkaProducer", Counted)
    topics = Topics.of("default", f"poison-{new_task_ids(1)[0].hex()}")
    await ensure_topics(kafka.bootstrap, topics, partitions=1)
    publisher = Publisher(kafka.bootstrap)
    results = await asyncio.gather(*(publisher.publish(topics.events, [(None, None, b"x")]) for _ in range(8)))
    await publisher.close()
    assert len(made) == 1
    assert results == [[module.Sent.DONE]] * 8


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_parked_tasks_move_on_when_one_that_was_unparked_is_cancelled(kind: str, redis7_url: str) -> None:
    store: TaskStore = MemoryStore() if kind == "memory" else RedisStore(redis7_url, "poison")
    await store.configure(
        QueueConfig(tenant=TenantConfig(max=1), lanes=(LaneConfig(n=1, name="default"),)), {}, expected=None
    )
    inc = new_incarnation()
    await store.register(inc, "w", "direct", 10, 10, 0)
    await store.heartbeat(inc, 2, 10, 10, [])
    ids = new_task_ids(3)
    for id_ in ids:
        await store.submit([(id_, sent(b"\x80", "x"))])
    (first,) = (await store.turn(inc, 1, 10, [])).tasks
    await store.settle(inc, [Settlement(Kind.COMPLETE, first.id, first.fence)])
    assert await store.cancel([ids[1]]) == ["cancelled"]
    tasks: list[Claimed] = (await store.turn(inc, 2, 10, [])).tasks
    assert [task.id for task in tasks] == [ids[2]]
    await store.close()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_the_sweep_passes_the_tenant_without_a_name(kind: str, redis7_url: str) -> None:
    store: TaskStore = MemoryStore() if kind == "memory" else RedisStore(redis7_url, "poison")
    await store.configure(QueueConfig(tenant=TenantConfig(max=1)), {}, expected=None)
    inc = new_incarnation()
    await store.register(inc, "w", "direct", 10, 10, 0)
    await store.heartbeat(inc, 2, 10, 10, [])
    for tenant in ("", "a", "b"):
        await store.submit([(id_, sent(b"\x80", tenant)) for id_ in new_task_ids(3)])
    assert len((await store.turn(inc, 1, 10, [])).tasks) == 3  # one of each runs, the others are parked
    await store.configure(QueueConfig(version=2, tenant=TenantConfig(max=3)), {}, expected=None)
    cursor, moved, calls = "", 0, 0
    while calls == 0 or cursor:
        cursor, unparked = await store.sweep(cursor, 1)
        moved, calls = moved + unparked, calls + 1
    assert moved == 6
    await store.close()
