"""``laneway up`` as a real process, with its embedded Redis: what dies, what is taken, and how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.secured import redis_as

from servers.certificates import Authority
from servers.redis import RedisServer

_MANIFESTS = Path(__file__).resolve().parents[2] / "examples" / "quickstart"
_ENV = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}


class Up:
    """One ``laneway up`` in a folder of its own."""

    def __init__(self, folder: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.env = _ENV | (env or {})
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "laneway", "up", "-f", str(_MANIFESTS), "--log-format", "json", *args]
            self.process = subprocess.Popen(command, cwd=folder, env=self.env, stderr=log)

    def until(self, text: str, times: int = 1) -> None:
        self.wait(lambda: self.log.read_text().count(text) >= times, text)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.log.read_text()}"
            time.sleep(0.05)

    def said(self) -> Any:
        return json.loads((self.folder / ".laneway" / "up.json").read_text())

    def laneway(self, *args: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "laneway", *args]
        return subprocess.run(
            command, cwd=self.folder / folder, env=self.env, text=True, capture_output=True, timeout=60
        )


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*args: str, env: dict[str, str] | None = None) -> Up:
        started.append(Up(tmp_path, *args, env=env))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGTERM)
            each.process.wait(60)


def _redis_of(up: Up) -> psutil.Process:
    return next(p for p in psutil.Process(up.process.pid).children() if "redis-server" in p.name())


def test_a_redis_that_is_killed_runs_again_with_its_tasks_and_the_folder_belongs_to_one_up(
    up: Callable[..., Up],
) -> None:
    one = up("--port", "0")
    one.until("worker ready")
    (one.folder / "other").mkdir()
    second = one.laneway(
        "up", "-f", str(_MANIFESTS), "--port", "0", "--data", str(one.folder / ".laneway" / "data"), folder="other"
    )
    assert second.returncode == 2
    (line,) = second.stderr.splitlines()
    assert line.startswith("laneway up: ") and "belongs to another Laneway that is running" in line

    submitted = one.laneway("submit", "burst", "--payload", '{"number": 1}', "--delay", "2s")
    assert submitted.returncode == 0, submitted.stderr
    id_ = submitted.stdout.strip()
    time.sleep(1.1)  # Redis syncs its file every second: what is older than that survives any death
    _redis_of(one).kill()
    one.until("the embedded Redis had ended; it runs again")
    one.wait(
        lambda: '"succeeded"' in one.laneway("task", "show", id_, "--json").stdout,
        "the task was run after Redis came back",
    )
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(60) == 0
    assert "stopping: waiting for running tasks; Ctrl-C again stops now" in one.log.read_text()
    assert not (one.folder / ".laneway" / "up.json").exists()


def test_a_second_up_in_one_folder_is_refused_whatever_its_data_and_the_first_stays_found(
    up: Callable[..., Up], redis7_url: str
) -> None:
    one = up("--port", "0", "--redis", redis7_url)
    one.until("worker ready")
    told = one.said()
    second = one.laneway("up", "-f", str(_MANIFESTS), "--port", "0", "--data", "elsewhere")
    assert second.returncode == 2
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"laneway up: another runs in this folder already (process {one.process.pid})")
    assert one.said() == told
    assert not (one.folder / "elsewhere").exists()
    # A death of any kind frees the folder.
    one.process.kill()
    one.process.wait(60)
    two = up("--port", "0", "--redis", redis7_url)
    two.until("worker ready")
    assert two.said()["pid"] == two.process.pid


def test_a_port_in_use_is_told_in_one_line_before_anything_starts(up: Callable[..., Up]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = up("--port", str(port))
        assert refused.process.wait(60) == 2
    (line,) = refused.log.read_text().splitlines()
    assert line.startswith(f"laneway up: port {port} is in use on 127.0.0.1")
    assert "--port 0" in line


def test_a_redis_with_tls_and_a_user_is_used_by_all_and_its_password_is_nowhere_to_be_read(
    up: Callable[..., Up], secure_redis: RedisServer, authority: Authority
) -> None:
    server = redis_as("runtime", secure_redis, authority)
    env = {name: value for name, value in server.to_env().items() if value and name != "LANEWAY_CLUSTER"}
    one = up("--port", "0", env=env)
    one.until("worker ready")
    (queue,) = one.said()["queues"]
    submitted = one.laneway("submit", "burst", "-q", queue, "--payload", '{"number": 1}', "--wait")
    assert submitted.returncode == 0, submitted.stderr
    del one.env["LANEWAY_REDIS_URL"]  # (then it is that of the laneway up here, with the environment's password)
    submitted = one.laneway("submit", "burst", "--payload", '{"number": 1}', "--wait")
    assert submitted.returncode == 0, submitted.stderr
    written = "".join(path.read_text() for path in one.folder.rglob("*") if path.is_file())
    shown = [" ".join(process.cmdline()) for process in psutil.Process(one.process.pid).children(recursive=True)]
    assert "rediss://" in written
    assert any("worker" in words for words in shown)
    for words in (written, submitted.stderr, *shown):
        assert server.password not in words
    assert (one.folder / ".laneway" / "up.json").stat().st_mode & 0o077 == 0

    # What the environment says of another Redis does not reach the one that this laneway up runs itself.
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(60) == 0
    own = {name: value for name, value in env.items() if name != "LANEWAY_REDIS_URL" and "_FILE" not in name}
    two = up("--port", "0", env=own)
    two.until("worker ready")
    submitted = two.laneway("submit", "burst", "--payload", '{"number": 1}', "--wait")
    assert submitted.returncode == 0, submitted.stderr
