"""Redis with TLS and ACL users: what works, and what people are told when it does not."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.secured import OPERATOR_PASSWORD, RUNTIME_PASSWORD, allow, redis_as, redis_commands, redis_user

from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.scripts import lua_root
from laneway.errors import ConfigError, OutcomeUnknown, ServerRefused, Unavailable
from laneway.model.config import QueueConfig
from laneway.model.events import EVENT_SCHEMA, START, Event
from laneway.model.servers import RedisServer as Address
from laneway.ports.history import FINE, Count, LaneSize, LaneTimes, Sizes
from laneway.submit import NewTask, Submitter
from servers.certificates import Authority
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster

#: Nothing below may take longer: an error that takes its time hangs callers.
_AT_ONCE_S = 5.0


@pytest.fixture
async def refused() -> AsyncIterator[Callable[[Address], Any]]:
    """What a store says that can't get in; each of its ways in, in turn."""
    stores: list[RedisStore] = []

    async def why(address: Address) -> str:
        store = RedisStore(address, "q", patience=3.0)
        stores.append(store)
        said: list[str] = []
        async with asyncio.timeout(_AT_ONCE_S):
            for call in (store.config, lambda: store.get([bytes(14)]), lambda: store.wait_work(0.1)):
                with pytest.raises(Unavailable) as caught:
                    await call()
                said.append(str(caught.value))
        # (a server that refuses a client's certificate is heard or only seen to leave, as chance has it)
        assert len(set(said)) == 1 or all("LANEWAY_REDIS_CERT_FILE" in text for text in said), said
        return said[0]

    yield why
    for store in stores:
        await store.close()


async def test_a_store_works_over_tls_as_the_docs_user(secure_redis: RedisServer, authority: Authority) -> None:
    operator = RedisStore(redis_as("operator", secure_redis, authority), "q")
    store = RedisStore(redis_as("runtime", secure_redis, authority), "q")
    secure_redis.command("ACL LOG RESET")
    try:
        assert await operator.configure(QueueConfig(), {}, expected=None)
        (got,) = await Submitter(store).submit_many([NewTask(type="t")])
        assert not isinstance(got, Exception)
        (view,) = await store.get([got.id])
        assert view is not None
        assert (await store.stats()).counts["queued"] == 1
        assert await store.wait_ended(got.id, 0.05) is None
        event = Event(EVENT_SCHEMA, "q", "submitted", 1, "1-0", [])
        await store.append_log("events", [msgspec.json.encode(event)], 10)
        assert len(await store.events.latest(5)) == 1
        async with aclosing(store.events.read(START)) as batches:
            assert len(await anext(batches)) == 1
        await store.history.tally(b"1-0", [Count(0, "submitted", "default", 1)])
        await store.history.sample(Sizes(0, 0, 0, 0, 0, 0, [LaneSize("default", 0, 0)]))
        await store.history.observe([LaneTimes("default", [1.0, 2.0], [])])
        assert len(await store.history.read(FINE, 0, 10)) == 1
        assert await store.outbox(10)
        assert (await operator.stats()).counts["submitted"] == 1
        assert await operator.check_server() == []
        assert await operator.erase() > 0
    finally:
        await store.close()
        await operator.close()
    assert secure_redis.command("ACL LOG 1") == b"*0", "something was not allowed"


async def test_the_operators_user_makes_configures_loads_and_erases(
    secure_redis: RedisServer, authority: Authority
) -> None:
    store = RedisStore(redis_as("operator", secure_redis, authority), "q")
    other = RedisStore(redis_as("operator", secure_redis, authority), "other")
    try:
        assert list((await store.ensure_scripts()).values()) != []
        assert await store.ensure_scripts() == {}
        for each in (store, other):
            assert await each.configure(QueueConfig(), {}, expected=None)
        await store.stats()
        assert await store.erase() > 0
        assert await store.erase() == 0
        with pytest.raises(ConfigError, match="is not configured"):
            await store.config(reload=True)
        assert await other.config(reload=True)
    finally:
        await store.close()
        await other.close()


async def test_a_runtime_user_may_not_erase_a_queue(secure_redis: RedisServer, authority: Authority) -> None:
    store = RedisStore(redis_as("runtime", secure_redis, authority), "q")
    try:
        assert await store.configure(QueueConfig(), {}, expected=None)
        with pytest.raises(Unavailable, match=r"does not allow it to the user 'laneway-runtime' \(.*scan.*\)"):
            await store.erase()
        assert await store.config(reload=True)
    finally:
        await store.close()


def test_the_docs_name_each_command_of_the_scripts_and_no_other() -> None:
    found = {
        command.lower()
        for path in lua_root().rglob("*.lua")
        for command in re.findall(r"(?:call|pcall|call_many)\('([A-Za-z]+)'", path.read_text())
    }
    connection = {"auth", "hello", "ping", "select", "info", "wait"}
    scripts = {"eval", "evalsha", "script|exists", "script|load"}
    by_stores = {"blpop", "subscribe", "unsubscribe", "xrange", "xread", "xrevrange", "zrevrange"}
    assert redis_commands("runtime") == found | connection | scripts | by_stores
    assert redis_commands("operator") == found | connection | scripts | {"scan", "unlink", "config|get"}


def test_the_docs_allow_no_whole_category() -> None:
    assert not any(command.startswith("@") for command in redis_commands("runtime") | redis_commands("operator"))


async def test_the_docs_users_reach_a_whole_cluster(redis_cluster: RedisCluster, cluster_url: str) -> None:
    more = "+cluster|slots +cluster|shards +cluster|nodes +cluster|myid +command +readonly +asking"
    for node in redis_cluster.nodes:
        allow(node, f"{redis_user('operator')} {more}")
        node.command("ACL LOG RESET")
    store = RedisStore(Address(cluster_url, "laneway-operator", OPERATOR_PASSWORD, cluster=True), "q", patience=1.0)
    try:
        assert len(await store.ensure_scripts()) == len(redis_cluster.nodes)
        assert await store.configure(QueueConfig(), {}, expected=None)
        assert await store.check_server() == []
        assert await store.erase() > 0
    finally:
        await store.close()
        for node in redis_cluster.nodes:
            node.command("ACL DELUSER laneway-operator")
    assert [node.command("ACL LOG 1") for node in redis_cluster.nodes] == [b"*0"] * 3


# -- refused


async def test_a_wrong_password_is_told_with_its_variable_and_without_itself(
    secure_redis: RedisServer, authority: Authority, refused: Callable[[Address], Any]
) -> None:
    said = await refused(redis_as("runtime", secure_redis, authority, password="hunter2"))
    assert "refuses the login of user 'laneway-runtime'" in said
    assert "LANEWAY_REDIS_PASSWORD" in said
    assert "hunter2" not in said


async def test_a_server_that_wants_a_password_says_so(new_redis: Any, refused: Callable[[Address], Any]) -> None:
    server = new_redis()
    assert server.command("CONFIG SET requirepass secret") == b"+OK"
    said = await refused(Address(server.url))
    assert "wants a password of user 'default'" in said


async def test_a_server_of_an_unknown_authority_is_refused(
    secure_redis: RedisServer, authority: Authority, refused: Callable[[Address], Any], tmp_path: Path
) -> None:
    foreign = Authority(tmp_path, "Foreign")
    said = await refused(redis_as("runtime", secure_redis, foreign))
    assert "shows a certificate that is not accepted" in said
    assert "LANEWAY_REDIS_CA_FILE must hold the certificate of the authority" in said
    said = await refused(redis_as("runtime", secure_redis, authority, ca_file=""))
    assert "name the certificate of the authority that signed it in LANEWAY_REDIS_CA_FILE" in said


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        ({"hosts": ["127.0.0.1"], "days": -0.5}, "certificate has expired"),
        ({"hosts": ["redis.example"]}, "IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_expired_or_of_another_host_is_refused(
    new_redis: Any, authority: Authority, certificate: dict[str, Any], says: str, refused: Callable[[Address], Any]
) -> None:
    server = new_redis(tls=authority.issue("bad", file=f"bad-{len(says)}", **certificate))
    said = await refused(Address(server.tls_url, ca_file=str(authority.cert)))
    assert "shows a certificate that is not accepted" in said
    assert says in said


async def test_a_client_certificate_is_shown_where_the_server_wants_one(
    new_redis: Any, authority: Authority, tmp_path: Path, refused: Callable[[Address], Any]
) -> None:
    server = new_redis(tls=authority.issue("strict", hosts=["127.0.0.1"]), client_ca=authority.cert)
    good, foreign = authority.issue("client"), Authority(tmp_path, "Foreign").issue("client")
    without = Address(server.tls_url, ca_file=str(authority.cert))
    store = RedisStore(replace(without, cert_file=str(good.cert), key_file=str(good.key)), "q")
    assert await store.configure(QueueConfig(), {}, expected=None)
    await store.close()
    for address in (without, replace(without, cert_file=str(foreign.cert), key_file=str(foreign.key))):
        # (whether the server's word arrives before the end of the connection is a matter of chance)
        said = await refused(address)
        assert "does not accept this client's certificate" in said or "closes the connection after" in said
        assert "LANEWAY_REDIS_CERT_FILE" in said


async def test_tls_to_a_port_without_it_is_told(new_redis: Any) -> None:
    server = new_redis()
    store = RedisStore(Address(server.url.replace("redis:", "rediss:")), "q", patience=0.1)
    try:
        async with asyncio.timeout(_AT_ONCE_S):
            # (Redis waits for more of what it takes for a command, or complains of it: a matter of the hello's bytes)
            with pytest.raises(Unavailable, match=r"does not speak TLS there|Timeout connecting"):
                await store.config()
    finally:
        await store.close()


async def test_no_tls_to_a_port_with_it_ends_soon(secure_redis: RedisServer, authority: Authority) -> None:
    store = RedisStore(Address(secure_redis.tls_url.replace("rediss:", "redis:")), "q", patience=0.5)
    try:
        async with asyncio.timeout(_AT_ONCE_S):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await store.config()
    finally:
        await store.close()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_server_that_says_nothing_to_tls_does_not_hold_up(silent: int, authority: Authority) -> None:
    store = RedisStore(Address(f"rediss://127.0.0.1:{silent}/0", ca_file=str(authority.cert)), "q", patience=0.1)
    try:
        async with asyncio.timeout(2 * _AT_ONCE_S):
            for call in (store.config, lambda: store.get([bytes(14)])):
                with pytest.raises((Unavailable, OutcomeUnknown)):
                    await call()
    finally:
        await store.close()


async def test_a_missing_right_is_told_by_its_command_also_inside_a_script(
    secure_redis: RedisServer, authority: Authority
) -> None:
    allow(secure_redis, redis_user("runtime").replace("laneway-runtime", "poorer") + " -zadd")
    address = redis_as("runtime", secure_redis, authority, username="poorer")
    store = RedisStore(address, "q")
    try:
        assert await store.configure(QueueConfig(), {}, expected=None)
        (got,) = await Submitter(store).submit_many([NewTask(type="t")])
        assert isinstance(got, Unavailable)
        assert "does not allow it to the user 'poorer'" in str(got)
    finally:
        await store.close()
        secure_redis.command("ACL DELUSER poorer")


# -- what the server is set up for, without the right to ask CONFIG


async def test_without_config_get_fsync_is_warned_of_and_never_a_crash(new_redis: Any, authority: Authority) -> None:
    server = new_redis(fsync="always")
    allow(server, redis_user("runtime"))
    as_runtime = Address(server.url, "laneway-runtime", RUNTIME_PASSWORD)
    for address, warns in ((Address(server.url), False), (as_runtime, True)):
        store = RedisStore(address, "q")
        try:
            assert await store.configure(QueueConfig(durability="fsync"), {}, expected=None)
            warnings = await store.check_server()
        finally:
            await store.close()
        assert bool(warnings) is warns
        if warns:
            assert "nobody has checked that" in warnings[0]
            assert "+config|get" in warnings[0]


@pytest.mark.parametrize("options", [{"policy": "allkeys-lru", "maxmemory": "64mb"}, {"aof": False}])
async def test_a_broken_promise_is_seen_without_config_get_too(new_redis: Any, options: dict[str, Any]) -> None:
    server = new_redis(**options)
    allow(server, redis_user("runtime"))
    store = RedisStore(Address(server.url, "laneway-runtime", RUNTIME_PASSWORD), "q")
    try:
        assert await store.configure(QueueConfig(durability="fsync"), {}, expected=None)
        with pytest.raises(ServerRefused, match=r"maxmemory-policy|append-only file"):
            await store.check_server()
    finally:
        await store.close()


async def test_a_renewed_certificate_is_taken_by_new_connections(
    new_redis: Any, authority: Authority, tmp_path: Path
) -> None:
    server = new_redis(tls=authority.issue("renewing", hosts=["127.0.0.1"]))
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority(tmp_path / "old", "Old").cert.read_bytes())
    store = RedisStore(Address(server.tls_url, ca_file=str(ca)), "q")
    try:
        with pytest.raises(Unavailable, match="is not accepted"):
            await store.config()
        ca.write_bytes(authority.cert.read_bytes())
        with pytest.raises(ConfigError, match="is not configured"):
            await store.config()
    finally:
        await store.close()


async def test_the_docs_users_are_taken_by_each_version_of_redis(redis_server: RedisServer) -> None:
    for name in ("runtime", "operator"):
        allow(redis_server, redis_user(name))
    operator = RedisStore(Address(redis_server.url, "laneway-operator", OPERATOR_PASSWORD), "q")
    store = RedisStore(Address(redis_server.url, "laneway-runtime", RUNTIME_PASSWORD), "q")
    try:
        assert await operator.configure(QueueConfig(), {}, expected=None)
        (got,) = await Submitter(store).submit_many([NewTask(type="t")])
        assert not isinstance(got, Exception)
        assert await store.check_server() == await operator.check_server() == []
        assert (await store.stats()).counts["queued"] == 1
        with pytest.raises(Unavailable, match="does not allow it to the user 'laneway-runtime'"):
            await store.erase()
        assert await operator.erase() > 0
    finally:
        await store.close()
        await operator.close()
        for name in ("runtime", "operator"):
            redis_server.command(f"ACL DELUSER laneway-{name}")
