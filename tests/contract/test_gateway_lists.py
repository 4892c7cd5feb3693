"""Lists of tasks over HTTP: filters, orders, cursors and what is refused; the states of tasks by id."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, Q, run_one, submit

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_text, new_task_id
from laneway.model.settlement import Kind

STATES = f"{TASKS}/states"


async def listed(client: httpx.AsyncClient, limit: int = 50, **query: Any) -> list[dict[str, Any]]:
    """The items of all pages."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(100):
        answer = await client.get(TASKS, params={"limit": limit, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}
    raise AssertionError("a list without an end")


async def test_an_item_has_what_a_list_shows(store: RedisStore, client: httpx.AsyncClient) -> None:
    id = await submit(client, type="mail.send", lane="high", priority=7, tenant="a", labels={"shop": "north"})
    (item,) = await listed(client)
    assert set(item) == {
        "id", "state", "type", "lane", "priority", "tenant", "labels", "attempts", "maxAttempts", "submittedAt",
        "stateSince", "endedAt", "runAt", "worker", "progress", "error",
    }  # fmt: skip
    assert {k: item[k] for k in ("id", "state", "type", "lane", "priority", "tenant", "labels", "attempts")} == {
        "id": id, "state": "queued", "type": "mail.send", "lane": "high", "priority": 7, "tenant": "a",
        "labels": {"shop": "north"}, "attempts": 0,
    }  # fmt: skip
    assert item["submittedAt"] == item["stateSince"] and item["submittedAt"].endswith("Z")
    await run_one(store, Kind.DEAD, {"kind": "ValueError", "message": "boom", "at": 1})
    (item,) = await listed(client)
    assert (item["state"], item["attempts"]) == ("dead", 1)
    assert item["error"] == {"kind": "ValueError", "message": "boom"}
    assert item["endedAt"] == item["stateSince"]


async def test_pages_follow_each_other_until_next_is_null(client: httpx.AsyncClient) -> None:
    ids = [await submit(client, delay=100 + n) for n in range(7)]
    for limit in (1, 3, 7, 50):
        assert [item["id"] for item in await listed(client, limit)] == ids
    # (One state: then the first look of all, which every page takes, is at these.)
    page = (await client.get(TASKS, params={"limit": 2, "state": "scheduled"})).json()
    assert (page["total"], page["scanned"], len(page["items"])) == (7, 2, 2)
    assert (await client.get(TASKS, params={"type": "u", "state": "scheduled"})).json() == {
        "items": [], "next": None, "scanned": 7, "total": None,
    }  # fmt: skip
    assert (await client.get(TASKS)).headers["cache-control"] == "no-store"


async def test_filters_of_a_query_choose_tasks(client: httpx.AsyncClient) -> None:
    mail = await submit(client, type="mail", tenant="a", labels={"shop": "north", "size": "xl"})
    pay = await submit(client, type="pay", lane="high", labels={"shop": "north"})
    last = await submit(client, type="pay", delay=900)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"type": "mail"}, [mail]),
        ({"type": "mail,pay", "state": "queued"}, [mail, pay]),
        ({"lane": "high"}, [pay]),
        ({"tenant": "a"}, [mail]),
        ({"tenant": ""}, [pay, last]),
        ({"label": ["shop:north", "size:xl"]}, [mail]),
        ({"label": "shop:north"}, [mail, pay]),
        ({"state": "scheduled"}, [last]),
        ({"state": "dead"}, []),
        ({"q": mail}, [mail]),
        ({"q": pay[:22]}, [pay]),
        ({"createdFrom": "2020-01-01T00:00:00Z"}, [mail, pay, last]),
        ({"createdTo": "2020-01-01T00:00:00+02:00"}, []),
        ({"endedFrom": "2020-01-01T00:00:00Z"}, []),
        ({"error": "boom"}, []),
        ({"sort": "due", "state": "scheduled"}, [last]),
        ({"sort": "next", "state": "queued,scheduled"}, [mail, pay, last]),
    ]
    for query, wanted in cases:
        assert [item["id"] for item in await listed(client, 1, **query)] == wanted, query


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"stat": "dead"}, "stat", "did you mean state"),
        ({"state": "ded"}, "state", "running, dispatched, queued"),
        ({"lane": "nope"}, "lane", "the lanes of this queue are default, high"),
        ({"limit": 0}, "limit", "1 to 200"),
        ({"limit": 201}, "limit", "1 to 200"),
        ({"limit": "many"}, "limit", "1 to 200"),
        ({"label": "shop"}, "label", "name:value"),
        ({"createdFrom": "yesterday"}, "createdFrom", "RFC 3339"),
        ({"q": "!"}, "q", "0-9 and a-v"),
        ({"state": ["dead", "queued"]}, "state", "once"),
        ({"sort": "sideways"}, "sort", "next (waiting tasks"),
        ({"sort": "-ended"}, "sort", "ended states"),
        ({"sort": "created", "state": "queued"}, "sort", "there is next"),
    ],
)
async def test_a_wrong_query_is_told_what_would_be_right(
    client: httpx.AsyncClient, query: dict[str, Any], field: str, words: str
) -> None:
    answer = await client.get(TASKS, params=query)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:laneway:problem:invalid-query"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["detail"]


async def test_a_cursor_of_another_list_is_refused(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await submit(client)
    cursor = (await client.get(TASKS, params={"limit": 1})).json()["next"]
    assert cursor is not None
    for query in ({"type": "t"}, {"state": "queued", "sort": "next"}):
        answer = await client.get(TASKS, params={**query, "cursor": cursor})
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:laneway:problem:invalid-cursor")
        assert "another filter or sort" in answer.json()["detail"]
    answer = await client.get(TASKS, params={"cursor": "nonsense"})
    assert answer.json()["type"] == "urn:laneway:problem:invalid-cursor"


async def test_the_states_of_tasks_by_id(store: RedisStore, client: httpx.AsyncClient) -> None:
    queued, scheduled = await submit(client), await submit(client, delay=100)
    unknown = id_text(new_task_id())
    answer = await client.post(STATES, json={"ids": [queued, scheduled, unknown, queued]})
    assert answer.json() == {"states": {queued: "queued", scheduled: "scheduled", unknown: None}}
    await run_one(store)
    answer = await client.post(STATES, json={"ids": [queued]})
    assert answer.json() == {"states": {queued: "succeeded"}}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "ids", "ids is missing"),
        ({"ids": []}, "ids", "1 to 1,000"),
        ({"ids": ["x"]}, "ids", "task ids"),
        ({"ids": ["0" * 22 + "1"]}, "ids[0]", "ends with"),
        ({"ids": ["0" * 23] * 1001}, "ids", "1 to 1,000"),
        ({"id": ["0" * 23]}, "id", "did you mean ids"),
    ],
)
async def test_wrong_ids_are_refused(client: httpx.AsyncClient, body: Any, field: str, words: str) -> None:
    answer = await client.post(STATES, json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:laneway:problem:invalid-request")
    assert answer.json()["errors"][0]["field"] == field
    assert words in answer.json()["detail"]


async def test_lists_are_in_the_description(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    operation = paths["/api/v1/queues/{queue}/tasks"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {
        "state", "lane", "type", "tenant", "label", "createdFrom", "createdTo", "endedFrom", "endedTo", "error",
        "q", "sort", "limit", "cursor",
    }  # fmt: skip
    assert (await client.get(f"{Q}/tasks/states")).status_code == 404  # (an id, and none is like that)
