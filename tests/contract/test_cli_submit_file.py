"""Submitting files: again, interrupted, refused for now, and past what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.contract.cli_queue import CliQueue
from tests.contract.gateway_process import gateway_process

from laneway.kit.ids import id_text, new_task_id
from laneway.model.settlement import Kind


@pytest.fixture
def queue(redis7_url: str) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


def write(file: Path, *lines: Any) -> str:
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(file)


def test_the_same_file_again_submits_only_what_is_missing(
    queue: CliQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tasks.jsonl"
    lines = [{"payload": {"n": n}} for n in range(1500)]
    write(file, *lines[:1200])
    assert queue.run("submit", "charge", "-f", str(file)).stdout == "submitted 1,200\n"
    write(file, *lines)
    monkeypatch.chdir(tmp_path)
    assert queue.run("submit", "charge", "-f", "tasks.jsonl").stdout == "submitted 300, there already 1,200\n"
    # What a worker has done is not done again either.
    queue.work(700, Kind.COMPLETE)
    assert queue.run("submit", "charge", "-f", str(file)).stdout == "submitted 0, there already 1,500\n"
    assert queue.counts() == {"submitted": 1500, "queued": 800, "succeeded": 700}


def test_another_file_line_type_or_run_is_another_task(queue: CliQueue, tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, {}, {}) for name in ("one.jsonl", "two.jsonl"))
    for args, submitted in (
        (["charge", "-f", one], 2),
        (["charge", "-f", two], 2),
        (["refund", "-f", one], 2),
        (["charge", "-f", one, "--run", "tuesday"], 2),
        (["charge", "-f", two, "--run", "tuesday"], 0),
        (["charge", "-f", one, "--no-resume"], 2),
        (["charge", "-f", one], 0),
    ):
        assert queue.run("submit", *args).stdout.split(",")[0].strip() == f"submitted {submitted}", args
    write(tmp_path / "one.jsonl", {"priority": 9}, {})
    assert queue.run("submit", "charge", "-f", one).stdout == "submitted 1, there already 1\n"


def test_lines_that_are_there_keep_their_lane_which_is_said_where_another_is_named(
    queue: CliQueue, tmp_path: Path
) -> None:
    file = write(tmp_path / "tasks.jsonl", {}, {})
    first = queue.run("submit", "charge", "-f", file, "--lane", "default")
    assert (first.stdout, first.stderr) == ("submitted 2\n", "")
    again = queue.run("submit", "charge", "-f", file, "--lane", "high")
    assert again.stdout == "submitted 0, there already 2\n"
    assert again.stderr == "laneway submit: lines that were there already keep the lane that they have\n"
    assert {item["lane"] for item in queue.json("task", "list")["items"]} == {"default"}
    assert queue.run("submit", "charge", "-f", file).stderr == ""


def test_standard_input_can_be_resumed_by_the_name_of_a_run(queue: CliQueue) -> None:
    for expected in ("submitted 2\n", "submitted 0, there already 2\n"):
        assert queue.run("submit", "a", "-f", "-", "--run", "r1", input="{}\n{}\n").stdout == expected
    assert queue.run("submit", "a", "-f", "-", input="{}\n{}\n").stdout == "submitted 2\n"


def test_a_line_s_own_key_or_id_counts(queue: CliQueue, tmp_path: Path) -> None:
    own = id_text(new_task_id())
    file = write(tmp_path / "a.jsonl", {"idempotencyKey": "k"}, {"id": own}, {"idempotencyKey": "k"})
    assert queue.run("submit", "a", "-f", file).stdout == "submitted 2, there already 1\n"
    assert queue.json("task", "show", own)["idempotencyKey"] is None
    assert queue.run("submit", "a", "-f", file, "--no-resume").stdout == "submitted 0, there already 3\n"


def test_a_wrong_line_is_named_with_what_would_be_right_and_fail_fast_stops_there(
    queue: CliQueue, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.jsonl", {}, {"prioritie": 3}, "{", {"lane": "hihg"}, {"delay": -1}, {})
    result = queue.run("submit", "a", "-f", file)
    assert (result.exit_code, result.stdout) == (
        1, "submitted 2, refused 4 (invalid-task 2, malformed-json 1, unknown-lane 1)\n",
    )  # fmt: skip
    for text in ("line 2: there is no field prioritie: did you mean priority?", "line 3: the line must be JSON",
                 "line 4: lane 'hihg' does not exist", "line 5: delay must be a number of seconds from 0"):  # fmt: skip
        assert text in result.stderr
    before = queue.counts()
    bad = write(tmp_path / "b.jsonl", {"lane": "hihg"}, *[{}] * 1500)
    result = queue.run("submit", "a", "-f", bad, "--fail-fast")
    assert result.exit_code == 1
    assert "stopped; lines after 1,000 were not read" in result.stderr
    assert result.stdout == "submitted 999, refused 1 (unknown-lane 1)\n"
    assert queue.counts()["submitted"] == before["submitted"] + 999
    # Corrected, it goes on where it stopped.
    fixed = write(tmp_path / "b.jsonl", {"lane": "high"}, *[{}] * 1500)
    assert queue.run("submit", "a", "-f", fixed).stdout == "submitted 502, there already 999\n"


def test_keep_going_waits_for_a_rate_and_for_room(queue: CliQueue, tmp_path: Path) -> None:
    queue.configure(rate=200.0, burst=50.0)
    file = write(tmp_path / "a.jsonl", *[{}] * 120)
    refused = queue.run("submit", "a", "-f", file)
    assert refused.exit_code == 4 and "rate-limited" in refused.stdout
    result = queue.run("submit", "a", "-f", file, "--keep-going")
    assert result.exit_code == 0 and "refused" not in result.stdout
    assert queue.counts() == {"submitted": 120, "queued": 120}
    queue.configure(max_depth=150)
    more = write(tmp_path / "b.jsonl", *[{}] * 100)
    process = start(queue, "submit", "a", "-f", more, "--keep-going")
    while queue.counts()["queued"] < 150 and process.poll() is None:
        pass
    assert process.poll() is None
    queue.work(100, Kind.COMPLETE)
    assert process.communicate(timeout=60) == ("submitted 100\n", "")


def start(queue: CliQueue, *args: str, **options: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "LANEWAY_REDIS_URL": queue.url, "LANEWAY_QUEUE": "orders"}
    command = [sys.executable, "-m", "laneway", *args]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_submission_that_was_stopped_goes_on_and_nothing_is_twice(
    queue: CliQueue, tmp_path: Path, number: signal.Signals
) -> None:
    file = write(tmp_path / "a.jsonl", *({"payload": {"n": n}} for n in range(25_000)))
    process = start(queue, "submit", "charge", "-f", file)
    while queue.counts().get("submitted", 0) < 2000 and process.poll() is None:
        pass
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert process.returncode == 130, err
        assert "the same command goes on from there" in err and "Traceback" not in err
    taken = queue.counts()["submitted"]
    assert 2000 <= taken < 25_000
    again = queue.run("submit", "charge", "-f", file)
    assert again.stdout == f"submitted {25_000 - taken:,}, there already {taken:,}\n"
    assert queue.counts() == {"submitted": 25_000, "queued": 25_000}


def test_output_that_nobody_reads_ends_a_submission_with_an_error_that_says_how_far_it_came(
    queue: CliQueue, tmp_path: Path
) -> None:
    file = write(tmp_path / "tasks.jsonl", *({"payload": {"n": n}} for n in range(3500)))
    args = ("submit", "charge", "-f", file, "-o", "json")
    with start(queue, *args) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["line"] == 1
        process.stdout.close()
        message = process.stderr.read()
        assert process.wait(timeout=60) == 1
    there = queue.counts()["submitted"]
    assert 1 <= there < 3500
    assert f"submitted up to line {there:,}; run it again to go on" in message
    assert len(message.splitlines()) == 1
    again = queue.run("submit", "charge", "-f", file)
    assert (again.exit_code, queue.counts()["submitted"]) == (0, 3500)
    # Where all lines are in, it was done.
    with start(queue, "submit", "charge", "-f", "-", "-o", "json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write("{}\n" * 10)
        process.stdin.close()
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 0)
    assert queue.counts()["submitted"] == 3510


def test_a_large_file_takes_no_more_memory_than_a_small_one(queue: CliQueue, tmp_path: Path) -> None:
    """Measured between two moments of the same submission through a pipe, whose reader is never ahead."""
    queue.configure(max_depth=2_000_000)
    process = start(queue, "submit", "charge", "-f", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    line = json.dumps({"payload": {"text": "x" * 2000}}) + "\n"

    def feed(n: int) -> int:
        assert process.stdin is not None
        for _ in range(n):
            process.stdin.write(line)
        process.stdin.flush()
        return int(psutil.Process(process.pid).memory_info().rss)

    before = feed(4_000)
    after = feed(10_000)
    assert process.communicate(timeout=60) == ("submitted 14,000\n", "")
    assert after - before < 15_000_000  # (the 10,000 lines have 20 MB, and several times as much as objects)
    assert queue.counts()["submitted"] == 14_000


def test_a_file_goes_through_a_gateway_too(queue: CliQueue, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", *({"payload": {"n": n}} for n in range(3500)))
    with gateway_process(queue.url, "orders") as gateway:
        assert gateway.run("submit", "charge", "-f", file).stdout == "submitted 3,500\n"
        assert gateway.run("submit", "charge", "-f", file).stdout == "submitted 0, there already 3,500\n"
    # Without a gateway the same file is the same tasks.
    assert queue.run("submit", "charge", "-f", file).stdout == "submitted 0, there already 3,500\n"


def test_options_of_files_go_with_a_file_alone(queue: CliQueue) -> None:
    for args in (["--run", "x"], ["--no-resume"], ["--keep-going"], ["--fail-fast"]):
        result = queue.run("submit", "charge", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{args[0]} goes with --file" in result.stderr
    result = queue.run("submit", "charge", "-f", "-", "--run", "x", "--no-resume", input="{}\n")
    assert (result.exit_code, queue.counts()) == (2, {})
