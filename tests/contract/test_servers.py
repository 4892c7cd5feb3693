"""The real servers that other tests stand on do what they say."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster as ClusterClient

from servers.kafka import KafkaServer, live_brokers
from servers.need import PARTS, Part, require
from servers.ports import free_port
from servers.process import ServerFailed
from servers.redis import RedisServer, redis_version
from servers.redis_cluster import SLOTS, RedisCluster

NewRedis = Callable[..., RedisServer]


def test_each_redis_answers_and_comes_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.set("left", "behind")


def test_the_two_redis_are_of_the_versions_promised(redis7_binary: Path, redis62_binary: Path) -> None:
    assert redis_version(redis7_binary) >= (7, 0, 0)
    assert redis_version(redis62_binary)[:2] == (6, 2)


def test_a_restarted_redis_keeps_its_data_and_port(new_redis: NewRedis) -> None:
    server = new_redis(fsync="always")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    before = server.pid
    server.restart()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
    assert server.pid != before


def test_a_killed_redis_is_gone_and_starts_again_with_what_was_synced(new_redis: NewRedis) -> None:
    server = new_redis(fsync="always")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    server.kill()
    assert not server.alive
    assert not server.answers()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_a_paused_redis_answers_only_when_resumed(new_redis: NewRedis) -> None:
    server = new_redis(aof=False)
    with socket.create_connection((server.host, server.port), timeout=0.2) as connection:
        server.pause()
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(64)
        server.resume()
        connection.settimeout(5)
        assert connection.recv(64) == b"+PONG\r\n"


def test_redis_takes_its_options(new_redis: NewRedis, tmp_path: Path) -> None:
    server = new_redis(
        aof=False,
        maxmemory="64mb",
        policy="allkeys-lru",
        unixsocket=tmp_path / "r.sock",
        extra=("--hz", "50"),
    )
    with redis.Redis(unix_socket_path=str(tmp_path / "r.sock"), decode_responses=True) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(64 << 20)
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"
        assert client.config_get("appendonly")["appendonly"] == "no"
        assert client.config_get("hz")["hz"] == "50"
    assert server.alive


def test_a_server_that_cannot_start_says_why_from_its_log(redis7_binary: Path) -> None:
    server = RedisServer(redis7_binary, extra=("--no-such-option", "1"))
    with contextlib.closing(server), pytest.raises(ServerFailed, match="no-such-option"):
        server.start()


def test_stopping_twice_or_before_starting_is_fine(redis7_binary: Path) -> None:
    server = RedisServer(redis7_binary)
    server.stop()
    server.start()
    folder = server.dir
    server.close()
    server.close()
    assert not folder.exists()


def test_the_cluster_shares_all_slots_among_three_primaries(cluster_url: str, redis_cluster: RedisCluster) -> None:
    with ClusterClient.from_url(cluster_url) as client:
        for index in range(50):
            client.set(f"key-{index}", index)
        assert {node.port for node in client.get_primaries()} == {node.port for node in redis_cluster.nodes}
        assert client.cluster_info(target_nodes=client.get_random_node())["cluster_slots_ok"] == str(SLOTS)
    for node in redis_cluster.nodes:
        with redis.Redis.from_url(node.url) as one:
            assert one.dbsize() > 0


def test_kafka_serves_and_keeps_its_data_over_a_kill_and_a_restart(kafka: KafkaServer) -> None:
    assert live_brokers(kafka.host, kafka.port) == 1
    kafka.kill()
    assert not kafka.answers()
    kafka.start()
    assert live_brokers(kafka.host, kafka.port) == 1


async def test_kafka_takes_a_record_and_gives_it_back(kafka: KafkaServer) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("servers.echo", num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    sent = await producer.send_and_wait("servers.echo", b"hello")
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    where = TopicPartition("servers.echo", 0)
    consumer.assign([where])
    consumer.seek(where, sent.offset)
    assert (await consumer.getone()).value == b"hello"
    await consumer.stop()


def test_free_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("this kernel tells no range")
    low, high = map(int, path.read_text().split())
    assert not low <= free_port() <= high


@pytest.mark.parametrize(("ci", "outcome"), [("true", "Failed"), ("", "Skipped")])
def test_a_missing_part_skips_for_people_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str
) -> None:
    monkeypatch.setitem(PARTS, "moon", Part("The Moon", lambda: "look up at night"))
    monkeypatch.setitem(os.environ, "CI", ci)
    with pytest.raises(BaseException, match="look up at night") as raised:
        require("moon")
    assert type(raised.value).__name__ == outcome
