"""Where a client's queue is: what is given, what the environment says, and what is refused."""

from typing import Any

import pytest

from laneway import App, ConfigError
from laneway.client.settings import ClientSettings, load_settings
from laneway.model.servers import RedisServer

ENV = {
    "LANEWAY_REDIS_URL": "rediss://r.example:6380/2",
    "LANEWAY_QUEUE": "orders",
    "LANEWAY_NAMESPACE": "shop",
    "LANEWAY_CLUSTER": "True",
}


def test_with_nothing_said_it_is_redis_on_this_machine() -> None:
    assert load_settings(environ={}) == ClientSettings(RedisServer("redis://127.0.0.1:6379/0"), "default", "default")


def test_the_environment_says_where() -> None:
    assert load_settings(environ=ENV) == ClientSettings(
        RedisServer("rediss://r.example:6380/2", cluster=True), "orders", "shop"
    )


def test_what_is_given_counts_before_the_environment() -> None:
    got = load_settings("unix:///run/redis.sock", "mail", "post", False, environ=ENV)
    assert got == ClientSettings(RedisServer("unix:///run/redis.sock"), "mail", "post")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"LANEWAY_REDIS_URL": "localhost:6379"}, "LANEWAY_REDIS_URL must be a URL such as redis://"),
        ({"LANEWAY_QUEUE": "Big Queue"}, "LANEWAY_QUEUE: the name of a queue"),
        ({"LANEWAY_NAMESPACE": "a_b"}, "LANEWAY_NAMESPACE: the name of a namespace"),
        ({"LANEWAY_CLUSTER": "maybe"}, "LANEWAY_CLUSTER must be true or false, not 'maybe'"),
    ],
)
def test_a_wrong_value_is_refused_naming_where_it_is_from(env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(environ=env)
    assert message in str(raised.value)


def test_a_password_in_a_wrong_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings("http://user:secret@host", environ={})
    assert "secret" not in str(raised.value)


def test_making_an_app_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_QUEUE", "one")
    app = App("a")
    monkeypatch.setenv("LANEWAY_QUEUE", "two")
    assert app.settings().queue == "two"


def test_a_wrong_setting_is_refused_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_REDIS_URL", "nonsense")
    app: Any = App("a")

    @app.task
    def t() -> None: ...

    with pytest.raises(ConfigError, match="LANEWAY_REDIS_URL"):
        app.sync.submit(t.call())
    app.sync.close()
