"""The command line as real processes: Ctrl-C, closed pipes, live views, slow input."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.contract.cli_queue import CliQueue

from laneway.model.settlement import Kind
from servers.redis import RedisServer

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


class Terminal:
    """One ``laneway args`` on a pseudo-terminal, as a person sees it."""

    def __init__(self, queue: CliQueue, *args: str, env: Mapping[str, str] | None = None) -> None:
        self.shown = ""
        self._main, side = pty.openpty()
        said = {
            **os.environ,
            "LANEWAY_REDIS_URL": queue.url,
            "LANEWAY_QUEUE": "orders",
            "TERM": "xterm",
            "COLUMNS": "120",
            **(env or {}),
        }
        command = [sys.executable, "-m", "laneway", *args]
        self.process = subprocess.Popen(command, env=said, stdin=side, stdout=side, stderr=side)
        os.close(side)

    def until(self, text: str) -> None:
        """Reads on until ``text`` is shown after what was read before."""
        fresh = ""
        while text not in fresh:
            fresh += self._read() or pytest.fail(f"ended without {text!r}: {self.shown}{fresh}")
        self.shown += fresh

    def interrupt(self) -> None:
        """Presses Ctrl-C, once the process sleeps: no person is quicker than the moment between a prompt and
        its read, which Python does not guard. (As a signal: the terminal is not its controlling one.)"""
        process = psutil.Process(self.process.pid)
        while process.status() != psutil.STATUS_SLEEPING:
            time.sleep(0.001)
        self.process.send_signal(signal.SIGINT)

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._main, keys.encode())

    def end(self) -> int:
        """Waits for the end; the exit code."""
        while piece := self._read():
            self.shown += piece
        return self.process.wait(timeout=20)

    def close(self) -> None:
        """Ends it, however far it is."""
        self.process.kill()
        self.process.wait()
        os.close(self._main)

    def _read(self) -> str:
        try:
            return os.read(self._main, 65_536).decode("utf-8", "replace")
        except OSError:  # how a terminal says that nobody holds its other side any more
            return ""


@pytest.fixture
def terminal(queue: CliQueue) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def run(*args: str, env: Mapping[str, str] | None = None) -> Terminal:
        opened.append(Terminal(queue, *args, env=env))
        return opened[-1]

    yield run
    for each in opened:
        each.close()


def test_a_live_view_follows_the_queue_until_ctrl_c(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    view = terminal("stats", "--watch", "--every", "0.1")
    view.until("drift 0")
    queue.submit(4321)
    view.until("4,321")
    view.interrupt()
    assert view.end() == 0
    assert "Traceback" not in view.shown


def test_a_person_is_asked_before_dead_letters_go(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    queue.kill(3)
    asked = terminal("dead", "purge", "--all")
    asked.until("purge 3 dead letters of queue default/orders on redis://")
    asked.interrupt()
    assert asked.end() == 130
    assert queue.counts()["dead"] == 3
    asked = terminal("dead", "replay", "--all")
    asked.until("replay 3 dead letters of queue default/orders on redis://")
    asked.type("y\n")
    assert asked.end() == 0
    assert "replayed 3 of 3" in asked.shown
    assert queue.counts() == {"submitted": 3, "queued": 3}


def test_a_large_file_shows_its_progress(queue: CliQueue, terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"payload": {"text": "' + "x" * 100 + '"}}\n' + '{"payload": {}}\n' * 19_999)
    shown = terminal("submit", "charge", "-f", str(file))
    assert shown.end() == 0
    assert "submitting" in shown.shown
    assert "submitted 20,000" in shown.shown
    assert queue.counts()["submitted"] == 20_000


def test_ctrl_c_ends_a_submission_that_waits_for_more_lines(queue: CliQueue, start: Start) -> None:
    process = start("submit", "charge", "-f", "-", "--json")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("{}\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["line"] == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert queue.counts()["queued"] == 1


def test_top_follows_the_queue_and_ends_by_a_key(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    queue.kill(2, "card was refused")
    view = terminal("top", "--every", "0.1")
    view.until("card was refused")
    assert "newest dead letters" in view.shown
    queue.submit(4321, lane="high")
    view.until("4,321")
    view.type("p")
    view.until("paused: p goes on")
    queue.submit(1111)
    view.type("p")
    view.until("5,432")
    view.type("q")
    assert view.end() == 0
    assert "Traceback" not in view.shown
    assert "\x1b[?1049l" in view.shown  # the terminal's own content is back


def test_top_says_so_while_redis_is_away_and_ends_by_ctrl_c(
    new_redis: Callable[..., RedisServer], terminal: Callable[..., Terminal]
) -> None:
    server = new_redis()
    queue = CliQueue(server.url)
    queue.configure()
    view = terminal("top", "--every", "0.1", "--redis", server.url)
    view.until("drift 0")
    server.kill()
    view.until("Redis is away")
    server.start()
    queue.configure()
    queue.submit(4321)
    view.until("4,321")
    view.interrupt()
    assert view.end() == 0
    assert "Traceback" not in view.shown


def test_a_long_search_says_how_far_it_is(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    for _ in range(12):
        queue.submit(5000)
    view = terminal("task", "list", "--type", "none", "--label", "no=where")
    view.until("of 60,000, found 0")
    view.until("no task is like that")
    assert view.end() == 0


def test_a_list_is_watched_until_ctrl_c(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    view = terminal("task", "list", "--state", "queued", "--watch", "--every", "0.1")
    view.until("0 tasks")
    (id,) = queue.submit(1)
    view.until(id)
    view.interrupt()
    assert view.end() == 0
    assert "Traceback" not in view.shown


def test_top_needs_a_terminal_unless_it_is_one_frame_or_json(queue: CliQueue, start: Start) -> None:
    _, err = start("top").communicate(timeout=60)
    assert "standard output is no terminal to draw on: add --once, or --json" in err
    process = start("top", "--json", "--every", "0.1")
    assert process.stdout is not None
    for _ in range(2):
        frame = json.loads(process.stdout.readline())
        assert frame["queue"] == "orders"
    assert frame["rates"]["submitted"] == 0.0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_events_are_followed_as_they_happen_until_ctrl_c(queue: CliQueue, start: Start) -> None:
    poller = start("poller")
    process = start("events", "--follow", "--json", "--kind", "submitted")
    assert process.stdout is not None
    out = process.stdout.fileno()
    ids: set[str] = set()
    while not select.select([out], [], [], 0.2)[0]:  # (what is told begins once it listens)
        ids.update(queue.submit(1))
    event = json.loads(process.stdout.readline())
    assert (event["kind"], event["lane"]) == ("submitted", "default")
    assert set(event["ids"]) <= ids
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    latest = start("events", "--limit", "1000").communicate(timeout=60)[0]
    assert all(" submitted  default" in line for line in latest.splitlines())
    assert ids <= set(latest.split())
    poller.send_signal(signal.SIGTERM)
    poller.communicate(timeout=20)


def test_colours_are_left_out_when_that_is_asked_for(queue: CliQueue, terminal: Callable[..., Terminal]) -> None:
    (dead,) = queue.kill(1)
    assert _colours(terminal("task", "show", dead))
    assert not _colours(terminal("task", "show", dead, env={"NO_COLOR": "1"}))


def _colours(view: Terminal) -> bool:
    assert view.end() == 0
    return "\x1b[31m" in view.shown or "\x1b[1;31m" in view.shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_by_the_script(start: Start, shell: str) -> None:
    script, err = start("completion", shell).communicate(timeout=60)
    assert err == "" and "_LANEWAY_COMPLETE" in script and "laneway" in script


def test_completion_knows_commands_options_and_contexts(tmp_path: Path) -> None:
    contexts = tmp_path / "contexts.yaml"
    contexts.write_text("contexts: {prod: {url: 'http://h'}, play: {url: 'http://i'}}\n")

    def complete(*words: str) -> list[str]:
        env = {
            **os.environ, "_LANEWAY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["laneway", *words]),
            "COMP_CWORD": str(len(words)), "LANEWAY_CONTEXTS": str(contexts),
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "laneway"], env=env, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("ta") == ["task"]
    assert complete("dead", "re") == ["replay"]
    assert "--share" in complete("dead", "replay", "--s")
    assert sorted(complete("stats", "--context", "p")) == ["play", "prod"]
    assert complete("context", "use", "pr") == ["prod"]


def test_as_a_plugin_of_kubectl_it_calls_itself_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from laneway.cli.main import kubectl; kubectl()", "sbumit"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("kubectl laneway: there is no command 'sbumit'; did you mean 'submit'?")


_APP = """
import asyncio
from pathlib import Path

from laneway import App, Context

app = App("told", queue="orders")


@app.task
async def charge(ctx: Context, gate: str) -> str:
    ctx.log.info("looking for the card", rows=10)
    ctx.progress(0.5, "half done")
    while not Path(gate).exists():
        await asyncio.sleep(0.01)
    ctx.log.warning("charged")
    return "done"
"""


def test_a_running_task_tells_of_itself_and_its_worker_is_drained(
    queue: CliQueue, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "told_app.py").write_text(_APP)
    gate = tmp_path / "gate"
    worker = start("worker", "told_app:app", "--name", "web-1", cwd=tmp_path)
    id = queue.json("submit", "charge", "-a", f"gate={json.dumps(str(gate))}")["id"]
    while (found := queue.json("task", "list", "--state", "running")["items"]) == [] or not found[0]["progress"]:
        assert worker.poll() is None
    assert (found[0]["id"], found[0]["worker"]) == (id, "web-1")
    assert "50% half done" in queue.run("task", "list").stdout
    assert "50% half done" in queue.run("task", "show", id).stdout
    (listed,) = queue.json("workers", "list")["items"]
    assert (listed["name"], listed["running"], listed["tasks"]) == ("web-1", 1, [id])
    assert "web-1" in queue.run("top", "--once").stdout

    logs = start("task", "logs", id, "--follow")
    assert logs.stdout is not None
    assert logs.stdout.readline().rstrip().endswith("[1] INFO    looking for the card rows=10")
    drain = start("workers", "drain", "web-1", "--wait")
    while queue.json("workers", "list")["items"][0]["state"] != "draining":
        assert drain.poll() is None
    late = queue.run("workers", "drain", "web-1", "--wait", "--wait-timeout", "0")
    assert (late.exit_code, late.stdout) == (7, "")
    assert "there are still web-1 (1 running)" in late.stderr
    gate.touch()
    assert drain.communicate(timeout=60) == ("1 worker drained and gone\n", "")
    out, err = logs.communicate(timeout=60)
    assert (logs.returncode, err) == (0, "")
    assert out.rstrip().endswith("[1] WARNING charged")
    assert queue.json("task", "show", id)["result"] == "done"
    assert [line["message"] for line in map(json.loads, queue.run("task", "logs", id, "--json").stdout.splitlines())]
    assert worker.wait(timeout=60) == 0
