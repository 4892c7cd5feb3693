"""Every route there is: closed without a credential, and of another tenant's tasks it shows and changes nothing.

Both tests go through the routes that the application has, so one that is added and open, or that tells too much, fails
here; and one that takes a body fails until it is said here what to send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from tests.contract.credentials import bearer, guarded, keys_of_roles, write_keys
from tests.contract.gateways import TASKS, Q

from laneway.adapters.redis import RedisStore
from laneway.gateway.app import _rows, build_app
from laneway.gateway.auth.permissions import GRANTS, KNOWN, PUBLIC
from laneway.kit.ids import id_bytes, id_text, new_incarnation
from laneway.model.apikeys import mint
from laneway.model.record import AttemptError
from laneway.model.settlement import Kind, Settlement
from laneway.submit import NewTask, Submitter

#: What everybody may see. The pages hold nothing; what they show, they ask the API for.
OPEN = {"/", "/openapi.json", "/healthz", "/readyz", "/metrics", "/dashboard", "/dashboard/{path:path}"}

#: What a request with a body has to send: {id} is a task of another tenant.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", f"{Q}/tasks"): {"type": "probe", "tenant": "acme"},
    ("POST", f"{Q}/tasks/batch"): [{"type": "probe", "tenant": "acme"}],
    ("POST", f"{Q}/tasks/{{id}}/cancel"): None,
    ("POST", f"{Q}/tasks/{{id}}/retry"): None,
    ("PATCH", f"{Q}/tasks/{{id}}"): {"priority": 9},
    ("POST", f"{Q}/tasks/bulk"): {"action": "cancel", "ids": ["{id}"]},
    ("POST", f"{Q}/tasks/states"): {"ids": ["{id}"]},
    ("POST", f"{Q}/dead/replay"): {"ids": ["{id}"]},
    ("POST", f"{Q}/dead/purge"): {"ids": ["{id}"]},
    ("POST", f"{Q}/workers/{{id}}/drain"): None,
}
#: The same without naming a task: all that there are.
WHOLE: dict[tuple[str, str], list[Any]] = {
    ("POST", f"{Q}/tasks/bulk"): [
        {"action": "cancel", "all": True},
        {"action": "retry", "filter": {"tenant": "acme"}},
        {"action": "revise", "filter": {"type": "secret-type"}, "priority": 9},
        {"action": "purge", "all": True},
    ],
    ("POST", f"{Q}/dead/replay"): [{"all": True}, {"filter": {"tenant": "acme"}}],
    ("POST", f"{Q}/dead/purge"): [{"all": True}, {"filter": {"tenant": "acme"}}],
}
#: Questions that a route may be asked beside the plain one.
QUERIES = {
    f"{Q}/events": ["?after=0-0", "?after=0-0&kinds=submitted"],
    f"{Q}/tasks": [
        "",
        "?tenant=acme",
        "?type=secret-type",
        "?error=secret-error",
        "?label=secret-label:x",
        "?state=dead",
    ],
    f"{Q}/dead": ["", "?tenant=acme"],
    f"{Q}/dead/groups": ["", "?tenant=acme"],
}

#: Stand in another tenant's tasks and nowhere else.
MARKS = ("acme", "secret-type", "secret-payload", "secret-label", "secret-words", "secret-error", "secret-result")


def routes_of(app: Starlette) -> list[tuple[str, str]]:
    """Each method and path; the queue is named already."""
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            found.append((method, route.path.replace("{queue}", "mail")))
    return found


@dataclass(frozen=True)
class Theirs:
    """Tasks of tenant acme by state, and the worker that runs one."""

    tasks: Mapping[str, str]
    worker: str


async def tasks_of_acme(store: RedisStore) -> Theirs:
    """One in each state that a task can be brought to here."""
    body = {
        "tenant": "acme", "description": "secret-words", "labels": {"secret-label": "x"},
        "payload": msgspec.msgpack.encode({"card": "secret-payload"}),
    }  # fmt: skip
    submitter, inc = Submitter(store), new_incarnation()
    await store.register(inc, "w1", "direct", 5, 0, 0)
    await store.heartbeat(inc, 2, 5, 0, [])
    made: dict[str, str] = {}
    for number, state in enumerate(("succeeded", "dead", "running"), 1):
        (receipt,) = await submitter.submit_many([NewTask(type="secret-type", **body)])
        turn = await store.turn(inc, number, 1, [])
        (task,) = turn.tasks
        assert task.id == receipt.id
        made[state] = id_text(task.id)
        error = msgspec.msgpack.encode(AttemptError("ValueError", "secret-error", attempt=1, traceback="secret-words"))
        if state == "succeeded":
            result = msgspec.msgpack.encode({"x": "secret-result"})
            assert await store.settle(inc, [Settlement(Kind.COMPLETE, task.id, task.fence, data=result)]) == {}
        elif state == "dead":
            assert await store.settle(inc, [Settlement(Kind.DEAD, task.id, task.fence, data=error)]) == {}
    made["queued"] = (await submitter.submit(NewTask(type="secret-type", **body))).text
    made["scheduled"] = (await submitter.submit(NewTask(type="secret-type", delay=3600, **body))).text
    made["cancelled"] = (await submitter.submit(NewTask(type="secret-type", **body))).text
    await store.cancel([id_bytes(made["cancelled"])])
    views = await store.get([id_bytes(id) for id in made.values()])
    assert [view.state.label for view in views if view] == list(made)
    return Theirs(made, inc.hex())


async def kept(store: RedisStore, theirs: Theirs) -> list[Any]:
    """All that is known of them, for comparison."""
    views = await store.get([id_bytes(id) for id in theirs.tasks.values()])
    return [(view.id, view.state, view.record, view.errors) if view else None for view in views]


def filled(value: Any, id: str) -> Any:
    if isinstance(value, str):
        return value.replace("{id}", id)
    if isinstance(value, list):
        return [filled(one, id) for one in value]
    return {key: filled(one, id) for key, one in value.items()} if isinstance(value, dict) else value


async def test_every_route_is_closed_without_a_credential_unless_it_is_known_to_be_open(
    store: RedisStore, tmp_path: Path
) -> None:
    keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        for method, path in routes_of(build_app({"mail": store})):
            if path in OPEN:
                continue
            url = re.sub(r"{\w+(:\w+)?}", "x", path)
            answer = await client.request(method, url, json={} if method != "GET" else None)
            assert answer.status_code == 401, f"{method} {path} answers {answer.status_code} to nobody"
            assert answer.json()["type"] == "urn:laneway:problem:unauthenticated"
            assert answer.headers["www-authenticate"] == 'Bearer realm="laneway"'


async def test_no_route_shows_or_changes_the_tasks_of_another_tenant(store: RedisStore, tmp_path: Path) -> None:
    theirs = await tasks_of_acme(store)
    rival, a = mint("rival", "admin", tenants=["rival"])
    boss, b = mint("boss", "admin")
    write_keys(tmp_path / "keys.json", [a, b])
    before = await kept(store, theirs)
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        everything = ""
        for method, path in routes_of(build_app({"mail": store})):
            if path in OPEN or path == "/api/v1/whoami":
                continue
            for url, body, said in requests_of(method, path, theirs):
                headers = {**bearer(rival), "Accept": "application/json"}
                answer = await client.request(method, url, json=body, headers=headers)
                assert answer.status_code < 500, f"{method} {url}: {answer.text}"
                text = answer.text.replace(said, "") if said else answer.text
                # (What was asked for may be repeated, as in a message about a tenant that it may not submit for.)
                asked = f"{url} {body}"
                shown = [mark for mark in (*MARKS, *theirs.tasks.values()) if mark in text and mark not in asked]
                assert shown == [], f"{method} {url} {body} shows {shown}: {answer.text[:2000]}"
                if method == "GET":
                    everything += (await client.get(url, headers={**headers, **bearer(boss)})).text
        # The same questions do show them to one who may see them.
        assert all(mark in everything for mark in (*MARKS, *theirs.tasks.values())), [
            mark for mark in (*MARKS, *theirs.tasks.values()) if mark not in everything
        ]
    assert await kept(store, theirs) == before
    assert (await store.stats()).counts["submitted"] == len(theirs.tasks)


def requests_of(method: str, path: str, theirs: Theirs) -> list[tuple[str, Any, str]]:
    """What to ask of a route: address, body, and what of it the answer may repeat."""
    queries = QUERIES.get(path, [""]) if method == "GET" else [""]
    if method != "GET":
        assert (method, path) in BODIES, f"say in BODIES what {method} {path} takes"
    if path == f"{Q}/workers/{{id}}/drain":
        return [(path.replace("{id}", theirs.worker), None, theirs.worker)]
    if path.endswith("/lanes/{lane}/eta"):
        return [(path.replace("{lane}", "default"), None, "")]
    asked: list[tuple[str, Any, str]] = []
    body = BODIES.get((method, path))
    if "{id}" in path or "{id}" in str(body):
        asked += [(path.replace("{id}", id), filled(body, id), id) for id in theirs.tasks.values()]
    else:
        asked += [(path + query, body, "") for query in queries]
    asked += [(path, whole, "") for whole in WHOLE.get((method, path), [])]
    left = [url for url, _, _ in asked if "{" in url]
    assert left == [], f"say here what to put into {left[0]}"
    return asked


async def test_each_role_gets_to_the_routes_of_its_permissions_and_to_no_others(
    store: RedisStore, tmp_path: Path
) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        rows = [row for row in _rows(build_app({"mail": store}).state.gateway) if row.permission != PUBLIC]
        assert len(rows) > 20
        for row in rows:
            # No such queue or task: who gets past the door is told so, or that the request lacks something.
            url = re.sub(r"{\w+}", "x", row.path)
            allowed = set(keys)
            if row.permission != KNOWN:
                allowed = {role.value for role, granted in GRANTS.items() if row.permission in granted}
            answers = {
                role: await client.request(
                    row.method, url, json={} if row.method != "GET" else None, headers=bearer(key)
                )
                for role, key in keys.items()
            }
            let_in = {role for role, answer in answers.items() if answer.status_code != 403}
            assert let_in == allowed, f"{row.method} {row.path}"


async def test_a_credential_of_one_tenant_submits_for_it_alone(store: RedisStore, tmp_path: Path) -> None:
    one, a = mint("one", "operator", tenants=["acme"])
    two, b = mint("two", "operator", tenants=["acme", "beta"])
    nameless, c = mint("nameless", "operator", tenants=[""])
    write_keys(tmp_path / "keys.json", [a, b, c])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):

        async def submitted(key: str, **body: Any) -> tuple[int, str | None]:
            answer = await client.post(TASKS, json={"type": "t", **body}, headers=bearer(key))
            if answer.status_code != 201:
                return answer.status_code, answer.json()["detail"]
            got = await client.get(answer.headers["location"], headers=bearer(key))
            return answer.status_code, got.json()["tenant"]

        assert await submitted(one) == (201, "acme"), "the only tenant there is, is filled in"
        assert await submitted(one, tenant="acme") == (201, "acme")
        assert await submitted(two, tenant="beta") == (201, "beta")
        assert await submitted(nameless) == (201, "")
        refused = "the task names tenant 'beta', and this credential submits only for: acme"
        assert await submitted(one, tenant="beta") == (403, refused)
        assert await submitted(two) == (
            403,
            "the task names no tenant, and this credential submits only for: acme, beta",
        )
        assert await submitted(nameless, tenant="acme") == (
            403, "the task names tenant 'acme', and this credential submits only for: \"\"",
        )  # fmt: skip

        batch = [{"type": "t"}, {"type": "t", "tenant": "beta"}, {"type": "t", "tenant": "acme"}]
        answer = (await client.post(f"{TASKS}/batch", json=batch, headers=bearer(one))).json()
        assert [item["status"] for item in answer["results"]] == [201, 403, 201]
        assert (answer["accepted"], answer["refused"]) == (2, 1)


async def test_an_id_or_key_of_another_tenants_task_tells_nothing_of_it(store: RedisStore, tmp_path: Path) -> None:
    mine, a = mint("mine", "operator", tenants=["acme"])
    rival, b = mint("rival", "operator", tenants=["rival"])
    write_keys(tmp_path / "keys.json", [a, b])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        sent = {"type": "t", "payload": {"n": 1}, "idempotencyKey": "k"}
        first = (await client.post(TASKS, json=sent, headers=bearer(mine))).json()
        again = await client.post(TASKS, json=sent, headers=bearer(rival))
        assert again.status_code == 201 and again.json()["id"] != first["id"], "keys are within a tenant"
        taken = await client.post(TASKS, json={"type": "t", "id": first["id"]}, headers=bearer(rival))
        assert taken.status_code == 409
        assert set(taken.json()) == {"type", "title", "status", "detail", "taskId"}
        assert taken.json()["taskId"] == first["id"], "which is what was sent"
        assert taken.json()["detail"].startswith(f"the task id {first['id']} can't be used for this task; use another")
        assert (await client.get(f"{TASKS}/{first['id']}", headers=bearer(rival))).status_code == 404
        assert (await client.post(f"{TASKS}/{first['id']}/cancel", headers=bearer(rival))).status_code == 404
        assert (await client.get(f"{TASKS}/{first['id']}", headers=bearer(mine))).json()["state"] == "queued"


async def test_tracebacks_cannot_be_searched_by_who_may_not_see_them(store: RedisStore, tmp_path: Path) -> None:
    theirs = await tasks_of_acme(store)
    keys = keys_of_roles(tmp_path / "keys.yaml")
    lists = (f"{TASKS}?error=", "/api/v1/queues/mail/dead?error=", "/api/v1/queues/mail/dead/groups?error=")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.yaml")}}) as (client, _):

        async def found(role: str, address: str, text: str) -> int:
            got = await client.get(address + text, headers=bearer(keys[role]))
            assert got.status_code == 200, got.text
            return len(got.json()["items" if "items" in got.json() else "groups"])

        for address in lists:
            for text in ("secret-words", "Secret-Wor"):
                assert await found("viewer", address, text) == 0, address
                assert await found("operator", address, text) == 1, address
            assert await found("viewer", address, "valueerror: secret-e") == 1, address
    assert (await store.get([id_bytes(theirs.tasks["dead"])]))[0] is not None


async def test_numbers_over_all_tenants_are_for_credentials_that_see_all(store: RedisStore, tmp_path: Path) -> None:
    bound, a = mint("bound", "admin", tenants=["acme"])
    write_keys(tmp_path / "keys.json", [a])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        for path in ("stats", "stats/history", "lanes", "workers", "lanes/default/eta"):
            answer = await client.get(f"{Q}/{path}", headers=bearer(bound))
            assert (path, answer.status_code) == (path, 403)
            assert "bound to acme" in answer.json()["detail"]


async def test_a_misspelt_permission_is_no_open_door(store: RedisStore) -> None:
    from laneway.gateway.endpoint import HttpMetrics, endpoint

    async def handler(request: object) -> httpx.Response:
        raise AssertionError("never asked")

    with pytest.raises(ValueError, match="there is no permission 'raed'"):
        endpoint("/x", handler, HttpMetrics(), "raed")  # type: ignore[arg-type]


async def test_a_host_that_cannot_be_read_is_no_failure_of_the_gateway(store: RedisStore, tmp_path: Path) -> None:
    keys = keys_of_roles(tmp_path / "keys.yaml")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.yaml")}}) as (client, _):
        for host in ("[", "a]b"):
            headers = {"Host": host}
            assert (await client.get(TASKS, headers=headers | bearer("lw_x_y"))).status_code == 401
            assert (await client.get(TASKS, headers=headers | bearer(keys["viewer"]))).status_code == 200
            assert (await client.get("/nothing", headers=headers)).status_code == 404
            assert (await client.delete(TASKS, headers=headers | bearer(keys["admin"]))).status_code == 405
