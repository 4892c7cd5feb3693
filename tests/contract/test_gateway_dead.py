"""The gateway over a real Redis: dead letters listed, grouped by error, shown, replayed and purged."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.contract.gateways import TASKS, Q, eventually, problem

from laneway.adapters.redis import RedisStore
from laneway.gateway import dead, dead_changes
from laneway.kit.ids import id_bytes, id_text, new_incarnation, new_task_id
from laneway.model.notes import Note
from laneway.model.record import AttemptError
from laneway.model.settlement import Kind, Settlement
from laneway.policy.canary import in_share
from laneway.policy.fingerprint import fingerprint

DEAD = f"{Q}/dead"


async def letters(
    client: httpx.AsyncClient,
    store: RedisStore,
    n: int,
    *,
    message: str = "order {n} refused",
    kind: str = "ConnectionError",
    how: Kind = Kind.DEAD,
    **fields: Any,
) -> list[str]:
    """So many tasks that died, oldest death first."""
    answer = await client.post(f"{TASKS}/batch", json=[{"type": "charge", **fields} for _ in range(n)])
    ids = [item["id"] for item in answer.json()["results"]]
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", n, 0, 0)
    await store.heartbeat(inc, 2, n, 0, [])
    turn = await store.turn(inc, 1, n, [])
    assert [id_text(task.id) for task in turn.tasks] == ids
    for i, task in enumerate(turn.tasks):
        error = {"kind": kind, "message": message.format(n=i), "at": i + 1, "attempt": 1, "worker": "w1"}
        settlement = Settlement(how, task.id, task.fence, data=msgspec.msgpack.encode(error))
        assert await store.settle(inc, [settlement]) == {}
    await store.deregister(inc)
    return ids


async def next_moment(store: RedisStore) -> None:
    """Until the clock of Redis has moved on: deaths are ordered by the millisecond."""
    now = (await store.stats()).now_ms

    async def later() -> bool:
        return (await store.stats()).now_ms > now + 1

    await eventually(later)


async def all_pages(client: httpx.AsyncClient, url: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await client.get(url, params={**params, **cursor})).json()
        found += body["items"]
        if body["next"] is None:
            return found
        cursor = {"cursor": body["next"]}


# -- looking


async def test_dead_letters_are_listed_newest_first_with_their_fingerprint(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    ids = await letters(client, store, 5)
    await client.post(TASKS, json={"type": "charge"})
    body = (await client.get(DEAD)).json()
    assert sorted(item["id"] for item in body["items"]) == sorted(ids)
    times = [item["endedAt"] for item in body["items"]]
    assert times == sorted(times, reverse=True)
    assert {item["state"] for item in body["items"]} == {"dead"}
    expected = fingerprint("charge", AttemptError("ConnectionError", "order 0 refused")).id
    assert {item["fingerprint"] for item in body["items"]} == {expected}
    assert body["items"][0]["error"]["kind"] == "ConnectionError"
    assert (body["next"], body["total"]) == (None, 5)


async def test_pages_hold_every_letter_once(client: httpx.AsyncClient, store: RedisStore) -> None:
    ids = await letters(client, store, 7)
    found = await all_pages(client, DEAD, limit=2)
    assert sorted(item["id"] for item in found) == sorted(ids)


async def test_the_list_takes_the_filters_of_tasks_and_a_fingerprint(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    a = await letters(client, store, 2, tenant="acme", labels={"team": "x"})
    b = await letters(client, store, 3, lane="high", message="quota of 'x' exceeded", kind="QuotaError")
    mark = fingerprint("charge", AttemptError("QuotaError", "quota of 'y' exceeded")).id

    async def found(**params: str) -> set[str]:
        return {item["id"] for item in await all_pages(client, DEAD, **params)}

    assert await found(fingerprint=mark) == set(b)
    assert await found(tenant="acme") == await found(label="team:x") == set(a)
    assert await found(lane="high") == await found(error="QUOTA OF") == set(b)
    assert await found(type="other") == await found(fingerprint="0" * 16) == set()
    assert await found(state="dead") == set(a) | set(b)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("fingerprint=xyz", "invalid-query"),
        ("state=queued", "invalid-query"),
        ("sort=ended", "invalid-query"),
        ("lane=none", "invalid-query"),
        ("cursor=abc", "invalid-cursor"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(client: httpx.AsyncClient, query: str, name: str) -> None:
    assert problem(await client.get(f"{DEAD}?{query}")) == (422, name)


async def test_a_cursor_of_another_fingerprint_is_refused(client: httpx.AsyncClient, store: RedisStore) -> None:
    await letters(client, store, 3)
    cursor = (await client.get(f"{DEAD}?limit=1")).json()["next"]
    assert problem(await client.get(f"{DEAD}?limit=1&fingerprint={'0' * 16}&cursor={cursor}")) == (
        422,
        "invalid-cursor",
    )


async def test_groups_gather_letters_of_the_same_error_largest_first(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    few = await letters(client, store, 2, message="quota of 'x{n}' exceeded", kind="QuotaError")
    many = await letters(client, store, 4)
    other = await letters(client, store, 3, type="refund")
    body = (await client.get(f"{DEAD}/groups")).json()
    assert (body["scanned"], body["complete"], body["next"]) == (9, True, None)
    assert [(g["type"], g["kind"], g["message"], g["count"]) for g in body["groups"]] == [
        ("charge", "ConnectionError", "order <n> refused", 4),
        ("refund", "ConnectionError", "order <n> refused", 3),
        ("charge", "QuotaError", "quota of <str> exceeded", 2),
    ]
    for group, ids in zip(body["groups"], (many, other, few), strict=True):
        assert group["sample"] in ids
        assert group["firstAt"] <= group["lastAt"]
        listed = await all_pages(client, DEAD, fingerprint=group["fingerprint"])
        assert {item["id"] for item in listed} == set(ids)
    only = (await client.get(f"{DEAD}/groups?type=refund")).json()["groups"]
    assert [group["count"] for group in only] == [3]


async def test_groups_that_take_too_long_come_in_parts_that_add_up(
    client: httpx.AsyncClient, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "_GROUPING", 0.0)
    monkeypatch.setattr(dead, "_PAGE", 3)
    await letters(client, store, 7)
    cursor, counts, parts = "", 0, 0
    while True:
        body = (await client.get(f"{DEAD}/groups{cursor}")).json()
        parts += 1
        counts += sum(group["count"] for group in body["groups"])
        assert body["complete"] == (body["next"] is None)
        if body["next"] is None:
            break
        cursor = f"?cursor={body['next']}"
    assert (counts, parts) == (7, 3)


async def test_one_letter_is_shown_with_all_its_errors(client: httpx.AsyncClient, store: RedisStore) -> None:
    (id,) = await letters(client, store, 1)
    answer = await client.get(f"{DEAD}/{id}")
    body = answer.json()
    assert (body["id"], body["state"], body["errors"][0]["message"]) == (id, "dead", "order 0 refused")
    assert body["fingerprint"] == (await client.get(DEAD)).json()["items"][0]["fingerprint"]
    assert (await client.get(f"{DEAD}/{id}", headers={"If-None-Match": answer.headers["etag"]})).status_code == 304


async def test_a_task_that_is_not_dead_is_no_dead_letter(client: httpx.AsyncClient) -> None:
    id = (await client.post(TASKS, json={"type": "t"})).json()["id"]
    answer = await client.get(f"{DEAD}/{id}")
    assert problem(answer) == (404, "unknown-task")
    assert "it is queued" in answer.json()["detail"]


# -- replaying


async def states(client: httpx.AsyncClient, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = (await client.post(f"{TASKS}/states", json={"ids": ids})).json()["states"]
    return found


async def test_all_are_replayed_oldest_death_first(client: httpx.AsyncClient, store: RedisStore) -> None:
    ids = await letters(client, store, 5)
    body = (await client.post(f"{DEAD}/replay", json={"all": True})).json()
    assert body == {"matched": 5, "replayed": 5, "ids": body["ids"], "next": None, "scanned": 5, "refused": []}
    assert sorted(body["ids"]) == sorted(ids)
    assert set((await states(client, ids)).values()) == {"queued"}
    # They stand in their lane in that order too.
    lane = [item["id"] for item in (await client.get(f"{TASKS}?state=queued&sort=next")).json()["items"]]
    assert lane == body["ids"]
    assert (await client.post(f"{DEAD}/replay", json={"all": True})).json()["matched"] == 0


async def test_those_of_a_filter_and_fingerprint_are_replayed_alone(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    a = await letters(client, store, 3)
    b = await letters(client, store, 2, message="quota of 'x' exceeded", kind="QuotaError")
    mark = fingerprint("charge", AttemptError("QuotaError", "quota of 'y' exceeded")).id
    body = (await client.post(f"{DEAD}/replay", json={"filter": {"fingerprint": mark, "type": ["charge"]}})).json()
    assert (sorted(body["ids"]), body["next"]) == (sorted(b), None)
    assert set((await states(client, a)).values()) == {"dead"}


async def test_a_canary_share_goes_first_and_the_same_call_without_it_replays_the_rest(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    ids = await letters(client, store, 60)
    first = (await client.post(f"{DEAD}/replay", json={"all": True, "share": 0.25, "dryRun": True})).json()
    assert 1 <= first["matched"] == len(first["ids"]) < 60
    assert set((await states(client, ids)).values()) == {"dead"}
    canary = (await client.post(f"{DEAD}/replay", json={"all": True, "share": 0.25})).json()
    assert sorted(canary["ids"]) == sorted(first["ids"]) == sorted(id for id in ids if in_share(id_bytes(id), 0.25))
    rest = (await client.post(f"{DEAD}/replay", json={"all": True})).json()
    assert sorted(rest["ids"] + canary["ids"]) == sorted(ids)


async def test_a_limit_means_the_newest_so_many(client: httpx.AsyncClient, store: RedisStore) -> None:
    await letters(client, store, 2)
    await next_moment(store)
    newest = await letters(client, store, 2)
    body = (await client.post(f"{DEAD}/replay", json={"all": True, "limit": 2})).json()
    assert sorted(body["ids"]) == sorted(newest)
    assert body["next"] is not None


async def test_a_replay_goes_on_where_it_stopped_and_leaves_what_dies_meanwhile(
    client: httpx.AsyncClient, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_changes, "_BUDGET", 0.0)
    monkeypatch.setattr(dead_changes, "_PAGE", 2)
    before = await letters(client, store, 5)
    form: dict[str, Any] = {"filter": {"type": "charge"}}
    replayed: list[str] = []
    answer = (await client.post(f"{DEAD}/replay", json=form)).json()
    replayed += answer["ids"]
    await next_moment(store)
    later = await letters(client, store, 1, type="charge", priority=9)
    calls = 1
    while answer["next"] is not None:
        answer = (await client.post(f"{DEAD}/replay", json={**form, "cursor": answer["next"]})).json()
        replayed += answer["ids"]
        calls += 1
    assert sorted(replayed) == sorted(before)
    assert calls >= 3
    assert await states(client, later) == {later[0]: "dead"}


async def test_tasks_named_by_id_are_replayed_and_others_are_told_why_not(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    (id,) = await letters(client, store, 1)
    cancelled = (await client.post(TASKS, json={"type": "t"})).json()["id"]
    await client.post(f"{TASKS}/{cancelled}/cancel")
    queued = (await client.post(TASKS, json={"type": "t"})).json()["id"]
    unknown = id_text(new_task_id())
    body = (await client.post(f"{DEAD}/replay", json={"ids": [id, id, cancelled, queued, unknown]})).json()
    assert body["ids"] == [id, cancelled]
    assert body["refused"] == [{"id": queued, "why": "queued"}, {"id": unknown, "why": "unknown"}]
    assert (body["matched"], body["replayed"]) == (2, 2)


async def test_a_fresh_replay_begins_without_the_checkpoint_and_another_goes_on_from_it(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    ids = []
    for _ in range(2):
        id = (await client.post(TASKS, json={"type": "charge"})).json()["id"]
        inc = new_incarnation()
        await store.register(inc, "w1", "direct", 1, 0, 0)
        await store.heartbeat(inc, 2, 1, 0, [])
        (task,) = (await store.turn(inc, 1, 1, [])).tasks
        assert await store.notes.note(inc, [Note(task.id, task.fence, 1, checkpoint=msgspec.msgpack.encode(7))]) == [
            True
        ]
        assert await store.settle(inc, [Settlement(Kind.DEAD, task.id, task.fence)]) == {}
        await store.deregister(inc)
        ids.append(id)
    for id, fresh in zip(ids, (True, False), strict=True):
        body = (await client.post(f"{DEAD}/replay", json={"ids": [id], "fresh": fresh})).json()
        assert body["ids"] == [id]
    begun_anew, goes_on = await store.notes.saved([id_bytes(id) for id in ids])
    assert begun_anew is None
    assert goes_on is not None and msgspec.msgpack.decode(goes_on.data) == 7
    assert problem(await client.post(f"{DEAD}/purge", json={"all": True, "fresh": True})) == (422, "invalid-request")


@pytest.mark.parametrize(("verb", "done"), [("replay", "replayed"), ("purge", "purged")])
@pytest.mark.parametrize("by_id", [True, False])
async def test_a_dry_run_tells_what_is_meant_and_that_nothing_was_changed(
    client: httpx.AsyncClient, store: RedisStore, verb: str, done: str, by_id: bool
) -> None:
    ids = await letters(client, store, 3)
    form: dict[str, Any] = {"ids": ids} if by_id else {"all": True}
    body = (await client.post(f"{DEAD}/{verb}", json={**form, "dryRun": True})).json()
    assert (body["matched"], body[done], sorted(body["ids"])) == (3, 0, sorted(ids))
    assert set((await states(client, ids)).values()) == {"dead"}


@pytest.mark.parametrize("verb", ["replay", "purge"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"filter": {}},
        {"filter": {"label": {}}},
        {"filter": {"label": []}},
        {"filter": {"state": "dead"}},
        {"all": False},
        {"all": True, "filter": {"type": "t"}},
        {"ids": ["0" * 23], "all": True},
        {"ids": []},
        {"ids": ["0" * 22 + "1"]},
        {"ids": ["0" * 23], "limit": 5},
        {"all": True, "share": 0},
        {"all": True, "share": 1.5},
        {"all": True, "limit": 0},
        {"all": True, "limit": 1001},
        {"all": True, "dry_run": True},
        {"filter": {"fingerprint": "abc"}},
        {"filter": {"state": "queued"}},
        {"filter": {"lane": "nowhere"}},
        {"filter": {"typ": "t"}},
        [],
    ],
    ids=str,
)
async def test_a_choice_that_is_not_clear_changes_nothing(
    client: httpx.AsyncClient, store: RedisStore, verb: str, form: Any
) -> None:
    ids = await letters(client, store, 1)
    answer = await client.post(f"{DEAD}/{verb}", json=form)
    assert problem(answer) == (422, "invalid-request")
    assert answer.json()["errors"][0]["message"]
    assert await states(client, ids) == {ids[0]: "dead"}


@pytest.mark.parametrize("cursor", ["", "abc", "1f.abc", ".", "zz.x", "1" * 13 + ".x"])
async def test_a_cursor_that_is_none_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.post(f"{DEAD}/replay", json={"all": True, "cursor": cursor})
    assert problem(answer) == (422, "invalid-cursor")


async def test_a_cursor_can_not_be_used_for_another_choice(
    client: httpx.AsyncClient, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_changes, "_BUDGET", 0.0)
    monkeypatch.setattr(dead_changes, "_PAGE", 1)
    await letters(client, store, 3)
    form = {"all": True, "share": 0.9, "dryRun": True}
    cursor = (await client.post(f"{DEAD}/replay", json=form)).json()["next"]
    assert cursor is not None
    for other in ({"all": True}, {"all": True, "share": 0.8}, {"filter": {"type": "charge"}, "share": 0.9}):
        answer = await client.post(f"{DEAD}/replay", json={**other, "cursor": cursor})
        assert problem(answer) == (422, "invalid-cursor")


# -- purging


async def test_purged_letters_are_gone_and_nothing_else_is(client: httpx.AsyncClient, store: RedisStore) -> None:
    a = await letters(client, store, 2)
    b = await letters(client, store, 2, type="refund")
    tried = (await client.post(f"{DEAD}/purge", json={"filter": {"type": "charge"}, "dryRun": True})).json()
    assert (tried["matched"], tried["purged"]) == (2, 0)
    body = (await client.post(f"{DEAD}/purge", json={"filter": {"type": "charge"}})).json()
    assert (body["purged"], sorted(body["ids"]), body["refused"]) == (2, sorted(a), [])
    assert await states(client, a + b) == {**dict.fromkeys(a), **dict.fromkeys(b, "dead")}
    assert (await store.stats()).drift == 0


async def test_only_dead_letters_are_purged_by_id(client: httpx.AsyncClient, store: RedisStore) -> None:
    (id,) = await letters(client, store, 1)
    cancelled = (await client.post(TASKS, json={"type": "t"})).json()["id"]
    await client.post(f"{TASKS}/{cancelled}/cancel")
    body = (await client.post(f"{DEAD}/purge", json={"ids": [cancelled, id]})).json()
    assert body["ids"] == [id]
    assert body["refused"] == [{"id": cancelled, "why": "cancelled"}]


def test_a_share_is_stable_and_a_greater_one_has_all_of_a_smaller() -> None:
    ids = [new_task_id() for _ in range(2000)]
    small = {id for id in ids if in_share(id, 0.1)}
    assert small == {id for id in ids if in_share(id, 0.1)}
    assert small < {id for id in ids if in_share(id, 0.3)}
    assert 100 < len(small) < 320
    assert all(in_share(id, 1.0) for id in ids)
