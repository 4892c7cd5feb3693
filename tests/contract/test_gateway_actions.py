"""Changing tasks over HTTP: retry, revise with If-Match, and bulk actions by id and by filter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.contract.gateways import TASKS, eventually, metric, open_store, problem, run_one, submit

from laneway.adapters.redis import RedisStore
from laneway.gateway import bulk as bulk_module
from laneway.kit.ids import id_bytes, id_text, new_task_id
from laneway.model.config import LaneConfig
from laneway.model.settlement import Kind
from laneway.ports.actions import Revision

BULK = f"{TASKS}/bulk"
LANES = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high"), LaneConfig(n=3, name="old", gone=True))
ERROR = {"kind": "ValueError", "message": "boom", "at": 1}


@pytest.fixture
async def store(redis7_url: str) -> AsyncIterator[RedisStore]:
    store = await open_store(redis7_url, lanes=LANES)
    yield store
    assert (await store.stats()).drift == 0
    await store.close()


async def look(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    answer = await client.get(f"{TASKS}/{id}")
    assert answer.status_code == 200
    return dict(answer.json())


async def bulk(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(BULK, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


# -- retry


async def test_a_task_that_waits_for_its_time_runs_now(client: httpx.AsyncClient) -> None:
    id = await submit(client, delay=900)
    answer = await client.post(f"{TASKS}/{id}/retry")
    assert (answer.status_code, answer.json()) == (200, {"id": id, "state": "queued"})
    assert (await look(client, id))["state"] == "queued"


async def test_a_dead_task_is_queued_again(store: RedisStore, client: httpx.AsyncClient) -> None:
    id = await submit(client)
    await run_one(store, Kind.DEAD, ERROR)
    assert (await client.post(f"{TASKS}/{id}/retry")).status_code == 200
    shown = await look(client, id)
    assert (shown["state"], shown["attempts"], len(shown["errors"])) == ("queued", 0, 1)


async def test_what_can_not_be_retried_is_refused(store: RedisStore, client: httpx.AsyncClient) -> None:
    id = await submit(client)
    answer = await client.post(f"{TASKS}/{id}/retry")
    assert problem(answer) == (409, "not-retryable")
    assert "is queued already" in answer.json()["detail"]
    await run_one(store)
    answer = await client.post(f"{TASKS}/{id}/retry")
    assert problem(answer) == (409, "not-retryable")
    assert "is succeeded" in answer.json()["detail"]
    assert problem(await client.post(f"{TASKS}/{id_text(new_task_id())}/retry")) == (404, "unknown-task")
    assert problem(await client.post(f"{TASKS}/x/retry")) == (404, "unknown-task")


# -- revise


async def test_a_waiting_task_gets_another_lane_and_priority(client: httpx.AsyncClient) -> None:
    id = await submit(client)
    answer = await client.patch(f"{TASKS}/{id}", json={"lane": "high", "priority": 9})
    assert answer.status_code == 200, answer.text
    item = answer.json()
    assert (item["id"], item["state"], item["lane"], item["priority"]) == (id, "queued", "high", 9)
    shown = await look(client, id)
    assert (shown["lane"], shown["priority"]) == ("high", 9)
    assert (await client.patch(f"{TASKS}/{id}", json={"priority": 9})).json() == item


async def test_a_task_is_put_off_and_brought_forward(client: httpx.AsyncClient) -> None:
    id = await submit(client)
    at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    item = (await client.patch(f"{TASKS}/{id}", json={"runAt": at.isoformat()})).json()
    assert (item["state"], item["runAt"]) == ("scheduled", at.isoformat().replace("+00:00", "Z"))
    assert (await look(client, id))["runAt"] == item["runAt"]
    item = (await client.patch(f"{TASKS}/{id}", json={"delay": 7200})).json()
    assert item["state"] == "scheduled"
    assert datetime.fromisoformat(item["runAt"]) > at + timedelta(minutes=50)
    item = (await client.patch(f"{TASKS}/{id}", json={"delay": 0})).json()
    assert (item["state"], item["runAt"]) == ("queued", None)


@pytest.mark.parametrize("stored_ms", [1e300, 9e17, -9e17])
async def test_a_time_that_cannot_be_shown_is_shown_as_near_as_can_be(
    store: RedisStore, client: httpx.AsyncClient, stored_ms: float
) -> None:
    """None such is taken any more; a queue may have one from before."""
    id = await submit(client, delay=3600)
    assert await store.actions.revise([id_bytes(id)], Revision(due_ms=stored_ms)) == ["revised"]
    shown = await look(client, id)
    if shown["state"] == "scheduled":
        assert shown["runAt"].startswith("9999-12-31T23:59:59")
    answer = await client.get(TASKS, params={"state": shown["state"]})
    assert answer.status_code == 200, answer.text
    assert [item["id"] for item in answer.json()["items"]] == [id]


async def test_if_match_guards_a_change(client: httpx.AsyncClient) -> None:
    for fields in ({}, {"delay": 900}):
        id = await submit(client, **fields)
        tag = (await client.get(f"{TASKS}/{id}")).headers["etag"]
        answer = await client.patch(f"{TASKS}/{id}", json={"priority": 8}, headers={"If-Match": tag})
        assert answer.status_code == 200
        newer = answer.headers["etag"]
        answer = await client.patch(f"{TASKS}/{id}", json={"priority": 1}, headers={"If-Match": tag})
        assert problem(answer) == (412, "precondition-failed")
        assert (await look(client, id))["priority"] == 8
        answer = await client.patch(f"{TASKS}/{id}", json={"delay": 60}, headers={"If-Match": newer})
        assert answer.status_code == 200
        answer = await client.patch(f"{TASKS}/{id}", json={"delay": 30}, headers={"If-Match": newer})
        assert problem(answer) == (412, "precondition-failed")
        answer = await client.patch(f"{TASKS}/{id}", json={"priority": 2}, headers={"If-Match": "*"})
        assert answer.json()["priority"] == 2


async def test_what_does_not_wait_is_not_revised(store: RedisStore, client: httpx.AsyncClient) -> None:
    id = await submit(client)
    await run_one(store)
    answer = await client.patch(f"{TASKS}/{id}", json={"priority": 1})
    assert problem(answer) == (409, "not-waiting")
    assert "is succeeded" in answer.json()["detail"]
    answer = await client.patch(f"{TASKS}/{id_text(new_task_id())}", json={"priority": 1})
    assert problem(answer) == (404, "unknown-task")


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ({}, "invalid-request", "priority, lane, and delay or runAt"),
        ({"priority": 10}, "invalid-request", "0 to 9"),
        ({"prio": 1}, "invalid-request", "did you mean priority"),
        ({"delay": -1}, "invalid-request", "seconds from 0"),
        ({"runAt": "soon"}, "invalid-request", "RFC 3339"),
        ({"runAt": "2099-01-31T10:00:00Z"}, "invalid-request", "at most ten years from now"),
        ({"runAt": "9999-12-31T23:59:59-23:59"}, "invalid-request", "at most ten years from now"),
        ({"delay": 1, "runAt": "2199-01-31T10:00:00Z"}, "invalid-request", "not both"),
        ({"lane": "nope"}, "unknown-lane", "are: default, high"),
        ({"lane": "old"}, "unknown-lane", "are: default, high"),
        ([], "invalid-request", "JSON object"),
    ],
)
async def test_a_wrong_revision_changes_nothing(client: httpx.AsyncClient, body: Any, name: str, words: str) -> None:
    id = await submit(client)
    before = await look(client, id)
    answer = await client.patch(f"{TASKS}/{id}", json=body)
    assert problem(answer) == (422, name)
    assert words in answer.json()["detail"]
    after = await look(client, id)
    assert {**after, "waits": None} == {**before, "waits": None}


# -- bulk


async def test_a_filter_says_which_tasks_are_cancelled(client: httpx.AsyncClient) -> None:
    mails = [await submit(client, type="mail") for _ in range(3)]
    pay = await submit(client, type="pay")
    assert await bulk(client, action="cancel", filter={"type": "mail"}, dryRun=True) == {
        "matched": 3, "changed": 0, "skipped": 0, "next": None, "scanned": 4, "errors": [],
    }  # fmt: skip
    found = await bulk(client, action="cancel", filter={"type": ["mail"]})
    assert (found["matched"], found["changed"], found["next"]) == (3, 3, None)
    assert {(await look(client, id))["state"] for id in mails} == {"cancelled"}
    assert (await look(client, pay))["state"] == "queued"
    assert (await bulk(client, action="cancel", filter={"type": "mail"}))["matched"] == 0
    assert await metric(client, "laneway_tasks_cancelled_total", type="mail") == 3


async def test_revised_tasks_count_once_though_they_stand_further_on_then(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await submit(client, lane="default")
    scheduled = await submit(client, lane="default", delay=900)
    found = await bulk(client, action="revise", all=True, lane="high", priority=2)
    assert (found["matched"], found["changed"]) == (6, 6)
    assert (await look(client, scheduled))["lane"] == "high"
    for state, n in (("queued", 5), ("scheduled", 1)):
        listed = (await client.get(TASKS, params={"lane": "high", "state": state})).json()["items"]
        assert len(listed) == n and {item["priority"] for item in listed} == {2}


async def test_dead_tasks_are_retried_oldest_first_and_purged(store: RedisStore, client: httpx.AsyncClient) -> None:
    ids = []
    for n in range(3):
        ids.append(await submit(client, type=f"t{n}"))
        await run_one(store, Kind.DEAD, ERROR)
    assert (await bulk(client, action="purge", filter={"type": "t1"}))["changed"] == 1
    assert (await client.get(f"{TASKS}/{ids[1]}")).status_code == 404
    found = await bulk(client, action="retry", filter={"state": "dead", "error": "BOOM"})
    assert (found["matched"], found["changed"]) == (2, 2)
    listed = (await client.get(TASKS, params={"state": "queued", "sort": "next"})).json()["items"]
    assert [item["id"] for item in listed] == [ids[0], ids[2]]


async def test_named_tasks_are_changed_and_the_others_are_told_of(store: RedisStore, client: httpx.AsyncClient) -> None:
    ended, waits, unknown = await submit(client), await submit(client), id_text(new_task_id())
    await run_one(store)
    found = await bulk(client, action="cancel", ids=[ended, waits, unknown, waits])
    assert found == {
        "matched": 3, "changed": 1, "skipped": 2, "next": None, "scanned": 3,
        "errors": [{"id": ended, "reason": "it is succeeded"}, {"id": unknown, "reason": "it is not there"}],
    }  # fmt: skip


async def test_a_limit_stops_and_the_cursor_goes_on(client: httpx.AsyncClient) -> None:
    ids = [await submit(client, delay=100 + n) for n in range(5)]
    body: dict[str, Any] = {"action": "cancel", "filter": {"state": "scheduled"}, "limit": 2}
    first = await bulk(client, **body)
    assert (first["matched"], first["changed"]) == (2, 2) and first["next"]
    second = await bulk(client, **body, cursor=first["next"])
    third = await bulk(client, **body, cursor=second["next"])
    assert (second["changed"], third["changed"], third["next"]) == (2, 1, None)
    assert {(await look(client, id))["state"] for id in ids} == {"cancelled"}
    answer = await client.post(BULK, json={**body, "action": "retry", "cursor": first["next"]})
    assert problem(answer) == (422, "invalid-cursor")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"action": "cancel"}, "which tasks are meant"),
        ({"action": "cancel", "filter": {}}, "which tasks are meant"),
        ({"action": "cancel", "filter": {"label": {}}}, "at least one label"),
        ({"action": "cancel", "filter": {"label": []}}, "at least one label"),
        ({"action": "cancel", "filter": {"state": None, "label": None}}, "which tasks are meant"),
        ({"action": "cancel", "filter": {"type": "t"}, "all": True}, "which tasks are meant"),
        ({"action": "cancel", "filter": {"type": "t"}, "ids": ["0" * 23]}, "which tasks are meant"),
        ({"action": "burn", "all": True}, "one of cancel, retry, revise and purge"),
        ({"all": True}, "action is missing"),
        ({"action": "revise", "all": True}, "a priority, a lane, or both"),
        ({"action": "cancel", "all": True, "lane": "high"}, "only revise"),
        ({"action": "cancel", "ids": ["0" * 23], "limit": 3}, "go with a filter"),
        ({"action": "cancel", "ids": []}, "1 to 1,000"),
        ({"action": "cancel", "filter": {"stat": "dead"}}, "stat"),
        ({"action": "cancel", "filter": {"state": "ded"}}, "running, dispatched"),
        ({"action": "cancel", "filter": {"state": "dead"}}, "cancel is for tasks that are running"),
        ({"action": "purge", "filter": {"state": "queued"}}, "purge is for tasks that are dead"),
        ({"action": "cancel", "filter": {"lane": "nope"}}, "there is no lane 'nope'"),
        ({"action": "cancel", "filter": {"createdFrom": "x"}}, "RFC 3339"),
        ({"action": "cancel", "filter": 3}, "filter"),
    ],
)
async def test_a_bulk_action_that_is_not_clear_changes_nothing(
    client: httpx.AsyncClient, body: dict[str, Any], words: str
) -> None:
    id = await submit(client)
    answer = await client.post(BULK, json=body)
    assert problem(answer) == (422, "invalid-request")
    assert words in answer.json()["detail"]
    assert (await look(client, id))["state"] == "queued"


async def next_moment(store: RedisStore) -> None:
    """Until the clock of Redis has moved on: a search counts in its milliseconds."""
    now = (await store.stats()).now_ms

    async def later() -> bool:
        return (await store.stats()).now_ms > now + 1

    await eventually(later)


@pytest.mark.parametrize("how", [Kind.DEAD, Kind.RETRY])
async def test_one_search_retries_no_task_twice_though_all_fail_at_once(
    client: httpx.AsyncClient, store: RedisStore, monkeypatch: pytest.MonkeyPatch, how: Kind
) -> None:
    monkeypatch.setattr(bulk_module, "_WORK_S", 0.0)
    monkeypatch.setattr(bulk_module, "_AT_ONCE", 2)
    ids = [await submit(client, **({"delay": 1 + n} if how is Kind.RETRY else {})) for n in range(7)]
    if how is Kind.DEAD:
        for _ in ids:
            await run_one(store, Kind.DEAD, ERROR)
    await next_moment(store)
    wanted = "scheduled" if how is Kind.RETRY else "dead"
    body: dict[str, Any] = {"action": "retry", "filter": {"state": wanted, "type": "t"}}
    ran: list[str] = []
    cursor: str | None = None
    for _ in range(60):
        found = await bulk(client, **body, **({"cursor": cursor} if cursor else {}))
        await next_moment(store)
        ran += [id_text(await run_one(store, how, ERROR, delay_ms=60_000.0)) for _ in range(found["changed"])]
        cursor = found["next"]
        if cursor is None:
            break
    assert cursor is None
    assert sorted(ran) == sorted(ids)
    assert {(await look(client, id))["state"] for id in ids} == {wanted}
    assert (await bulk(client, **body, dryRun=True))["matched"] == 2  # (a new search means them again)


async def test_more_than_a_thousand_tasks_are_changed_by_following_the_cursor(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        tasks = [{"type": "many"}] * 500
        assert (await client.post(f"{TASKS}/batch", json=tasks)).json()["accepted"] == 500
    body: dict[str, Any] = {"action": "cancel", "filter": {"type": "many"}}
    changed, cursor = 0, None
    for _ in range(50):
        found = await bulk(client, **body, **({"cursor": cursor} if cursor else {}))
        changed, cursor = changed + found["changed"], found["next"]
        if cursor is None:
            break
    assert (changed, cursor) == (1500, None)
