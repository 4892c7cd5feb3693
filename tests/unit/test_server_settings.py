"""Where Redis and Kafka are, by the environment: what counts, what contradicts itself, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from laneway.adapters.redis.connection import connect
from laneway.errors import ConfigError
from laneway.model.servers import NO_KAFKA, KafkaServer, RedisServer
from laneway.roles.stores import server_env
from laneway.roles.worker_options import WorkerOptions, worker_command

REDIS = {
    "LANEWAY_REDIS_URL": "rediss://redis.example:6380/2",
    "LANEWAY_REDIS_USERNAME": "laneway",
    "LANEWAY_REDIS_PASSWORD": "secret-1",
    "LANEWAY_REDIS_CA_FILE": "/tls/ca.crt",
    "LANEWAY_REDIS_CERT_FILE": "/tls/tls.crt",
    "LANEWAY_REDIS_KEY_FILE": "/tls/tls.key",
    "LANEWAY_CLUSTER": "true",
}
KAFKA = {
    "LANEWAY_KAFKA": "a:9093,b:9093",
    "LANEWAY_KAFKA_TLS": "true",
    "LANEWAY_KAFKA_CA_FILE": "/tls/ca.crt",
    "LANEWAY_KAFKA_CERT_FILE": "/tls/tls.crt",
    "LANEWAY_KAFKA_KEY_FILE": "/tls/tls.key",
    "LANEWAY_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "LANEWAY_KAFKA_USERNAME": "laneway",
    "LANEWAY_KAFKA_PASSWORD": "secret-2",
}


def test_the_environment_says_all_of_redis_and_kafka() -> None:
    assert RedisServer.from_env(REDIS) == RedisServer(
        "rediss://redis.example:6380/2", "laneway", "secret-1", "/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key", True
    )
    assert KafkaServer.from_env(KAFKA) == KafkaServer(
        "a:9093,b:9093", True, "/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key", "SCRAM-SHA-512", "laneway", "secret-2"
    )


def test_what_a_child_is_given_is_what_its_parent_had() -> None:
    redis, kafka = RedisServer.from_env(REDIS), KafkaServer.from_env(KAFKA)
    env = server_env(redis, kafka)
    assert (RedisServer.from_env(env), KafkaServer.from_env(env)) == (redis, kafka)
    around = {**REDIS, **KAFKA}
    env = around | server_env("redis://other:1", None)
    assert RedisServer.from_env(env) == RedisServer("redis://other:1")
    assert KafkaServer.from_env(env) is None
    assert set(NO_KAFKA) == set(KAFKA)


def test_with_nothing_said_it_is_redis_here_and_no_kafka() -> None:
    assert RedisServer.from_env({}) == RedisServer("redis://127.0.0.1:6379/0")
    assert KafkaServer.from_env({}) is None


def test_an_option_wins_over_the_environment() -> None:
    assert RedisServer.from_env(REDIS, url="rediss://other:1", cluster=False).url == "rediss://other:1"
    assert not RedisServer.from_env(REDIS, cluster=False).cluster
    found = KafkaServer.from_env(KAFKA, bootstrap="c:1")
    assert found is not None
    assert found.bootstrap == "c:1"


def test_the_user_of_a_url_is_kept_and_what_it_lacks_is_filled_in() -> None:
    assert RedisServer("redis://ann:pw@r:1").user == "ann"
    assert RedisServer("redis://ann@r:1", password="pw").user == "ann"
    assert RedisServer("redis://r:1", "ann", "pw").user == "ann"
    assert RedisServer("redis://r:1").user == "default"
    assert RedisServer("redis://a%40b:p%3Aw@r:1", "a@b", "p:w").user == "a@b"
    kwargs = connect(RedisServer("redis://ann@r:1/3", password="pw")).connection_pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("ann", "pw", 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"LANEWAY_REDIS_URL": "rediss://bob:x@r:1"}, "LANEWAY_REDIS_USERNAME is set, and the URL of Redis .* another"),
        ({"LANEWAY_REDIS_URL": "rediss://laneway:x@r:1"}, "LANEWAY_REDIS_PASSWORD is set, and the URL .* another"),
        ({"LANEWAY_REDIS_URL": "redis://r:1"}, r"LANEWAY_REDIS_CA_FILE is set, .* make it rediss://"),
        ({"LANEWAY_REDIS_KEY_FILE": ""}, "LANEWAY_REDIS_CERT_FILE is set, and LANEWAY_REDIS_KEY_FILE is not"),
        ({"LANEWAY_REDIS_CERT_FILE": ""}, "LANEWAY_REDIS_KEY_FILE is set, and LANEWAY_REDIS_CERT_FILE is not"),
        ({"LANEWAY_REDIS_URL": "http://r:1"}, "LANEWAY_REDIS_URL must be a URL such as redis://"),
        ({"LANEWAY_REDIS_URL": "redis://[::1"}, "LANEWAY_REDIS_URL can't be read"),
        ({"LANEWAY_CLUSTER": "maybe"}, "LANEWAY_CLUSTER must be true or false, not 'maybe'"),
    ],
)
def test_a_wrong_setting_of_redis_says_which_and_what_would_be_right(change: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        RedisServer.from_env(REDIS | change)
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"LANEWAY_KAFKA_TLS": "false"},
            "LANEWAY_KAFKA_CA_FILE is set, and TLS to Kafka is off: set LANEWAY_KAFKA_TLS",
        ),
        ({"LANEWAY_KAFKA_TLS": "on please"}, "LANEWAY_KAFKA_TLS must be true or false"),
        (
            {"LANEWAY_KAFKA_SASL_MECHANISM": "GSSAPI"},
            "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, not 'GSSAPI'",
        ),
        (
            {"LANEWAY_KAFKA_SASL_MECHANISM": ""},
            "LANEWAY_KAFKA_USERNAME is set, and LANEWAY_KAFKA_SASL_MECHANISM is not",
        ),
        ({"LANEWAY_KAFKA_USERNAME": ""}, "is SCRAM-SHA-512, and LANEWAY_KAFKA_USERNAME is not set"),
        ({"LANEWAY_KAFKA_PASSWORD": ""}, "is SCRAM-SHA-512, and LANEWAY_KAFKA_PASSWORD is not set"),
        ({"LANEWAY_KAFKA_KEY_FILE": ""}, "LANEWAY_KAFKA_CERT_FILE is set, and LANEWAY_KAFKA_KEY_FILE is not"),
    ],
)
def test_a_wrong_setting_of_kafka_says_which_and_what_would_be_right(change: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        KafkaServer.from_env(KAFKA | change)
    assert "secret-2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis//ann:secret-1@r:1/0", "redis://ann:secret-1@r:port/0", "redis://ann:secret-1@r:0", "redis://ann:secret-1@",
        "redis://ann:sec/ret-1@r:1/0", "redis://ann:sec?ret-1@r:1/0", "redis://ann:sec#ret-1@r:1", "redis://r/secret-1",
        "redis://r:1/0?password=secret-1", "redis://r:1/0?socket_timeout=9999", "redis://r:secret-1", "redis://[secret-1",
        "redis://ann:secret-1@r:1/0\n", "unix://ann:secret-1@", "unix:///run/r.sock?db=secret-1", "secret-1",
    ],
)  # fmt: skip
def test_a_wrong_url_of_redis_is_refused_and_nothing_of_it_repeated(url: str) -> None:
    """A password that was not escaped may stand anywhere in it."""
    for make in (RedisServer, lambda url: RedisServer.from_env({"LANEWAY_REDIS_URL": url})):
        with pytest.raises(ConfigError, match=r"LANEWAY_REDIS_URL .*must be a URL such as redis://127") as caught:
            make(url)
        for part in ("sec", "ret-1", "ann", "port/", "9999", "r.sock"):
            assert part not in str(caught.value).replace("a port from", "").replace("/run/redis.sock", "")


def test_plain_passwords_are_not_sent_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="LANEWAY_KAFKA_TLS=true, or use SCRAM"):
        KafkaServer("k:1", mechanism="PLAIN", username="u", password="p")
    assert KafkaServer("k:1", mechanism="SCRAM-SHA-512", username="u", password="p").protocol == "SASL_PLAINTEXT"
    assert KafkaServer("k:1", True, mechanism="PLAIN", username="u", password="p").protocol == "SASL_SSL"
    assert KafkaServer("k:1", True).protocol == "SSL"
    assert KafkaServer("k:1").protocol == "PLAINTEXT"


def test_no_password_is_in_a_repr_an_address_or_a_command_line() -> None:
    redis, kafka = RedisServer("redis://ann:secret-1@r:1/2"), KafkaServer.from_env(KAFKA)
    options = WorkerOptions("a:app", redis, "q", kafka=kafka)
    assert redis.address == "redis://r:1/2"
    shown = f"{redis!r} {redis} {kafka!r} {kafka} {options!r} {worker_command(options)}"
    assert "secret" not in shown
    assert "redis://r:1/2" in shown


def test_a_missing_file_is_told_before_any_connection(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"LANEWAY_REDIS_CA_FILE: there is no file /none/ca\.crt"):
        connect(RedisServer("rediss://r:1", ca_file="/none/ca.crt"))
    wrong = tmp_path / "ca.crt"
    wrong.write_text("not PEM")
    with pytest.raises(ConfigError, match=r"LANEWAY_REDIS_CA_FILE: .* must hold certificates in PEM"):
        connect(RedisServer("rediss://r:1", ca_file=str(wrong)))
