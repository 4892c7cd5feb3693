"""A Redis that is named without its queue: the only one there is, or the names of all."""

from __future__ import annotations

import asyncio

import redis
from click.testing import CliRunner, Result
from tests.contract.cli_queue import CliQueue
from tests.contract.gateway_process import PLACES

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.queue_names import queue_names
from laneway.cli.main import main
from laneway.model.config import QueueConfig
from laneway.model.servers import RedisServer


def run(*args: str, **env: str) -> Result:
    said: dict[str, str | None] = dict.fromkeys(PLACES)
    return CliRunner(env={**said, "LANEWAY_CONTEXTS": "/dev/null", **env}).invoke(main, list(args))


def configure(url: str, queue: str, namespace: str = "default", *, cluster: bool = False) -> None:
    async def write() -> None:
        store = RedisStore(url, queue, namespace=namespace, cluster=cluster)
        try:
            assert await store.configure(QueueConfig(), {}, expected=None)
        finally:
            await store.close()

    asyncio.run(write())


def test_the_only_queue_of_a_redis_need_not_be_named(redis7_url: str) -> None:
    configure(redis7_url, "orders")
    configure(redis7_url, "elsewhere", "other")
    CliQueue(redis7_url).submit(2)
    result = run("stats", "--redis", redis7_url, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert '"queue":"orders"' in result.stdout and '"queued":2' in result.stdout
    assert '"queue":"elsewhere"' in run("stats", "--json", "--namespace", "other", LANEWAY_REDIS_URL=redis7_url).stdout


def test_of_several_all_are_named_and_listed_and_none_is_chosen(redis7_url: str) -> None:
    configure(redis7_url, "orders")
    configure(redis7_url, "mail")
    result = run("submit", "charge", "--redis", redis7_url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "say which queue: --queue NAME" in result.stderr and "that Redis has mail, orders" in result.stderr
    listed = run("queue", "list", "--redis", redis7_url)
    assert listed.exit_code == 0, listed.output
    assert "mail" in listed.stdout and "orders" in listed.stdout


def test_a_redis_without_queues_or_that_is_away_says_so(redis7_url: str) -> None:
    result = run("stats", "--redis", redis7_url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "has no queue of namespace default: apply a TaskQueue" in result.stderr
    result = run("stats", "--redis", "redis://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "is a Redis at redis://127.0.0.1:1? Name another with --redis URL" in result.stderr


async def test_a_cluster_is_looked_through_on_all_its_primaries(cluster_url: str) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        await asyncio.to_thread(configure, cluster_url, name, "spread", cluster=True)
    assert await queue_names(RedisServer(cluster_url, cluster=True), "spread") == names


def test_a_user_who_may_not_look_is_told_to_name_the_queue(redis7_url: str) -> None:
    configure(redis7_url, "orders")
    with redis.Redis.from_url(redis7_url) as admin:
        admin.acl_setuser("narrow", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-scan"])
    try:
        url = redis7_url.replace("redis://", "redis://narrow:pw@")
        result = run("stats", "--redis", url)
    finally:
        with redis.Redis.from_url(redis7_url) as admin:
            admin.acl_deluser("narrow")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "say which queue, with --queue NAME" in result.stderr and "may not list its queues" in result.stderr
