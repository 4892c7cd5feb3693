"""The routes of what handlers and workers tell: a task's log lines, its progress, and the types of tasks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, Q

from laneway import App
from laneway.adapters.redis import RedisStore
from laneway.gateway.notes import logs_answer
from laneway.kit.ids import id_bytes, id_text, new_incarnation, new_task_id
from laneway.model.notes import LogLine, LogPage, Note, Progress
from laneway.ports.store import Claimed


async def running(store: RedisStore, client: httpx.AsyncClient, **fields: Any) -> tuple[str, bytes, Claimed]:
    answer = await client.post(TASKS, json={"type": "t", "payload": {}, **fields})
    id = answer.raise_for_status().json()["id"]
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", 5, 0, 0)
    await store.heartbeat(inc, 2, 5, 0, [])
    (task,) = (await store.turn(inc, 1, 1, [])).tasks
    assert task.id == id_bytes(id)
    return id, inc, task


def lines(*messages: str) -> list[LogLine]:
    return [LogLine(1_700_000_000_123, 1, "info", message) for message in messages]


async def logs(client: httpx.AsyncClient, id: str, **query: Any) -> Any:
    answer = await client.get(f"{TASKS}/{id}/logs", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_lines_of_a_task_are_read_page_by_page(store: RedisStore, client: httpx.AsyncClient) -> None:
    id, inc, task = await running(store, client)
    assert await logs(client, id) == {"lines": [], "next": 0, "truncated": False, "redacted": False}
    await store.notes.note(inc, [Note(task.id, task.fence, 1, lines=lines("one", "two"))])
    page = await logs(client, id)
    first = {"n": 1, "at": "2023-11-14T22:13:20.123000Z", "attempt": 1, "level": "info", "message": "one"}
    assert page["lines"][0] == first
    assert (len(page["lines"]), page["next"]) == (2, 2)
    await store.notes.note(inc, [Note(task.id, task.fence, 2, lines=lines("three"))])
    assert [line["message"] for line in (await logs(client, id, after=page["next"]))["lines"]] == ["three"]
    assert (await logs(client, id, after=3))["next"] == 3


async def test_lines_that_are_not_kept_any_more_are_told_as_missing(
    store: RedisStore, client: httpx.AsyncClient
) -> None:
    id, inc, task = await running(store, client)
    for number in range(1, 5):
        note = Note(task.id, task.fence, number, lines=lines(*(f"{number}.{n}" for n in range(100))))
        await store.notes.note(inc, [note])
    page = await logs(client, id)
    assert (page["truncated"], page["lines"][0]["n"], page["next"]) == (True, 201, 400)
    assert not (await logs(client, id, after=200))["truncated"]


async def test_a_line_is_text_whatever_it_says(store: RedisStore, client: httpx.AsyncClient) -> None:
    id, inc, task = await running(store, client)
    nasty = '<script>alert("x")</script> \x00\x1b[31m é 漢 🎉\nnext'
    await store.notes.note(inc, [Note(task.id, task.fence, 1, lines=lines(nasty))])
    assert (await logs(client, id))["lines"][0]["message"] == nasty


@pytest.mark.parametrize("after", ["-1", "x", "1.5", ""])
async def test_a_wrong_position_is_refused_with_what_would_be_right(
    store: RedisStore, client: httpx.AsyncClient, after: str
) -> None:
    id, _, _ = await running(store, client)
    answer = await client.get(f"{TASKS}/{id}/logs", params={"after": after})
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("invalid-query")
    assert "a line's number" in answer.json()["detail"]


async def test_an_unknown_task_has_no_log(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{TASKS}/{id_text(new_task_id())}/logs")
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (404, "unknown-task")


def test_who_may_not_see_payloads_sees_that_there_are_lines_and_not_what_they_say() -> None:
    answer = logs_answer(LogPage(lines("secret"), 1, False), redacted=True)
    assert answer.redacted
    assert [(line.message, line.level, line.attempt) for line in answer.lines] == [(None, "info", 1)]


async def test_progress_is_shown_with_its_task(store: RedisStore, client: httpx.AsyncClient) -> None:
    id, inc, task = await running(store, client)
    note = Note(task.id, task.fence, 1, Progress(0.25, "page 1 of 4"), b"\x01", lines("started"))
    await store.notes.note(inc, [note])
    shown = (await client.get(f"{TASKS}/{id}")).json()
    assert {name: shown["progress"][name] for name in ("fraction", "message")} == {
        "fraction": 0.25,
        "message": "page 1 of 4",
    }
    assert shown["logs"]["lines"] == 1
    assert (await client.get(shown["logs"]["href"])).json()["lines"][0]["message"] == "started"


async def test_the_types_that_workers_announce_are_listed(store: RedisStore, client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{Q}/types")).json() == {"items": []}
    app = App("shop")

    @app.task(lane="high", priority=7)
    def send(to: str, copies: int = 1) -> None:
        """Sends a mail."""

    await store.notes.announce("1", app.describe_tasks())
    (item,) = (await client.get(f"{Q}/types")).json()["items"]
    assert item["schema"]["properties"]["copies"] == {"type": "integer", "default": 1}
    assert {name: item[name] for name in ("type", "lane", "description", "app", "kind")} == {
        "type": "send", "lane": "high", "description": "Sends a mail.", "app": "shop", "kind": "thread",
    }  # fmt: skip
    assert item["defaults"] == {
        "priority": 7, "maxAttempts": None, "timeout": 0.0, "startTimeout": 0.0, "labels": {},
    }  # fmt: skip
