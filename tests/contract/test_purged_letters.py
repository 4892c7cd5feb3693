"""A purge also takes what the log without Kafka has of dead letters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.contract.cli_queue import CliQueue

from laneway.adapters.redis import RedisStore, letters
from laneway.adapters.redis.log import StreamEventLog
from laneway.kit.ids import id_bytes
from laneway.model.record import AttemptError, encode_error
from laneway.model.settlement import Kind
from laneway.tend.relay import Relay


@pytest.fixture
def queue(redis7_url: str) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


def on_store(queue: CliQueue, work: Callable[[RedisStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        store = RedisStore(queue.url, "orders")
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def relayed(store: RedisStore) -> None:
    """All that has happened is in the log."""
    relay = Relay(store, StreamEventLog(store), "default/orders")
    while (await store.outbox(1))[0]:
        await relay._round()


async def in_log(store: RedisStore) -> list[str]:
    return [json.loads(fields[b"r"])["id"] for _, fields in await store._client.xrange(store.keys.log("dead"))]


def test_a_purge_leaves_no_copy_in_the_log_of_redis(queue: CliQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "_PAGE", 2)  # (so that there are several)
    kept, gone = queue.kill(3, "kept"), queue.kill(120, "gone")
    on_store(queue, relayed)
    # One that was replayed and died again is there twice.
    assert queue.run("dead", "replay", gone[0]).exit_code == 0
    queue.work(1, Kind.DEAD, encode_error(AttemptError("ValueError", "gone", 1_700_000_000_000, 1, "", "w1")))
    on_store(queue, relayed)
    assert sorted(on_store(queue, in_log)) == sorted([*kept, *gone, gone[0]])
    assert queue.run("dead", "purge", *gone[:2], "--yes").exit_code == 0
    assert sorted(on_store(queue, in_log)) == sorted([*kept, *gone[2:]])
    assert queue.run("dead", "purge", "--error", "gone", "--yes").exit_code == 0
    assert on_store(queue, in_log) == kept


def test_a_purge_leaves_what_the_log_has_of_tasks_that_it_does_not_purge(queue: CliQueue) -> None:
    (id,) = queue.kill(1)
    on_store(queue, relayed)
    assert queue.run("dead", "replay", id).exit_code == 0
    assert on_store(queue, lambda store: store.purge([id_bytes(id)])) == 0
    assert on_store(queue, in_log) == [id]


def test_one_store_that_purges_again_and_again_finds_what_has_come_since(queue: CliQueue) -> None:
    first = queue.kill(2)

    async def purges(store: RedisStore) -> list[list[str]]:
        await relayed(store)
        found = []
        assert await store.purge([id_bytes(first[0])]) == 1
        found.append(await in_log(store))
        second.extend(await asyncio.to_thread(queue.kill, 2))
        await relayed(store)
        assert await store.purge([id_bytes(first[1]), id_bytes(second[0])]) == 2
        found.append(await in_log(store))
        return found

    second: list[str] = []
    assert on_store(queue, purges) == [[first[1]], [second[1]]]
