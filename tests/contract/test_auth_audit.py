"""The log of changes, and what bad credentials cost: over a gateway on a real Redis."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.credentials import bearer, guarded, keys_of_roles, write_keys
from tests.contract.gateways import TASKS, Q, metric, run_one

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.gateway.auth.access import Access
from laneway.gateway.auth.audit import outcome_of
from laneway.model.apikeys import mint
from laneway.model.auth import AuthSettings
from laneway.model.settlement import Kind


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What the log of changes says, as it goes through the standard library."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.__dict__["laneway"])

    logger, handler = logging.getLogger("laneway.audit"), Keep()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_each_change_is_written_with_who_what_and_how_it_ended_and_nothing_of_what_tasks_carry(
    store: RedisStore, tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    key, entry = mint("ann", "operator", tenants=["acme"])
    viewer, other = mint("vic", "viewer")
    write_keys(tmp_path / "keys.json", [entry, other])
    settings = {"keys": {"path": str(tmp_path / "keys.json")}, "audit": {"file": str(tmp_path / "audit.jsonl")}}
    async with guarded(store, settings) as (client, _):
        mine = {**bearer(key), "X-Request-Id": "deploy-17"}
        sent = {
            "type": "mail.send",
            "payload": {"card": "hidden-card"},
            "labels": {"l": "hidden-label"},
            "description": "hidden-words",
        }
        first = await client.post(TASKS, json=sent, headers=mine)
        assert first.headers["x-request-id"] == "deploy-17"
        id = first.json()["id"]
        await client.get(f"{TASKS}/{id}", headers=mine)
        cancelled = await client.post(f"{TASKS}/{id}/cancel", headers=bearer(key))
        again = await client.post(f"{TASKS}/{id}/cancel", headers={**bearer(viewer), "X-Request-Id": "bad id\x01"})
        bad = await client.post(TASKS, json={"typ": "x"}, headers=bearer(key))
        batch = [{"type": "a"}, {"type": "a", "tenant": "beta"}, {"type": "a", "lane": "nowhere"}]
        await client.post(f"{TASKS}/batch", json=batch, headers=bearer(key))
        await client.post(TASKS, json=sent, headers=bearer("wrong"))

    common = {"who": "ann", "role": "operator", "auth": "key", "credential": entry.id, "address": "127.0.0.1"}
    assert [line.pop("event") for line in lines] == ["change"] * 5
    submitted, cancel, denied, refused, many = lines
    assert submitted == {
        **common, "permission": "submit", "method": "POST", "route": "/api/v1/queues/{queue}/tasks", "queue": "mail",
        "outcome": "done", "status": 201, "request": "deploy-17", "tenants": ["acme"], "type": "mail.send",
        "lane": None, "tenant": "acme", "id": id, "duplicate": False,
    }  # fmt: skip
    assert cancel.items() >= {
        **common, "permission": "operate", "queue": "mail", "id": id, "outcome": "done", "status": 200,
        "request": cancelled.headers["x-request-id"],
    }.items()  # fmt: skip
    assert denied.items() >= {
        "who": "vic", "permission": "operate", "outcome": "denied", "status": 403, "problem": "forbidden",
        "request": again.headers["x-request-id"],
    }.items()  # fmt: skip
    assert again.headers["x-request-id"] != "bad id\x01"
    assert refused.items() >= {
        "outcome": "refused", "status": 422, "problem": "invalid-task", "request": bad.headers["x-request-id"],
    }.items()  # fmt: skip
    assert many.items() >= {"accepted": 1, "duplicates": 0, "refused": 2, "status": 200}.items()

    text = (tmp_path / "audit.jsonl").read_text()
    written = [json.loads(line) for line in text.splitlines()]
    assert all(line.pop("at").endswith("Z") for line in written)
    assert written == json.loads(json.dumps(lines))
    for hidden in ("hidden", "card", key, viewer, key.rsplit("_", 1)[1]):
        assert hidden not in text
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_dry_run_is_not_written_as_a_change_that_was_made(
    store: RedisStore, tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        admin = bearer(keys["admin"])
        await client.post(TASKS, json={"type": "t"}, headers=admin)
        await run_one(store, Kind.DEAD, {"kind": "E", "message": "m", "at": 1})
        for dry in (True, False):
            for path, body in (
                (f"{TASKS}/bulk", {"action": "retry", "filter": {"state": "succeeded"}}),
                (f"{TASKS}/bulk", {"action": "purge", "filter": {"state": "cancelled"}}),
                (f"{Q}/dead/purge", {"all": True}),
            ):
                await client.post(path, json={**body, "dryRun": dry}, headers=admin)
    assert [line["outcome"] for line in lines[1:]] == ["refused", "dry-run", "dry-run", "refused", "done", "done"]
    assert [(line["matched"], line["purged"]) for line in lines if "purged" in line] == [(1, 0), (1, 1)]


async def test_submissions_can_be_left_out_and_what_they_are_refused_for_too(
    store: RedisStore, tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    settings = {"keys": {"path": str(tmp_path / "keys.json")}, "audit": {"submissions": False}}
    async with guarded(store, settings) as (client, _):
        id = (await client.post(TASKS, json={"type": "t"}, headers=bearer(keys["admin"]))).json()["id"]
        await client.post(TASKS, json={}, headers=bearer(keys["admin"]))
        await client.post(f"{TASKS}/{id}/cancel", headers=bearer(keys["admin"]))
    assert [line["permission"] for line in lines] == ["operate"]


async def test_where_nobody_is_asked_nothing_is_written_unless_a_file_is_named(
    store: RedisStore, tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    async with guarded(store, {"mode": "None"}) as (client, _):
        await client.post(TASKS, json={"type": "t"})
    assert lines == []
    async with guarded(store, {"mode": "None", "audit": {"file": str(tmp_path / "a.jsonl")}}) as (client, _):
        await client.post(TASKS, json={"type": "t"})
    assert [(line["who"], line["auth"]) for line in lines] == [("anonymous", "none")]


async def test_a_file_that_was_rotated_away_is_made_anew(store: RedisStore, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    keys = keys_of_roles(tmp_path / "keys.json")
    settings = {"keys": {"path": str(tmp_path / "keys.json")}, "audit": {"file": str(file)}}
    async with guarded(store, settings) as (client, access):
        assert access.audit is not None
        await client.post(TASKS, json={"type": "t"}, headers=bearer(keys["admin"]))
        access.audit.close()  # so that the first line is there
    file.rename(tmp_path / "audit.1")
    async with guarded(store, settings) as (client, access):
        await client.post(TASKS, json={"type": "t"}, headers=bearer(keys["admin"]))
        file.rename(tmp_path / "audit.2")
        await client.post(TASKS, json={"type": "t"}, headers=bearer(keys["admin"]))
    written = {path.name: path.read_text().splitlines() for path in (tmp_path / "audit.1", tmp_path / "audit.2", file)
               if path.exists()}  # fmt: skip
    # The second line may have been written before its file was renamed, or after.
    assert (len(written["audit.1"]), sum(map(len, written.values()))) == (1, 3)


def test_a_file_that_can_not_be_written_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    settings = AuthSettings.model_validate({"mode": "None", "audit": {"file": str(tmp_path / "no" / "audit.jsonl")}})
    with pytest.raises(ConfigError, match=r"audit.file: .* can't be written"):
        Access(settings)


def test_an_outcome_says_whether_it_happened() -> None:
    table = {200: "done", 202: "done", 401: "denied", 403: "denied", 409: "refused", 422: "refused", 429: "refused",
             500: "failed", 503: "failed", 504: "unknown"}  # fmt: skip
    assert {status: outcome_of(status) for status in table} == table


async def test_who_sends_many_bad_credentials_is_told_to_wait_and_locks_out_no_good_key(
    store: RedisStore, tmp_path: Path
) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    settings = {"keys": {"path": str(tmp_path / "keys.json")}, "failures": {"perMinute": 1, "burst": 3}}
    async with guarded(store, settings) as (client, _):
        statuses = []
        for _ in range(5):
            answer = await client.get(f"{Q}/stats", headers=bearer("lw_aaaaaaaaaaaa_" + "a" * 52))
            statuses.append(answer.status_code)
        assert statuses == [401, 401, 401, 429, 429]
        assert answer.json()["type"] == "urn:laneway:problem:too-many-failures"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert "127.0.0.1" in answer.json()["detail"]
        # From the same address, as behind one proxy: a good key is let in, and no key at all is no failure.
        assert (await client.get(f"{Q}/stats", headers=bearer(keys["viewer"]))).status_code == 200
        assert (await client.get(f"{Q}/stats")).status_code == 401
        assert await metric(client, "laneway_auth_requests_total", auth="key", outcome="limited") == 2
        assert await metric(client, "laneway_auth_requests_total", auth="key", outcome="invalid") == 3


async def test_behind_a_trusted_proxy_each_client_has_its_own_failures(store: RedisStore, tmp_path: Path) -> None:
    keys_of_roles(tmp_path / "keys.json")
    settings = {
        "keys": {"path": str(tmp_path / "keys.json")},
        "failures": {"perMinute": 1, "burst": 1},
        "trustedProxies": ["127.0.0.0/8"],
    }
    async with guarded(store, settings) as (client, _):

        async def status(address: str) -> int:
            headers = {**bearer("wrong"), "X-Forwarded-For": address}
            return (await client.get(f"{Q}/stats", headers=headers)).status_code

        assert [await status("192.0.2.1") for _ in range(2)] == [401, 429]
        assert await status("192.0.2.2") == 401


async def test_a_refused_credential_is_not_written_to_the_log(
    store: RedisStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, entry = mint("ann", "viewer")
    write_keys(tmp_path / "keys.json", [entry])
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    with caplog.at_level(logging.DEBUG):
        async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
            await client.get(f"{Q}/stats", headers=bearer(wrong))
            await client.get(f"{Q}/stats", headers=bearer(key))
            await client.get(f"{Q}/stats", headers=bearer("eyJhbGciOiJub25lIn0.e30.c2VjcmV0"))
    said = caplog.text
    assert f"API key {entry.id}: its secret is wrong" in said
    for secret in (key, wrong, key.rsplit("_", 1)[1][:40], "c2VjcmV0"):
        assert secret not in said
