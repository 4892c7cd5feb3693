"""The embedded Redis starts, keeps its data, ends with its owner, and never shares a folder."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from laneway.adapters import embedded
from laneway.adapters.embedded import EmbeddedRedis, FolderInUse, MissingServer, ServerEnded


@pytest.fixture(params=["redis7_binary", "redis62_binary"])
def binary(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


def test_it_serves_on_a_socket_and_leaves_nothing_behind(binary: Path) -> None:
    with EmbeddedRedis(binary=binary) as server, redis.Redis.from_url(server.url) as client:
        folder, pid = Path(client.config_get("dir")["dir"]), server.pid
        assert server.url.startswith("unix://")
        assert pid is not None
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"
        assert client.config_get("save")["save"] == ""
    assert not folder.exists()
    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_folder_that_is_given_keeps_its_data(binary: Path, tmp_path: Path) -> None:
    for expected in (1, 2):
        owner = EmbeddedRedis(tmp_path / "data", binary=binary)
        with owner as server, redis.Redis.from_url(server.url) as client:
            assert client.incr("starts") == expected


def test_it_can_listen_on_a_loopback_port(redis7_binary: Path) -> None:
    with EmbeddedRedis(binary=redis7_binary, tcp=True) as server, redis.Redis.from_url(server.url) as client:
        assert server.url.startswith("redis://127.0.0.1:")
        assert client.ping()


def test_a_folder_with_a_long_name_serves_too(redis7_binary: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with EmbeddedRedis(folder, binary=redis7_binary) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_two_owners_of_one_folder_are_refused(redis7_binary: Path, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, binary=redis7_binary) as first:
        with pytest.raises(FolderInUse, match="another Laneway"):
            EmbeddedRedis(tmp_path, binary=redis7_binary).start()
        assert first.pid is not None


def test_the_server_of_a_killed_owner_is_ended_by_the_next_and_its_data_kept(
    redis7_binary: Path, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from laneway.adapters.embedded import EmbeddedRedis;"
        "server = EmbeddedRedis(Path(sys.argv[1]), binary=Path(sys.argv[2])).start();"
        "print(server.pid, server.url, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), str(redis7_binary)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, url = owner.stdout.readline().split()
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
        owner.kill()
    os.kill(int(pid), 0)  # the server outlives its owner's kill -9
    with EmbeddedRedis(tmp_path, binary=redis7_binary) as server:
        assert server.pid != int(pid)
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"


def test_a_server_that_is_killed_can_be_started_again(redis7_binary: Path, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, binary=redis7_binary) as server:
        assert server.pid is not None
        killed = psutil.Process(server.pid)
        killed.kill()
        killed.wait(10)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_stopping_twice_or_before_starting_is_fine(redis7_binary: Path) -> None:
    server = EmbeddedRedis(binary=redis7_binary)
    server.stop()
    with pytest.raises(ServerEnded, match="not started"):
        _ = server.url
    server.start()
    server.stop()
    server.stop()


def test_a_server_that_ends_while_starting_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerEnded, match="ended while starting"):
        EmbeddedRedis(tmp_path, binary=Path("/bin/false")).start()


def test_path_comes_before_the_wheel(redis7_binary: Path, redis62_binary: Path, tmp_path: Path) -> None:
    assert embedded.find_redis_server() == redis7_binary
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert embedded.find_redis_server() == redis62_binary
        assert embedded.find_redis_server() == embedded.bundled_redis_server()


def test_without_any_server_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded, "bundled_redis_server", lambda: None)
    with pytest.raises(MissingServer, match=r"pip install laneway\[embedded\]"):
        embedded.find_redis_server()
