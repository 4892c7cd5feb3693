"""What the command line says to wrong input: one line and an exit code; standard output has nothing, and
nothing is changed."""

from __future__ import annotations

import pytest
from tests.contract.cli_queue import CliQueue

from servers.redis import RedisServer

ID = "06gmhl2oq4k1u8bn5d3ti98"

#: (arguments, exit code, what the message must say)
CASES: list[tuple[list[str], int, str]] = [
    ([], 2, "Usage: laneway [OPTIONS] COMMAND [ARGS]..."),
    (["stat"], 2, "there is no command 'stat'; did you mean 'stats'?"),
    (["xyz"], 2, "the commands are bench, completion, context, dead, demo,"),
    (["task", "sho", ID], 2, "did you mean 'show'?"),
    (["stats", "--jsn"], 2, "No such option '--jsn'"),
    (["stats", "extra"], 2, "unexpected extra argument"),
    (["stats", "--every", "0", "--watch"], 2, "--every must be 0.1 s or more, not 0 s"),
    # where
    (["stats", "--redis", "localhost:6379"], 2, "perhaps redis://localhost:6379"),
    (["stats", "--redis", "http://localhost"], 2, "must be a URL such as redis://127.0.0.1:6379"),
    (["stats", "--redis", "redis://localhost:99999"], 2, "a port from 1 to 65535"),
    (["stats", "--redis", "redis://localhost/zero"], 2, "the number of a database alone"),
    (["stats", "--redis", "unix://"], 2, "must name the socket's path"),
    (["stats", "-q", "Orders_1"], 2, "'orders-1' would do"),
    (["stats", "--namespace", ""], 2, "has 1 to 63 of the characters a-z, 0-9 and '-'"),
    (["stats", "-q", "other"], 3, "queue default/other is not configured: apply a TaskQueue of that name"),
    (["stats", "--namespace", "other"], 3, "queue other/orders is not configured"),
    (["stats", "--redis", "redis://127.0.0.1:1"], 5, "Name another with --redis URL"),
    # submit
    (["submit"], 2, "say which TYPE of task, or name a file of tasks with --file"),
    (["submit", ""], 2, "TYPE must be a text of 1 to 128 printable characters"),
    (["submit", "a" * 129], 2, "TYPE must be a text of 1 to 128 printable characters"),
    (["submit", "a\nb"], 2, "TYPE must be a text of 1 to 128 printable characters"),
    (["submit", "a", "--arg", "path=a.jpg"], 2, "text needs quotes: --arg 'path=\"a.jpg\"'"),
    (["submit", "a", "--arg", "path"], 2, "must be NAME=VALUE, not 'path'"),
    (["submit", "a", "--arg", "=1"], 2, "must be NAME=VALUE, not '=1'"),
    (["submit", "a", "--arg", "n=1", "--arg", "n=2"], 2, "--arg n is given twice: keep one of them"),
    (["submit", "a", "--arg", "n=NaN"], 2, "--arg n must be JSON, not 'NaN'"),
    (["submit", "a", "--arg", "n=1" + "0" * 30], 2, "at most 64 bits"),
    (["submit", "a", "--payload", "{"], 2, "--payload must be JSON, not '{'"),
    (["submit", "a", "--payload", "[1]"], 2, "--payload must be a JSON object of arguments by name"),
    (["submit", "a", "--payload", "[" * 100_000], 2, "--payload is nested too deeply"),
    (["submit", "a", "--payload", "{}", "--arg", "n=1"], 2, "give --arg or --payload, not both"),
    (["submit", "a", "--lane", "urgent"], 2, "lane 'urgent' does not exist; the lanes of this queue are: "),
    (["submit", "a", "--priority", "10"], 2, "--priority must be a whole number from 0 to 9"),
    (["submit", "a", "--priority", "high"], 2, "'high' is not a valid integer"),
    (["submit", "a", "--delay", "-1"], 2, "must be seconds from 0, or a duration such as '30s'"),
    (["submit", "a", "--delay", "nan"], 2, "must be seconds from 0, or a duration such as '30s'"),
    (["submit", "a", "--delay", "2d"], 2, "write '48h'"),
    (["submit", "a", "--delay", "1e12"], 2, "--delay must be a number of seconds from 0 to 315360000"),
    (["submit", "a", "--delay", "1s", "--at", "2099-01-01T00:00:00Z"], 2, "give --delay or --at, not both"),
    (["submit", "a", "--at", "tomorrow"], 2, "must be an RFC 3339 time such as 2030-01-31T08:00:00Z"),
    (["submit", "a", "--at", "2099-01-01T00:00:00"], 2, "must say its time zone: 2099-01-01T00:00:00Z"),
    (["submit", "a", "--at", "1960-01-01T00:00:00Z"], 2, "--at must be an RFC 3339 time with its zone, after"),
    (["submit", "a", "--key", ""], 2, "--key must be a text of 1 to 200 bytes"),
    (["submit", "a", "--key", "ü" * 101], 2, "--key must be a text of 1 to 200 bytes"),
    (["submit", "a", "--tenant", "acme/eu"], 2, "--tenant must be at most 63 of the characters A-Z, a-z, 0-9,"),
    (["submit", "a", "--max-attempts", "0"], 2, "--max-attempts must be a whole number from 1 to 255"),
    (["submit", "a", "--timeout", "soon"], 2, "must be a duration of whole h, m, s and ms"),
    (["submit", "a", "--label", "team"], 2, "must be NAME=VALUE, not 'team'"),
    (["submit", "a", *(f"--label=l{n}=1" for n in range(17))], 2, "--label must be an object of at most 16"),
    (["submit", "a", "--id", "x"], 2, "--id must be a task id of 23 characters"),
    (["submit", "a", "--wait-timeout", "1s"], 2, "--wait-timeout goes with --wait"),
    (["submit", "a", "-f", "-", "--wait"], 2, "--wait is for one task"),
    (["submit", "a", "-f", "-", "--key", "k"], 2, "give each line its own idempotencyKey"),
    (["submit", "a", "-f", "-", "--id", ID], 2, "give each line its own id"),
    (["submit", "a", "-f", "-", "--arg", "n=1"], 2, "each line has its own payload; leave --arg"),
    (["submit", "-f", "no/such/file"], 2, "No such file or directory"),
    (["submit", "a", "--arg", 'x="' + "a" * 1_100_000 + '"'], 2, "this queue takes 1,048,576 at most"),
    # task
    (["task"], 2, "Usage: laneway task [OPTIONS] COMMAND [ARGS]..."),
    (["task", "show"], 2, "Missing argument 'ID'"),
    (["task", "show", "abc"], 2, "a task id has 23 characters, not 3: 'abc'"),
    (["task", "show", "z" * 23], 2, "a task id has only the characters 0-9 and a-v"),
    (["task", "show", ID[:-1] + "9"], 2, "this text is not how one ends"),
    (["task", "show", ID], 3, f"queue default/orders has no task {ID}"),
    (["task", "cancel"], 2, "say which: IDs, or --all, or some by --state"),
    (["task", "wait", ID, "--timeout", "forever"], 2, "must be a duration of whole h, m, s and ms"),
    # dead
    (["dead", "list", "--limit", "0"], 2, "0 is not in the range x>=1"),
    (["dead", "list", "--lane", "urgent"], 2, "the lanes of this queue are default, high"),
    (["dead", "replay"], 2, "say which: IDs, or --all, or some by --type, --lane, --tenant or --error"),
    (["dead", "replay", "--yes"], 2, "say which: IDs, or --all"),
    (["dead", "replay", "--all", "--type", "a", "-y"], 2, "give IDs, or --all, or filters: one of the three"),
    (["dead", "replay", ID, "--all", "-y"], 2, "give IDs, or --all, or filters: one of the three"),
    (["dead", "replay", ID, "--limit", "1"], 2, "--limit goes with --all or filters, not with IDs"),
    (["dead", "replay", "--all"], 2, "there is no terminal to ask on: add --yes to replay them"),
    (["dead", "replay", "--lane", "x", "-y"], 2, "there is no lane 'x'"),
    (["dead", "purge", ID], 2, "there is no terminal to ask on: add --yes to purge them"),
    # roles
    (["worker", "-q", "orders"], 2, "Missing argument 'PACKAGE.MODULE:APP'"),
    (["worker", "tasks.py"], 2, "a module is named with dots and without .py"),
    (["worker", "tasks.app"], 2, "perhaps tasks:app"),
    (["worker", "list"], 2, "for workers that run: laneway workers list"),
    (["worker", "tasks:app", "--slots", "0"], 2, "0 is not in the range 1<=x<=10000"),
    (["worker", "tasks:app", "--kafka", "kafka"], 2, "must be HOST:PORT, or several with commas between"),
    (["worker", "tasks:app", "--name", ""], 2, "must have 1 to 128 printable characters"),
    (["poller", "--kafka", "kafka:0"], 2, "must be HOST:PORT, or several with commas between"),
    (["gateway", "--port", "70000"], 2, "70000 is not in the range 0<=x<=65535"),
    (["up"], 2, "Missing option '-f' / '--file'"),
    (["up", "-f", "no/such/folder"], 2, "'no/such/folder' does not exist"),
    (["demo", "--kafka", "kafka"], 2, "must be HOST:PORT"),
]  # fmt: skip


@pytest.fixture(scope="module")
def queue(redis7: RedisServer) -> CliQueue:
    redis7.ensure()
    redis7.flush()
    queue = CliQueue(redis7.url)
    queue.configure()
    return queue


def _name(case: tuple[list[str], int, str]) -> str:
    return " ".join(case[0])[:60].encode("ascii", "backslashreplace").decode() or "no command"


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_bad_input_says_what_would_be_right_and_changes_nothing(
    queue: CliQueue, case: tuple[list[str], int, str]
) -> None:
    args, code, message = case
    before = queue.stats().counts
    result = queue.run(*args, input="{}\n")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    if not message.startswith("Usage: "):
        assert len(result.stderr.splitlines()) == 1
        assert len(result.stderr) < 600
        assert "Traceback" not in result.stderr
    assert queue.stats().counts == before


def test_bytes_that_are_no_text_are_refused_line_by_line(queue: CliQueue) -> None:
    before = queue.stats().counts
    result = queue.run("submit", "-f", "-", "--json", input=b'{"type": "\xff"}\n\x00\n[]\n"x"\nnull\n')
    assert result.exit_code == 1
    errors = [line.split('"error":"')[1].split('"')[0] for line in result.stdout.splitlines()]
    assert errors == ["malformed-json", "malformed-json", "invalid-task", "invalid-task", "invalid-task"]
    assert queue.stats().counts == before
