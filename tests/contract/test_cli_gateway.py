"""The command line against a gateway process: the same commands, another way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest
import yaml
from tests.contract.cli_queue import CliQueue
from tests.contract.gateway_process import GatewayProcess

from laneway.kit.ids import id_text, new_task_id
from laneway.kit.ports import free_port
from laneway.model.settlement import Kind
from servers.redis import RedisServer

UNKNOWN = id_text(new_task_id())


@pytest.fixture
def queue(redis7_url: str, gateway: GatewayProcess) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


def test_a_task_is_submitted_shown_and_cancelled_through_the_gateway(queue: CliQueue, gateway: GatewayProcess) -> None:
    id = gateway.json("submit", "charge", "-a", "amount=12.5", "--lane", "high", "--label", "team=a")["id"]
    task = gateway.json("task", "show", id)
    assert (task["type"], task["payload"], task["state"]) == ("charge", {"amount": 12.5}, "queued")
    shown = gateway.run("task", "show", id)
    assert (shown.exit_code, shown.stderr) == (0, "")
    for text in (id, "queued", '"amount": 12.5', "team=a", "history", "submitted"):
        assert text in shown.stdout, text
    assert gateway.json("task", "cancel", id)["tasks"] == [{"id": id, "outcome": "cancelled"}]
    assert queue.counts() == {"submitted": 1, "cancelled": 1}


def test_a_repeated_key_is_the_same_task_and_another_payload_a_conflict(
    queue: CliQueue, gateway: GatewayProcess
) -> None:
    first = gateway.json("submit", "charge", "--key", "k")
    assert gateway.json("submit", "charge", "--key", "k") == {**first, "duplicate": True}
    result = gateway.run("submit", "charge", "--arg", "n=2", "--key", "k")
    assert (result.exit_code, result.stdout) == (1, "")
    assert first["id"] in result.stderr


def test_what_the_gateway_refuses_has_the_exit_code_of_its_kind(queue: CliQueue, gateway: GatewayProcess) -> None:
    for args, code, text in (
        (("task", "show", UNKNOWN), 3, f"has no task {UNKNOWN}"),
        (("dead", "show", UNKNOWN), 3, f"has no task {UNKNOWN}"),
        (("submit", "charge", "--lane", "nope"), 2, "lane 'nope' does not exist"),
        (("task", "list", "--lane", "nope"), 2, "there is no lane 'nope'"),
        (("stats", "-q", "other"), 3, "there is no queue 'other'; there are: orders"),
        (("workers", "drain", "web-1"), 3, "has no worker 'web-1'"),
        (("task", "list", "--sort", "due", "--state", "dead"), 2, "sort"),
    ):
        result = gateway.run(*args)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert text in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert queue.counts() == {}


def test_waiting_is_over_when_the_task_has_ended(queue: CliQueue, gateway: GatewayProcess) -> None:
    queue.submit(1)
    (done,) = queue.work(1, Kind.COMPLETE, b"\x2a")
    (waits,) = queue.submit(1)
    assert gateway.json("task", "wait", done)["result"] == 42
    result = gateway.run("task", "wait", waits, "--timeout", "50ms")
    assert (result.exit_code, result.stdout) == (7, "")
    assert "the task is queued after 0.05 s, and goes on" in result.stderr


def test_lists_are_filtered_and_followed_over_many_pages(queue: CliQueue, gateway: GatewayProcess) -> None:
    few = queue.submit(3, type="refund", lane="high", labels={"shop": "7"}, tenant="acme")
    queue.submit(450)
    assert len(gateway.json("task", "list", "--all")["items"]) == 453
    for filters in (["--type", "refund"], ["--lane", "high"], ["--tenant", "acme"], ["--label", "shop=7"]):
        found = gateway.json("task", "list", "--state", "queued", *filters)
        assert sorted(item["id"] for item in found["items"]) == sorted(few), filters
        assert found["next"] is None
    limited = gateway.json("task", "list", "--limit", "210", "--type", "charge,refund")
    assert (len(limited["items"]), limited["next"] is None) == (210, False)
    ids = gateway.run("task", "list", "--type", "refund", "--ids")
    assert sorted(ids.stdout.split()) == sorted(few)
    assert gateway.json("task", "list", "--created-to", "1h")["items"] == []
    assert len(gateway.json("task", "list", "--created-from", "1h", "--type", "refund")["items"]) == 3
    table = gateway.run("task", "list", "--type", "refund")
    assert all(text in table.stdout for text in (*few, "queued", "refund", "high"))
    assert gateway.run("task", "list", "--type", "nope").stdout == "no task is like that\n"


def test_output_is_the_same_in_json_and_yaml(queue: CliQueue, gateway: GatewayProcess) -> None:
    (id,) = queue.submit(1)
    for command in (("task", "list"), ("workers", "list")):  # (the others have ages in them)
        as_json = json.loads(gateway.run(*command, "-o", "json").stdout)
        assert as_json == gateway.json(*command), command
        assert as_json == yaml.safe_load(gateway.run(*command, "--output", "yaml").stdout), command
    for command in (("task", "show", id), ("lane", "list"), ("queue", "list"), ("queue", "show"), ("stats",)):
        assert yaml.safe_load(gateway.run(*command, "-o", "yaml").stdout).keys() == gateway.json(*command).keys()
    result = gateway.run("task", "list", "--json", "-o", "yaml")
    assert (result.exit_code, result.stdout) == (2, "")


def test_dead_letters_are_grouped_shown_replayed_and_forgotten(queue: CliQueue, gateway: GatewayProcess) -> None:
    queue.kill(30, "card 17 was refused", type="charge")
    queue.kill(5, "no route to host", type="mail")
    groups = gateway.json("dead", "groups")["groups"]
    assert [(group["type"], group["count"]) for group in groups] == [("charge", 30), ("mail", 5)]
    charge = groups[0]
    found = gateway.json("dead", "list", "--fingerprint", charge["fingerprint"])
    assert (found["next"], len(found["items"])) == (None, 30)
    shown = gateway.run("dead", "show", charge["sample"])
    assert charge["fingerprint"] in shown.stdout and "card 17 was refused" in shown.stdout
    chosen = ["--fingerprint", charge["fingerprint"]]
    assert gateway.json("dead", "replay", *chosen, "--dry-run") == {"matched": 30, "dryRun": True}
    part = gateway.json("dead", "replay", *chosen, "--share", "0.3", "--yes")["replayed"]
    assert 1 <= part < 30
    assert gateway.json("dead", "replay", *chosen, "--share", "0.3", "--yes")["replayed"] == 0
    assert gateway.json("dead", "replay", *chosen, "--yes")["replayed"] == 30 - part
    assert gateway.json("dead", "purge", "--type", "mail", "--yes") == {"chosen": 5, "purged": 5, "refused": []}
    assert queue.counts() == {"submitted": 35, "queued": 30, "purged": 5}


def test_lists_as_json_are_what_the_api_answers(queue: CliQueue, gateway: GatewayProcess) -> None:
    queue.kill(3)
    with httpx.Client(base_url=f"{gateway.url}/api/v1/queues/orders") as http:
        for path, command in (("dead", "dead list"), ("tasks", "task list"), ("types", "types")):
            assert gateway.json(*command.split()).keys() == http.get(path).json().keys(), path
        assert gateway.json("dead", "list")["items"] == http.get("dead").json()["items"]
        assert gateway.json("dead", "groups").keys() == http.get("dead/groups").json().keys()


def test_a_share_is_told_with_the_whole_of_which_it_is(queue: CliQueue, gateway: GatewayProcess) -> None:
    queue.kill(40)
    n = gateway.json("dead", "replay", "--all", "--share", "0.5", "--dry-run")["matched"]
    assert 0 < n < 40
    would = gateway.run("dead", "replay", "--all", "--share", "0.5", "--dry-run")
    assert would.stdout == f"would replay {n} of 40 (a share of 0.5)\n"
    done = gateway.run("dead", "replay", "--type", "charge", "--share", "0.5", "--yes")
    assert done.stdout == f"replayed {n} of 40 (a share of 0.5)\n"
    answer = gateway.json("dead", "purge", "--all", "--share", "1", "--yes")
    assert answer == {"chosen": 40 - n, "purged": 40 - n, "refused": []}


def test_who_may_not_list_queues_is_told_to_name_one(
    redis7_url: str, guarded: tuple[GatewayProcess, dict[str, str]]
) -> None:
    gateway, keys = guarded
    CliQueue(redis7_url).configure()
    one = gateway.run("submit", "charge", queue=None, LANEWAY_TOKEN=keys["submitter"])
    assert (one.exit_code, one.stdout) == (2, "")
    assert "the role of this credential may not list the queues" in one.stderr and "--queue NAME" in one.stderr


def test_a_replay_that_is_watched_tells_how_the_tasks_ended(queue: CliQueue, gateway: GatewayProcess) -> None:
    good, bad = queue.kill(2)
    result = gateway.run("dead", "replay", good, bad, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "would replay 2\n")
    env = {**os.environ, "LANEWAY_URL": gateway.url, "LANEWAY_QUEUE": "orders"}
    command = [sys.executable, "-m", "laneway", "dead", "replay", good, bad, "--watch"]
    with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while queue.counts().get("queued", 0) < 2 and process.poll() is None:
            pass
        queue.work(1, Kind.COMPLETE)
        queue.work(1, Kind.DEAD)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert out == "replayed 2 of 2\nof those that were queued again: succeeded 1, dead 1\n"


def test_tasks_are_changed_by_id_and_by_filter(queue: CliQueue, gateway: GatewayProcess) -> None:
    (dead,) = queue.kill(1)
    first, *_ = queue.submit(20, type="mail")
    answer = gateway.json("task", "retry", dead, first, code=1)
    assert [task["outcome"] for task in answer["tasks"]] == ["queued", "refused"]
    assert gateway.json("task", "revise", first, "--set-priority", "9")["tasks"][0]["outcome"] == "revised"
    assert gateway.json("task", "show", first)["priority"] == 9
    would = gateway.json("task", "cancel", "--type", "mail", "--dry-run")
    assert (would["matched"], would["dryRun"]) == (20, True)
    moved = gateway.json("task", "revise", "--type", "mail", "--set-lane", "high", "--yes")
    assert moved["changed"] == 20
    assert {item["lane"] for item in gateway.json("task", "list", "--type", "mail")["items"]} == {"high"}
    assert gateway.json("task", "cancel", "--type", "mail", "--yes")["changed"] == 20
    assert queue.counts() == {"submitted": 21, "queued": 1, "cancelled": 20}
    result = gateway.run("task", "cancel", "--type", "mail")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no terminal to ask on: add --yes" in result.stderr


def test_queues_lanes_workers_and_the_whole_are_shown(queue: CliQueue, gateway: GatewayProcess) -> None:
    queue.submit(1234, lane="high")
    queues = gateway.run("queue", "list")
    assert "orders" in queues.stdout and "1,234" in queues.stdout
    assert gateway.json("queue", "show")["configuration"]["defaultLane"] == "default"
    assert "idempotencySeconds" in gateway.run("queue", "show").stdout
    assert "1,234" in gateway.run("lane", "list").stdout
    assert gateway.json("lane", "eta", "high")["lane"] == "high"
    assert gateway.run("lane", "eta", "high").stdout.startswith(("a task in high would", "when a task in high would"))
    assert gateway.run("workers", "list").stdout == "no workers are registered\n"
    frame = gateway.json("top", "--once")
    assert (frame["queue"], frame["stats"]["tasks"]["queued"]) == ("orders", 1234)
    assert [lane["name"] for lane in frame["lanes"]] == ["default", "high"]
    drawn = gateway.run("top", "--once").stdout
    assert all(text in drawn for text in ("laneway top: orders at http://", "1,234", "drift 0", "no workers"))


def test_the_latest_events_are_a_line_each(queue: CliQueue, gateway: GatewayProcess) -> None:
    result = gateway.run("events", "--json")
    assert result.exit_code == 0
    for line in result.stdout.splitlines():
        assert json.loads(line)["kind"]
    result = gateway.run("events", "--kind", "ded")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "ded" in result.stderr and "submitted, succeeded" in result.stderr


def test_the_only_queue_of_a_gateway_need_not_be_named(queue: CliQueue, gateway: GatewayProcess) -> None:
    assert gateway.json("stats", queue=None)["queue"] == "orders"


def test_nobody_there_is_5_and_names_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = GatewayProcess(url, None).run("stats")  # type: ignore[arg-type]
    assert (result.exit_code, result.stdout) == (5, "")
    assert f"{url} can't be reached" in result.stderr


def test_something_else_than_a_gateway_is_told_as_such(redis7: RedisServer) -> None:
    redis7.ensure()
    result = GatewayProcess(f"http://127.0.0.1:{redis7.port}", None).run("stats")  # type: ignore[arg-type]
    assert (result.exit_code, result.stdout) == (5, "")
    assert len(result.stderr.splitlines()) == 1


def test_without_a_credential_or_with_too_small_a_one_it_is_8(
    redis7_url: str, guarded: tuple[GatewayProcess, dict[str, str]]
) -> None:
    gateway, keys = guarded
    queue = CliQueue(redis7_url)
    queue.configure()
    result = gateway.run("stats")
    assert (result.exit_code, result.stdout) == (8, "")
    result = gateway.run("stats", "--token", "lw_nope_nope")
    assert (result.exit_code, result.stdout) == (8, "")
    assert "lw_nope_nope" not in result.stderr
    result = gateway.run("submit", "charge", LANEWAY_TOKEN=keys["viewer"])
    assert (result.exit_code, result.stdout) == (8, "")
    assert queue.counts() == {}
    id = gateway.json("submit", "charge", "-a", "pin=1234", LANEWAY_TOKEN=keys["submitter"])["id"]
    hidden = gateway.run("task", "show", id, "--token", keys["viewer"])
    assert hidden.exit_code == 0
    assert "1234" not in hidden.stdout.replace(id, "") and "lacks the permission payloads" in hidden.stdout
    assert gateway.json("task", "show", id, LANEWAY_TOKEN=keys["operator"])["payload"] == {"pin": 1234}
    frame = gateway.json("top", "--once", LANEWAY_TOKEN=keys["viewer"])
    assert frame["stats"]["tasks"]["queued"] == 1
    result = gateway.run("dead", "purge", "--all", "-y", LANEWAY_TOKEN=keys["operator"])
    assert (result.exit_code, result.stdout) == (8, "")
