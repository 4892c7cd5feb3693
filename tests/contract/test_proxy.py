"""The proxy loses exactly what it is told to lose."""

import socket

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from servers.proxy import RedisProxy
from servers.redis import RedisServer
from servers.resp import Frames, ProtocolError, arguments


def _client(proxy: RedisProxy, **options: object) -> redis.Redis:
    return redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0), socket_timeout=5, **options)


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_passes_commands_and_replies_through_and_counts_them(redis_proxy: RedisProxy, protocol: int) -> None:
    with _client(redis_proxy, protocol=protocol) as client:
        client.ping()
        requests, replies = redis_proxy.requests, redis_proxy.replies
        big = b"x" * 300_000
        client.set("big", big)
        assert client.get("big") == big
        with client.pipeline(transaction=True) as pipe:
            pipe.rpush("list", *range(1000)).lrange("list", 0, -1).hset("hash", mapping={"a": 1}).hgetall("hash")
            assert len(pipe.execute()[1]) == 1000
        assert redis_proxy.requests - requests == redis_proxy.replies - replies == 2 + 6


def test_a_dropped_reply_means_the_command_was_carried_out_and_the_client_does_not_know(
    redis_proxy: RedisProxy, redis7: RedisServer
) -> None:
    with _client(redis_proxy) as client:
        client.ping()
        fault = redis_proxy.drop_reply(2, "INCRBY")  # what the client makes of incr()
        assert client.incr("n") == 1
        assert client.get("n") == b"1"
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
        assert fault.wait() == (b"INCRBY", b"n", b"1")
        assert client.incr("n") == 3  # the fault is spent, and the lost command counted


def test_earlier_replies_of_the_same_pipeline_are_delivered(redis_proxy: RedisProxy) -> None:
    redis_proxy.drop_reply(1, lambda command: command == (b"INCR", b"b"))
    with socket.create_connection((redis_proxy.host, redis_proxy.port), timeout=5) as connection:
        connection.sendall(b"INCR a\r\nINCR b\r\nINCR c\r\n")
        with connection.makefile("rb") as answers:
            assert answers.read() == b":1\r\n"
    with _client(redis_proxy) as client:
        assert client.mget("a", "b", "c") == [b"1", b"1", b"1"]


def test_a_dropped_request_never_reaches_the_server(redis_proxy: RedisProxy) -> None:
    with _client(redis_proxy) as client:
        fault = redis_proxy.drop_request(1, "SET")
        with pytest.raises(redis.ConnectionError):
            client.set("k", "v")
        assert fault.wait() == (b"SET", b"k", b"v")
        assert client.get("k") is None


def test_a_script_s_reply_can_be_dropped_by_its_digest(redis_proxy: RedisProxy) -> None:
    with _client(redis_proxy) as client:
        digest = client.script_load("return redis.call('INCR', KEYS[1])")
        redis_proxy.drop_reply(1, lambda command: command[:2] == (b"EVALSHA", digest.encode()))
        with pytest.raises(redis.ConnectionError):
            client.evalsha(digest, 1, "n")
        assert client.evalsha(digest, 1, "n") == 2


def test_cleared_faults_do_not_happen(redis_proxy: RedisProxy) -> None:
    fault = redis_proxy.drop_reply()
    redis_proxy.clear()
    with _client(redis_proxy) as client:
        assert client.ping()
    assert not fault.fired
    with pytest.raises(TimeoutError, match="0 of 1"):
        fault.wait(0)


def test_refused_clients_are_told_so_until_it_heals(redis_proxy: RedisProxy) -> None:
    with _client(redis_proxy) as client:
        client.set("k", "v")
        with redis_proxy.partition("refuse"), pytest.raises(redis.ConnectionError):
            client.get("k")
        assert client.get("k") == b"v"


def test_a_black_hole_answers_nothing_and_delivers_what_waited_when_it_heals(redis_proxy: RedisProxy) -> None:
    with socket.create_connection((redis_proxy.host, redis_proxy.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"
        with redis_proxy.partition("blackhole"):
            connection.settimeout(0.1)
            connection.sendall(b"INCR n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(64)
        connection.settimeout(5)
        assert connection.recv(64) == b":1\r\n"


def test_a_cut_closes_what_is_open_and_welcomes_new_clients(redis_proxy: RedisProxy) -> None:
    with socket.create_connection((redis_proxy.host, redis_proxy.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        connection.recv(64)
        redis_proxy.cut()
        assert connection.recv(64) == b""
    with _client(redis_proxy) as client:
        assert client.ping()


@pytest.mark.parametrize("protocol", [2, 3])
def test_subscriptions_pass_through(redis_proxy: RedisProxy, protocol: int) -> None:
    with _client(redis_proxy, protocol=protocol) as client, client.pubsub() as subscription:
        subscription.subscribe("news")
        assert subscription.get_message(timeout=5)["type"] == "subscribe"
        client.publish("news", "hello")
        assert subscription.get_message(timeout=5)["data"] == b"hello"


def test_when_the_server_is_away_clients_lose_their_connection(redis7_binary: object) -> None:
    with RedisProxy(1) as proxy, _client(proxy) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_stopping_twice_or_before_starting_is_fine() -> None:
    proxy = RedisProxy(1)
    proxy.stop()
    proxy.start()
    proxy.stop()
    proxy.stop()


STREAM = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":1\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
    b"%1\r\n+k\r\n*1\r\n_\r\n",
    b"|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n",
    b">2\r\n+message\r\n,1.5\r\n",
    b"#t\r\n",
    b"=5\r\ntxt:a\r\n",
    b"PING\r\n",
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_are_cut_alike_however_the_stream_arrives(step: int) -> None:
    frames, stream = Frames(), b"".join(STREAM)
    found = [frame for at in range(0, len(stream), step) for frame in frames.feed(stream[at : at + step])]
    assert found == STREAM
    assert frames.rest() == b""


def test_arguments_are_those_of_the_command() -> None:
    assert arguments(b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n") == (b"GET", b"a\r\n")
    assert arguments(b"GET a\r\n") == (b"GET", b"a")


@pytest.mark.parametrize("garbage", [b"\x00\x01\r\n", b"$x\r\n", b"*x\r\n"])
def test_what_is_not_resp_is_refused(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        Frames().feed(garbage)
