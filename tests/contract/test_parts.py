"""`hack/parts` starts real servers that outlive it, and ends those only."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from servers import parts
from servers.kube_client import KubeClient
from servers.need import PARTS, Part, require
from servers.parts import Running, State

HACK = Path(parts.__file__).parents[1]


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from pathlib import Path; from servers.parts import main;"
        "sys.exit(main(sys.argv[2:], Path(sys.argv[1])))"
    )
    argv = [sys.executable, "-c", program, str(folder), *arguments]
    return subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(HACK)}, capture_output=True, text=True)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "parts")
    yield state
    parts.down(state)


def test_up_starts_servers_that_outlive_it_and_down_ends_them(state: State, redis7_binary: Path) -> None:
    first = _run(state.folder, "up", "redis7", "--json")
    assert first.returncode == 0, first.stderr
    entry = json.loads(first.stdout)["parts"]["redis7"]
    with redis.Redis.from_url(entry["url"]) as client:
        assert client.ping()
    again = _run(state.folder, "up", "redis7", "--json")
    assert json.loads(again.stdout)["parts"]["redis7"] == entry
    assert entry["url"] in _run(state.folder, "status").stdout
    down = _run(state.folder, "down")
    assert (down.returncode, down.stdout) == (0, f"ended Redis 7 (pid {entry['pid']})\n")
    assert state.running() == {}
    assert not state.folder.exists()
    assert "nothing is running" in _run(state.folder, "status").stdout


def test_a_kubernetes_api_server_says_how_to_reach_it_and_takes_its_etcd_along(state: State) -> None:
    require("kubernetes")
    up = _run(state.folder, "up", "kubernetes", "--json")
    assert up.returncode == 0, up.stderr
    part = state.running()["kubernetes"]
    assert json.loads(up.stdout)["parts"]["kubernetes"]["kubeconfig"] == part.kubeconfig
    assert KubeClient(Path(part.kubeconfig)).ready()
    server, etcd = part.processes()
    server.kill()
    server.wait(timeout=10)
    assert _run(state.folder, "down").stdout == f"ended {PARTS['kubernetes'].title} (pid {part.pid})\n"
    assert not etcd.is_running() or etcd.status() == psutil.STATUS_ZOMBIE


def test_an_unknown_part_is_refused_with_those_that_there_are(state: State) -> None:
    done = _run(state.folder, "up", "moon")
    assert done.returncode == 2
    assert "no such part: moon; there are redis7, redis62, kafka, kubernetes" in done.stderr


def test_it_says_what_the_machine_lacks(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PARTS, "redis7", Part("Redis 7", lambda: "apt-get install it"))
    assert parts.main(["up", "redis7"], state.folder) == 1
    assert "not started: apt-get install it" in capsys.readouterr().out


def test_a_pid_that_another_process_has_by_now_is_left_alone(state: State) -> None:
    me = psutil.Process(os.getpid())
    mine = Running("redis7", "redis://somewhere", me.pid, me.create_time(), "log")
    assert mine.process() == me
    older = dataclasses.replace(mine, started=me.create_time() - 60)
    assert older.process() is None
    state.save({"redis7": older})
    assert parts.down(state) == []
