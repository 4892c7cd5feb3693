"""The command line as real processes: Ctrl-C, closed pipes, live views, slow input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.cli_queue import CliQueue

from laneway.model.settlement import Kind

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def queue(redis7_url: str) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


@pytest.fixture
def start(queue: CliQueue) -> Iterator[Start]:
    """Starts ``laneway args`` as a process of its own."""
    env = {**os.environ, "LANEWAY_REDIS_URL": queue.url, "LANEWAY_QUEUE": "orders"}
    started: list[subprocess.Popen[str]] = []

    def run(*args: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "laneway", *args]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=env, text=True, **{**streams, **options})
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_watching_as_json_is_a_line_each_time_until_ctrl_c_which_is_no_error(queue: CliQueue, start: Start) -> None:
    process = start("stats", "--watch", "--every", "0.1", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    queue.submit(3)
    last = first
    while last["tasks"]["queued"] != 3:
        last = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_ctrl_c_while_waiting_is_one_line_and_130(queue: CliQueue, start: Start) -> None:
    (waits,) = queue.submit(1)
    process = start("submit", "charge", "--wait")
    assert process.stdout is not None
    id = process.stdout.readline().strip()
    assert id != waits
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, "", "laneway: interrupted")


def test_submit_wait_shows_the_task_when_a_worker_has_done_it(queue: CliQueue, start: Start) -> None:
    process = start("submit", "charge", "--wait", "--wait-timeout", "60s")
    assert process.stdout is not None
    id = process.stdout.readline().strip()
    assert queue.work(1, Kind.COMPLETE, b"\x2a") == [id]
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "succeeded" in out and "42" in out


def test_a_reader_that_has_seen_enough_ends_the_output_quietly(queue: CliQueue, start: Start) -> None:
    queue.kill(200, "x" * 2000)
    read, write = os.pipe()
    os.close(read)
    process = start("dead", "list", "--limit", "200", "--json", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_tasks_from_a_slow_pipe_are_submitted_as_they_come(queue: CliQueue, start: Start) -> None:
    process = start("submit", "charge", "-f", "-", "--json")
    assert process.stdin is not None and process.stdout is not None
    for n in (1, 2):
        process.stdin.write("{}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["line"] == n
        assert queue.counts()["queued"] == n
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
