"""Options' types: what they read, what they refuse, and where the queue is looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from laneway.cli.params import app_path, kafka_servers, key_value, moment, redis_url, seconds
from laneway.cli.target import Target, resolve
from laneway.model.servers import RedisServer


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0.0), ("2.5", 2.5), ("90s", 90.0), ("1h30m", 5400.0), ("250ms", 0.25)]
)
def test_durations_are_seconds_or_units(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1.5h", "1d", "5 s", "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        seconds(text)


def test_times_have_a_zone() -> None:
    assert moment("2030-01-31T08:00:00Z") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    assert moment("2030-01-31T09:00+01:00") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    for text in ("2030-01-31", "2030-01-31T08:00:00", "08:00", ""):
        with pytest.raises(ValueError, match="must"):
            moment(text)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379", "redis://host", "rediss://user:p%40ss@host:6380/2", "redis://[::1]:6379/0",
        "unix:///run/redis.sock", "redis://host/",
    ],
)  # fmt: skip
def test_urls_that_a_client_takes_pass(url: str) -> None:
    assert redis_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "host", "host:1", "redis://", "redis://:6379", "redis://h:0", "redis://h:x", "redis://h/a", "redis://[::1",
            "redis://h/0?socket_timeout=1", "redis://h#x", "unix:///s?db=1", "redis://h/1\n"]
)  # fmt: skip
def test_urls_that_no_client_takes_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        redis_url(url)


def test_brokers_are_hosts_with_ports() -> None:
    for good in ("kafka:9092", "a:1,b-2.example:65535", "[::1]:9092", "127.0.0.1:9092"):
        assert kafka_servers(good) == good
    for bad in ("", "kafka", "kafka:", "kafka:0", "kafka:65536", "a:1,", "a:1, b:2", "kafka://a:1"):
        with pytest.raises(ValueError, match="must be HOST:PORT"):
            kafka_servers(bad)


def test_apps_are_import_paths() -> None:
    for good in ("app:app", "package.module:app", "m:objects.app"):
        assert app_path(good) == good
    for bad in ("", "app", "app:", ":app", "a-b:app", "a/b.py:app", "a:b:c", "1a:b"):
        with pytest.raises(ValueError, match=r"must be package\.module:app"):
            app_path(bad)


def test_a_pair_is_cut_at_its_first_equals_sign() -> None:
    assert key_value("a=b=c") == ("a", "b=c")
    assert key_value("a=") == ("a", "")


# -- where the queue is


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_up(folder: Path, pid: int, queues: list[str]) -> None:
    (folder / ".laneway").mkdir()
    up = {"redis": "redis://up:1", "gateway": "", "namespace": "dev", "queues": queues, "pid": pid}
    (folder / ".laneway" / "up.json").write_text(json.dumps(up))


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_without_anything_it_is_the_redis_of_this_machine(folder: Path) -> None:
    assert resolve(None, "q", None, False) == Target(RedisServer("redis://127.0.0.1:6379"), "q", "default")
    with pytest.raises(click.UsageError, match="say which queue: --queue NAME"):
        resolve(None, None, None, False)


def test_a_running_up_gives_what_options_do_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_up(folder, os.getpid(), ["orders"])
    assert resolve(None, None, None, False) == Target(RedisServer("redis://up:1"), "orders", "dev")
    assert capsys.readouterr().err == "laneway: using queue dev/orders of the laneway up in this folder\n"
    assert resolve(None, "mail", "prod", False) == Target(RedisServer("redis://up:1"), "mail", "prod")


def test_a_redis_that_is_named_makes_up_irrelevant(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_up(folder, os.getpid(), ["orders"])
    assert resolve("redis://other", "q", None, False) == Target(RedisServer("redis://other"), "q", "default")
    assert capsys.readouterr().err == ""


def test_with_several_queues_one_must_be_named(folder: Path) -> None:
    _write_up(folder, os.getpid(), ["mail", "orders"])
    with pytest.raises(click.UsageError, match="the laneway up in this folder has mail, orders"):
        resolve(None, None, None, False)
    assert resolve(None, "mail", None, False).queue == "mail"


def test_an_up_that_has_ended_is_not_used(folder: Path) -> None:
    _write_up(folder, _ended_process(), ["orders"])
    assert resolve(None, "q", None, False).redis == RedisServer("redis://127.0.0.1:6379")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1}', "\xff"])
def test_a_file_that_is_no_up_file_is_ignored_with_a_word(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (folder / ".laneway").mkdir()
    (folder / ".laneway" / "up.json").write_bytes(text.encode("latin-1"))
    assert resolve(None, "q", None, False) == Target(RedisServer("redis://127.0.0.1:6379"), "q", "default")
    assert "up.json is ignored, since it can't be read" in capsys.readouterr().err
