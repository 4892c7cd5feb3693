"""Durability `replica` on a real primary and its replica: an acknowledgement is never given without theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.contract.stores import envelope

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import connect
from laneway.adapters.redis.replicas import Replicas
from laneway.errors import OutcomeUnknown
from laneway.kit.ids import new_task_id
from laneway.model.config import QueueConfig
from servers.redis import RedisServer


def _replicated(primary: RedisServer) -> bool:
    return b"state=online" in primary.command("INFO replication") or primary.command("WAIT 1 100") == b":1"


@pytest.fixture
def pair(new_redis: Callable[..., RedisServer]) -> tuple[RedisServer, RedisServer]:
    """A primary, and a replica that follows it."""
    primary = new_redis(extra=("--repl-diskless-sync-delay", "0"))
    replica = new_redis(extra=("--replicaof", "127.0.0.1", str(primary.port)))
    deadline = time.monotonic() + 20
    while not _replicated(primary):
        assert time.monotonic() < deadline, "the replica does not follow"
    return primary, replica


async def test_a_submission_that_no_replica_has_is_not_acknowledged(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, replica = pair
    store = RedisStore(primary.url, "q")
    await store.configure(QueueConfig(durability="replica", replicas=1), {}, expected="")
    first = (new_task_id(), envelope())
    assert [result.code for result in await store.submit([first])] == ["accepted"]
    second = (new_task_id(), envelope())
    replica.pause()
    with pytest.raises(OutcomeUnknown, match="only 0 of 1 replicas"):
        await store.submit([second])
    replica.resume()
    assert [result.code for result in await store.submit([second])] == ["duplicate"]
    await store.close()


async def test_in_a_cluster_the_primary_of_the_queue_is_asked(cluster_url: str) -> None:
    client = connect(cluster_url, cluster=True)
    replicas = Replicas(client, "laneway:{default/q}:meta")
    assert await replicas.acknowledged(1, 50) == 0
    assert await client.hget("laneway:{default/q}:meta", "replicated") == b"1"
    await replicas.close()
    await client.aclose()
