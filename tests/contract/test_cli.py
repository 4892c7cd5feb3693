"""The client commands against a real Redis: what they do, what they write, and their exit codes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.contract.cli_queue import CliQueue

from laneway.adapters.redis import RedisStore
from laneway.cli.main import main
from laneway.errors import OutcomeUnknown, Unavailable
from laneway.kit.ids import id_text, new_task_id
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind
from laneway.ports.store import Submitted
from servers.proxy import RedisProxy
from servers.redis import RedisServer

UNKNOWN = id_text(new_task_id())


@pytest.fixture
def queue(redis7_url: str) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


# -- submit


def test_submit_writes_the_id_of_a_task_that_has_all_that_was_asked_for(queue: CliQueue) -> None:
    result = queue.run(
        "submit", "charge", "-a", "amount=12.5", "--arg", 'to="Ann"', "--lane", "high", "--priority", "9",
        "--delay", "1h", "--key", "k", "--tenant", "acme", "--max-attempts", "7", "--timeout", "90s",
        "--label", "team=a=b",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    task = queue.json("task", "show", result.stdout.strip())
    for name, value in {
        "type": "charge", "payload": {"amount": 12.5, "to": "Ann"}, "lane": "high", "priority": 9,
        "state": "scheduled", "idempotencyKey": "k", "tenant": "acme", "maxAttempts": 7, "timeout": 90.0,
        "labels": {"team": "a=b"}, "queue": "orders", "attempts": 0, "errors": [], "result": None,
    }.items():  # fmt: skip
        assert task[name] == value, name
    due = datetime.fromisoformat(task["runAt"]) - datetime.fromisoformat(task["submittedAt"])
    assert due.total_seconds() == 3600


def test_submit_json_is_one_document_and_a_repeated_key_the_same_task(queue: CliQueue) -> None:
    first = queue.json("submit", "charge", "--payload", '{"n": 1}', "--key", "k")
    again = queue.json("submit", "charge", "--payload", '{"n": 1}', "--key", "k")
    assert first == {"id": first["id"], "queue": "orders", "duplicate": False}
    assert again == {**first, "duplicate": True}
    assert queue.counts() == {"submitted": 1, "queued": 1}


def test_a_key_that_belongs_to_another_payload_fails_and_names_that_task(queue: CliQueue) -> None:
    first = queue.json("submit", "charge", "--key", "k")["id"]
    result = queue.run("submit", "charge", "--arg", "n=2", "--key", "k")
    assert (result.exit_code, result.stdout) == (1, "")
    assert first in result.stderr


def test_submitting_again_with_the_id_adds_nothing(queue: CliQueue) -> None:
    first = queue.json("submit", "charge")["id"]
    assert queue.json("submit", "charge", "--id", first) == {
        "id": first,
        "queue": "orders",
        "duplicate": True,
    }
    assert queue.counts()["submitted"] == 1


def test_submit_at_is_due_then(queue: CliQueue) -> None:
    id = queue.json("submit", "charge", "--at", "2034-01-31T09:00:00+01:00")["id"]
    assert queue.json("task", "show", id)["runAt"] == "2034-01-31T08:00:00Z"


def test_submit_wait_times_out_with_7_and_the_task_goes_on(queue: CliQueue) -> None:
    result = queue.run("submit", "charge", "--wait", "--wait-timeout", "0.05")
    assert result.exit_code == 7
    assert "queued after 0.05 s, and goes on" in result.stderr
    assert queue.counts() == {"submitted": 1, "queued": 1}


def test_over_a_rate_or_the_depth_is_refused_now(queue: CliQueue) -> None:
    queue.configure(rate=0.001, burst=1.0)
    assert queue.run("submit", "charge").exit_code == 0
    result = queue.run("submit", "charge")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "submission rate; try again in" in result.stderr
    queue.configure(max_depth=1)
    result = queue.run("submit", "charge")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "as many tasks as it may" in result.stderr
    assert queue.counts()["submitted"] == 1


# -- submit --file


def test_a_file_is_submitted_in_order_with_the_options_as_defaults(queue: CliQueue, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    lines = [{"payload": {"n": n}} for n in range(2500)]
    lines[1] |= {"type": "refund", "lane": "default", "labels": {"b": "2"}}
    file.write_text("\n".join(json.dumps(line) for line in lines))
    result = queue.run("submit", "charge", "--lane", "high", "--label", "a=1", "-f", str(file), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["line"] for answer in answers] == list(range(1, 2501))
    assert sorted(answer["id"] for answer in answers) == [answer["id"] for answer in answers]
    first, second = (queue.json("task", "show", answer["id"]) for answer in answers[:2])
    assert (first["type"], first["lane"], first["labels"], first["payload"]) == (
        "charge",
        "high",
        {"a": "1"},
        {"n": 0},
    )
    assert (second["type"], second["lane"], second["labels"]) == ("refund", "default", {"a": "1", "b": "2"})
    assert queue.counts() == {"submitted": 2500, "queued": 2500}


def test_lines_that_are_refused_are_named_and_the_others_go_in(queue: CliQueue) -> None:
    text = '{"type": "a"}\n\nnope\n{"typ": "b"}\r\n{"type": "c", "lane": "zz"}\n{"type": "d"}'
    result = queue.run("submit", "-f", "-", input=text)
    assert result.exit_code == 1
    assert result.stdout == "submitted 2, refused 3 (malformed-json 1, invalid-task 1, unknown-lane 1)\n"
    assert "line 3: the line must be JSON" in result.stderr
    assert "line 4: there is no field typ: did you mean type?" in result.stderr
    assert "line 5: lane 'zz' does not exist; the lanes of this queue are: default, high" in result.stderr
    assert queue.counts() == {"submitted": 2, "queued": 2}


def test_refused_lines_are_json_too(queue: CliQueue) -> None:
    result = queue.run("submit", "-f", "-", "--json", input='{"type": "a", "priority": 10}\n{"type": "b"}\n')
    bad, good = sorted((json.loads(line) for line in result.stdout.splitlines()), key=lambda line: line["line"])
    assert (result.exit_code, bad["line"], bad["error"]) == (1, 1, "invalid-task")
    assert bad["message"] == "priority must be a whole number from 0 to 9 (9 first, 4 by default), not 10"
    assert (good["line"], good["duplicate"]) == (2, False)


def test_a_line_s_own_due_time_replaces_that_of_the_options(queue: CliQueue) -> None:
    result = queue.run("submit", "a", "--delay", "1h", "-f", "-", "--json", input='{"runAt": "2034-01-01T00:00:00Z"}')
    assert queue.json("task", "show", json.loads(result.stdout)["id"])["runAt"] == "2034-01-01T00:00:00Z"


def test_a_full_queue_refuses_the_rest_of_a_file_with_4(queue: CliQueue) -> None:
    queue.configure(max_depth=3)
    result = queue.run("submit", "a", "-f", "-", input="{}\n" * 5)
    assert (result.exit_code, result.stdout) == (4, "submitted 3, refused 2 (queue-full 2)\n")


def test_an_empty_file_submits_nothing(queue: CliQueue) -> None:
    result = queue.run("submit", "a", "-f", "-", input="")
    assert (result.exit_code, result.stdout) == (0, "submitted 0\n")


def test_text_beyond_ascii_reaches_the_task_whole(queue: CliQueue) -> None:
    id = queue.json("submit", "Grüße-任务", "--arg", 'name="Ünïcode 🚀"', "--key", "schlüssel")["id"]
    task = queue.json("task", "show", id)
    assert (task["type"], task["payload"]["name"]) == ("Grüße-任务", "Ünïcode 🚀")
    assert "Ünïcode 🚀" in queue.run("task", "show", id).stdout


# -- task


def test_task_show_draws_payload_result_and_each_attempt_s_traceback(queue: CliQueue) -> None:
    (dead,) = queue.kill(1, payload=b"\x81\xa1n\x07", max_attempts=4)
    out = queue.run("task", "show", dead)
    assert (out.exit_code, out.stderr) == (0, "")
    for text in (dead, "dead", "charge", '"n": 7', "attempt 1: ValueError", 'File "x.py", line 1', "1 of 4"):
        assert text in out.stdout, text
    queue.submit(1)
    (done,) = queue.work(1, Kind.COMPLETE, b"\x81\xa2ok\xc3")
    assert '"ok": true' in queue.run("task", "show", done).stdout
    assert queue.json("task", "show", done)["result"] == {"ok": True}


def test_how_many_attempts_there_may_be_is_the_worker_s_matter_only_until_the_end(queue: CliQueue) -> None:
    (waits,) = queue.submit(1)
    assert "(the worker decides how many there may be)" in queue.run("task", "show", waits).stdout
    queue.work(1, Kind.COMPLETE)
    assert "the worker decides" not in queue.run("task", "show", waits).stdout


def test_lanes_are_named_in_the_order_in_which_they_are_served(queue: CliQueue) -> None:
    queue.configure(lanes=(LaneConfig(n=1, name="urgent"), LaneConfig(n=2, name="default")))
    for args in (("submit", "a", "--lane", "zz"), ("task", "list", "--lane", "zz"), ("dead", "list", "--lane", "zz")):
        assert re.search(r"lanes of this queue are:? urgent, default", queue.run(*args).stderr), args


def test_what_tasks_say_cannot_steer_the_terminal(queue: CliQueue) -> None:
    (dead,) = queue.kill(1, "\x1b[2J[red]gone[/red]\x07", type="t", description="\x1b]0;title\x07")
    for command in (("task", "show", dead), ("dead", "list"), ("dead", "show", dead)):
        out = queue.run(*command).stdout
        assert "\x1b" not in out and "\x07" not in out
        assert "[red]gone[/red]" in out


def test_a_task_that_is_not_there_is_3(queue: CliQueue) -> None:
    for command in (("task", "show"), ("task", "wait"), ("dead", "show"), ("task", "cancel")):
        result = queue.run(*command, UNKNOWN)
        assert result.exit_code == 3, command
    assert f"queue default/orders has no task {UNKNOWN}" in queue.run("task", "show", UNKNOWN, "--json").stderr


def test_cancel_tells_the_outcome_of_each_task(queue: CliQueue) -> None:
    (dead,) = queue.kill(1)
    waits, other = queue.submit(2)
    assert queue.json("task", "cancel", waits) == {"tasks": [{"id": waits, "outcome": "cancelled"}]}
    assert queue.json("task", "cancel", waits)["tasks"][0]["outcome"] == "cancelled"
    answer = queue.json("task", "cancel", other, dead, code=1)
    assert [task["outcome"] for task in answer["tasks"]] == ["cancelled", "ended"]
    answer = queue.json("task", "cancel", dead, UNKNOWN, code=3)
    assert [task["outcome"] for task in answer["tasks"]] == ["ended", "unknown"]


def test_wait_says_by_its_exit_code_how_the_task_ended(queue: CliQueue) -> None:
    (dead,) = queue.kill(1)
    queue.submit(1)
    (done,) = queue.work(1, Kind.COMPLETE, b"\x01")
    (waits,) = queue.submit(1)
    assert queue.json("task", "wait", done)["result"] == 1
    assert queue.json("task", "wait", dead, "--timeout", "5", code=1)["state"] == "dead"
    result = queue.run("task", "wait", waits, "--timeout", "50ms", "--json")
    assert (result.exit_code, result.stdout) == (7, "")


# -- stats


def test_stats_json_has_lanes_states_workers_and_drift(queue: CliQueue) -> None:
    queue.kill(2)
    queue.submit(3, lane="high")
    answer = queue.json("stats")
    assert (answer["queue"], answer["drift"], answer["workers"]) == ("orders", 0, [])
    assert answer["tasks"]["submitted"] == 5
    assert [(lane["name"], lane["queued"]) for lane in answer["lanes"]] == [("default", 0), ("high", 3)]
    assert answer["lanes"][0]["oldestSeconds"] is None
    assert answer["lanes"][1]["oldestSeconds"] >= 0


def test_stats_draws_tables(queue: CliQueue) -> None:
    queue.submit(1234)
    out = queue.run("stats").stdout
    for text in ("default/orders", "lane", "1,234", "submitted", "no workers are registered", "drift 0"):
        assert text in out, text


# -- dead letters


def test_dead_list_is_newest_first_and_filtered(queue: CliQueue) -> None:
    old = queue.kill(2, "no route to host", type="charge")
    new = queue.kill(1, "Bad Card", type="refund", lane="high", tenant="acme")
    answer = queue.json("dead", "list")
    assert (answer["next"], answer["total"]) == (None, 3)
    assert answer["items"][0]["id"] == new[0]
    assert {task["id"] for task in answer["items"]} == {*old, *new}

    def ids(*args: str) -> set[str]:
        return {task["id"] for task in queue.json("dead", "list", *args)["items"]}

    assert ids("--type", "refund") == set(new)
    assert ids("--lane", "default") == set(old)
    assert ids("--tenant", "acme") == set(new)
    assert ids("--tenant", "") == set(old)
    assert ids("--error", "bad card") == set(new)
    assert ids("--error", "ValueError: no route") == set(old)
    assert ids("--error", "bad card", "--type", "charge") == set()
    assert len(ids("--limit", "2")) == 2


def test_dead_list_draws_a_table_or_says_there_is_nothing(queue: CliQueue) -> None:
    assert queue.run("dead", "list").stdout == "no dead letters\n"
    (id,) = queue.kill(1)
    out = queue.run("dead", "list").stdout
    assert id in out and "ValueError: it broke" in out
    assert queue.run("dead", "list", "--type", "x").stdout == "none of 1 dead letters is like that\n"


def test_dead_show_is_for_dead_letters_alone(queue: CliQueue) -> None:
    (dead,) = queue.kill(1)
    (waits,) = queue.submit(1)
    shown = queue.json("dead", "show", dead)
    assert [(error["kind"], error["attempt"], error["worker"]) for error in shown["errors"]] == [
        ("ValueError", 1, "w1")
    ]
    result = queue.run("dead", "show", waits)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "is no dead letter, it is queued" in result.stderr


def test_replay_by_id_queues_again_and_tells_what_it_could_not(queue: CliQueue) -> None:
    first, second = queue.kill(2)
    assert queue.json("dead", "replay", first) == {"chosen": 1, "replayed": 1, "refused": []}
    assert queue.json("task", "show", first)["state"] == "queued"
    (waits,) = queue.submit(1)
    assert queue.json("dead", "replay", second, waits, code=1) == {
        "chosen": 2, "replayed": 1, "refused": [{"id": waits, "why": "queued"}],
    }  # fmt: skip
    queue.json("task", "cancel", waits)
    assert queue.json("dead", "replay", waits)["replayed"] == 1
    assert queue.json("dead", "replay", UNKNOWN, code=3)["refused"] == [{"id": UNKNOWN, "why": "unknown"}]


def test_replay_by_filter_takes_those_alone_and_all_takes_the_rest(queue: CliQueue) -> None:
    queue.kill(120, "no route to host")
    queue.kill(7, "bad card")
    assert queue.json("dead", "replay", "--error", "BAD", "--yes") == {
        "chosen": 7,
        "replayed": 7,
        "refused": [],
    }
    assert queue.json("dead", "replay", "--error", "route", "--limit", "5", "-y")["replayed"] == 5
    assert queue.json("dead", "replay", "--all", "-y")["replayed"] == 115
    assert queue.counts() == {"submitted": 127, "queued": 127}


def test_all_are_replayed_in_the_order_in_which_they_died(queue: CliQueue) -> None:
    died = [queue.kill(1)[0] for _ in range(3)]
    queue.json("dead", "replay", "--all", "-y")
    assert queue.work(3, Kind.COMPLETE) == died


def test_purge_forgets_dead_letters_and_nothing_else(queue: CliQueue) -> None:
    dead = queue.kill(3)
    queue.submit(1)
    (done,) = queue.work(1, Kind.COMPLETE)
    assert queue.json("dead", "purge", dead[0], done, "-y", code=1) == {
        "chosen": 2, "purged": 1, "refused": [{"id": done, "why": "succeeded"}],
    }  # fmt: skip
    assert queue.json("dead", "purge", "--type", "other", "-y") == {"chosen": 0, "purged": 0, "refused": []}
    assert queue.json("dead", "purge", "--all", "-y")["purged"] == 2
    assert queue.counts() == {"submitted": 4, "succeeded": 1, "purged": 3}
    assert queue.stats().drift == 0


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_many_are_changed_only_after_a_yes(queue: CliQueue, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.kill(2)
    monkeypatch.setattr("laneway.cli.dead_change.on_terminal", lambda: True)
    result = queue.run("dead", verb, "--all", input="n\n")
    assert result.exit_code == 1
    assert f"{verb} 2 dead letters of queue default/orders on {queue.url}?" in result.stderr
    assert "nothing was changed" in result.stderr
    assert queue.counts() == {"submitted": 2, "dead": 2}
    result = queue.run("dead", verb, "--all", input="y\n")
    assert result.exit_code == 0
    assert "dead" not in queue.counts()


# -- where the queue is


def test_a_queue_that_is_not_configured_is_3(redis7_url: str) -> None:
    queue = CliQueue(redis7_url)
    for command in (("stats",), ("submit", "a"), ("dead", "list"), ("task", "show", UNKNOWN)):
        result = queue.run(*command)
        assert (result.exit_code, result.stdout) == (3, ""), command
        assert "is not configured: apply a TaskQueue of that name" in result.stderr


def test_a_redis_that_is_away_is_5_for_each_command(
    new_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_redis()
    queue = CliQueue(server.url.replace("redis://", "redis://user:secret@"))
    server.close()
    for command in (
        ("stats",),
        ("submit", "a"),
        ("submit", "a", "-f", "-"),
        ("dead", "list"),
        ("task", "wait", UNKNOWN),
    ):
        result = queue.run(*command, input="{}\n")
        assert (result.exit_code, result.stdout) == (5, ""), command
        assert "Name another with --redis URL" in result.stderr
        assert "secret" not in result.stderr


def test_a_running_up_in_the_folder_is_the_default_and_says_so(
    queue: CliQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANEWAY_REDIS_URL", raising=False)
    up = {"redis": queue.url, "gateway": "", "namespace": "default", "queues": ["orders"], "pid": os.getpid()}
    (tmp_path / ".laneway").mkdir()
    (tmp_path / ".laneway" / "up.json").write_text(json.dumps(up))
    result = CliRunner().invoke(main, ["stats", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["queue"] == "orders"
    assert result.stderr.count("laneway: using queue default/orders of the laneway up in this folder") == 1


def test_client_commands_work_on_a_cluster(cluster_url: str) -> None:
    queue = CliQueue(cluster_url, cluster=True)
    queue.configure()
    id = queue.json("submit", "charge", "--cluster")["id"]
    assert queue.json("task", "show", id, "--cluster")["state"] == "queued"
    assert queue.run("task", "wait", id, "--cluster", "--timeout", "0.1").exit_code == 7
    assert queue.json("stats", "--cluster")["tasks"]["queued"] == 1


# -- lost answers


def test_a_lost_answer_is_asked_for_again_and_adds_nothing(queue: CliQueue, redis_proxy: RedisProxy) -> None:
    queue.configure()
    fault = redis_proxy.drop_reply(match=lambda command: command[0].upper() == b"EVALSHA" and b"orders}" in command[3])
    through = CliQueue(redis_proxy.url)
    answer = through.json("submit", "charge")
    assert fault.fired
    assert queue.json("task", "show", answer["id"])["state"] == "queued"
    assert queue.counts() == {"submitted": 1, "queued": 1}


def test_an_unknown_outcome_is_6_and_says_how_to_repeat_it(queue: CliQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    real = RedisStore.submit

    async def lost(store: RedisStore, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        await real(store, batch)
        raise OutcomeUnknown("no answer from Redis to submit")

    with monkeypatch.context() as patch:
        patch.setattr(RedisStore, "submit", lost)
        one = queue.run("submit", "charge")
        many = queue.run("submit", "charge", "-f", "-", "--json", input="{}\n{}\n")
    assert (one.exit_code, one.stdout) == (6, "")
    again = one.stderr.rpartition("repeat it with ")[2].split()
    assert queue.json("submit", "charge", *again)["duplicate"] is True
    assert many.exit_code == 6
    answers = [json.loads(line) for line in many.stdout.splitlines()]
    assert [(answer["line"], answer["error"]) for answer in answers] == [(1, "outcome-unknown"), (2, "outcome-unknown")]
    lines = "".join(json.dumps({"id": answer["id"]}) + "\n" for answer in answers)
    assert queue.run("submit", "charge", "-f", "-", input=lines).stdout == "submitted 0, there already 2\n"
    assert queue.counts() == {"submitted": 3, "queued": 3}


def test_a_file_stops_when_redis_goes_away_and_says_where(queue: CliQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    real = RedisStore.submit
    calls = 0

    async def away(store: RedisStore, batch: Sequence[tuple[bytes, bytes]]) -> list[Submitted]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Unavailable("Redis is away; nothing was changed")
        return await real(store, batch)

    monkeypatch.setattr(RedisStore, "submit", away)
    result = queue.run("submit", "charge", "-f", "-", input="{}\n" * 1200)
    assert (result.exit_code, result.stdout) == (5, "submitted 500, refused 700 (unavailable 700)\n")
    assert "line 501: Redis is away; nothing was changed" in result.stderr
    assert queue.counts() == {"submitted": 500, "queued": 500}
