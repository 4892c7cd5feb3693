"""API keys over a gateway on a real Redis: who is let in, and what becomes of it when the file changes."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.contract.credentials import bearer, guarded, keys_of_roles, write_keys
from tests.contract.gateways import TASKS, Q, eventually, metric

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.gateway.auth.keys import KeyFiles
from laneway.model.apikeys import KeyEntry, mint

WHOAMI = "/api/v1/whoami"


async def who(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.get(WHOAMI, headers=bearer(key))


async def test_whoami_tells_the_name_role_tenants_and_expiry_of_a_key(store: RedisStore, tmp_path: Path) -> None:
    key, entry = mint("ci", "submitter", tenants=["acme", "beta"], expires=datetime(2199, 1, 2, 3, 4, 5, tzinfo=UTC))
    write_keys(tmp_path / "keys.json", [entry])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        answer = await who(client, key)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "name": "ci", "role": "submitter", "tenants": ["acme", "beta"], "permissions": ["lookup", "submit"],
        "auth": "key", "expiresAt": "2199-01-02T03:04:05Z",
    }  # fmt: skip


async def test_without_authentication_everybody_is_admin(store: RedisStore) -> None:
    async with guarded(store, {"mode": "None"}) as (client, _):
        body = (await client.get(WHOAMI)).json()
    assert (body["name"], body["role"], body["tenants"], body["auth"]) == ("anonymous", "admin", None, "none")


@pytest.mark.parametrize(
    ("role", "refused"),
    [("viewer", {"submit", "cancel"}), ("submitter", {"stats", "cancel"}), ("operator", set()), ("admin", set())],
)
async def test_each_role_may_do_what_it_is_for(store: RedisStore, tmp_path: Path, role: str, refused: set[str]) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        task = (await client.post(TASKS, json={"type": "t"}, headers=bearer(keys["admin"]))).json()["id"]
        mine = bearer(keys[role])
        got = {
            "get": await client.get(f"{TASKS}/{task}", headers=mine),
            "stats": await client.get(f"{Q}/stats", headers=mine),
            "submit": await client.post(TASKS, json={"type": "t"}, headers=mine),
            "cancel": await client.post(f"{TASKS}/{task}/cancel", headers=mine),
        }
    assert {name for name, answer in got.items() if answer.status_code == 403} == refused
    assert all(answer.is_success for name, answer in got.items() if name not in refused), got
    for name in refused:
        body = got[name].json()
        assert body["type"] == "urn:laneway:problem:forbidden"
        assert f"the {role} is {role}" in body["detail"]


async def test_payloads_are_shown_to_those_who_may_see_them(store: RedisStore, tmp_path: Path) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        sent = {"type": "t", "payload": {"card": "4111"}}
        task = (await client.post(TASKS, json=sent, headers=bearer(keys["submitter"]))).json()["id"]
        shown = {role: (await client.get(f"{TASKS}/{task}", headers=bearer(key))).json() for role, key in keys.items()}
    assert {role: (body["payload"], body["redacted"]) for role, body in shown.items()} == {
        "viewer": (None, True),
        "submitter": (None, True),
        "operator": ({"card": "4111"}, False),
        "admin": ({"card": "4111"}, False),
    }


async def test_a_key_may_be_given_or_denied_payloads_whatever_its_role(store: RedisStore, tmp_path: Path) -> None:
    seeing, a = mint("s", "submitter", payloads=True)
    blind, b = mint("o", "operator", payloads=False)
    write_keys(tmp_path / "keys.json", [a, b])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        sent = {"type": "t", "payload": {"n": 1}}
        task = (await client.post(TASKS, json=sent, headers=bearer(seeing))).json()["id"]
        assert (await client.get(f"{TASKS}/{task}", headers=bearer(seeing))).json()["payload"] == {"n": 1}
        assert (await client.get(f"{TASKS}/{task}", headers=bearer(blind))).json()["payload"] is None


def _other_secret(key: str) -> str:
    return key[:-1] + ("a" if key[-1] != "a" else "b")


async def test_bad_credentials_are_refused_with_a_challenge_that_says_what_is_wrong(
    store: RedisStore, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    good, good_entry = mint("good", "admin")
    expired, expired_entry = mint("old", "admin", expires=now - timedelta(seconds=1))
    revoked, revoked_entry = mint("gone", "admin")
    revoked_entry = KeyEntry(**{**revoked_entry.model_dump(), "revoked": "2026-01-01T00:00:00Z"})
    unknown, _ = mint("unknown", "admin")
    write_keys(tmp_path / "keys.json", [good_entry, expired_entry, revoked_entry])
    table: list[tuple[str, list[tuple[str, str]], str]] = [
        ("nothing", [], "a credential is needed"),
        ("another secret", [("Authorization", f"Bearer {_other_secret(good)}")], "the API key is not valid"),
        ("an unknown id", [("Authorization", f"Bearer {unknown}")], "the API key is not valid"),
        ("expired", [("Authorization", f"Bearer {expired}")], "the API key has expired at"),
        ("revoked", [("Authorization", f"Bearer {revoked}")], "the API key was revoked"),
        ("the hash instead of the key", [("Authorization", f"Bearer {good_entry.hash}")], "neither an API key"),
        ("half a key", [("Authorization", f"Bearer {good[:30]}")], "an API key is lw_"),
        ("upper case", [("Authorization", f"Bearer lw_{good[3:].upper()}")], "an API key is lw_"),
        ("Basic", [("Authorization", f"Basic {good}")], "must be sent once, as Authorization: Bearer TOKEN"),
        ("the key alone", [("Authorization", good)], "must be sent once"),
        ("twice", [("Authorization", f"Bearer {good}")] * 2, "must be sent once"),
        ("empty", [("Authorization", "Bearer ")], "must be sent once"),
        ("very long", [("Authorization", "Bearer " + "x" * 20_000)], "the token is over 16,384 characters"),
        ("a token", [("Authorization", "Bearer a.b.c")], "neither an API key"),
        ("as a cookie", [("Cookie", f"token={good}")], "a credential is needed"),
    ]
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        for name, headers, detail in table:
            answer = await client.post(TASKS, json={"type": "t"}, headers=headers)
            assert answer.status_code == 401, name
            assert answer.headers["content-type"] == "application/problem+json"
            assert detail in answer.json()["detail"], name
            challenge = answer.headers["www-authenticate"]
            assert challenge.startswith('Bearer realm="laneway"'), name
            assert ("invalid_token" in challenge) == ("needed" not in detail), name
            assert good not in answer.text
        answer = await client.get(f"{Q}/stats?token={good}")
        assert answer.status_code == 401, "a credential in an address, which logs keep, is none"
        assert (await client.post(TASKS, json={"type": "t"}, headers=bearer(good))).status_code == 201
        assert (await client.get(f"{Q}/stats", headers=bearer(good))).json()["tasks"]["submitted"] == 1
        assert await metric(client, "laneway_auth_requests_total", auth="key", outcome="expired") == 1
        assert await metric(client, "laneway_auth_requests_total", auth="key", outcome="revoked") == 1
        assert await metric(client, "laneway_auth_requests_total", auth="none", outcome="missing") == 3
        assert await metric(client, "laneway_auth_requests_total", auth="key", outcome="ok") == 2


async def test_what_everybody_may_see_needs_no_credential_and_names_no_queue(store: RedisStore, tmp_path: Path) -> None:
    keys_of_roles(tmp_path / "keys.json")
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/")).json()["queues"] == []
        assert '"mail"' not in (await client.get("/openapi.json")).text


async def test_a_new_key_works_and_a_removed_one_does_not_without_a_restart(store: RedisStore, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first, a = mint("first", "viewer")
    second, b = mint("second", "viewer")
    write_keys(file, [a])
    async with guarded(store, {"keys": {"path": str(file)}}) as (client, access):
        assert access.keys is not None
        assert [(await who(client, key)).status_code for key in (first, second)] == [200, 401]
        write_keys(file, [b])

        async def read_again() -> bool:
            return access.keys is not None and access.keys.reloads == 2

        await eventually(read_again)
        assert [(await who(client, key)).status_code for key in (first, second)] == [401, 200]


async def test_a_broken_file_leaves_the_keys_of_before_and_says_so(store: RedisStore, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    key, entry = mint("first", "admin")
    write_keys(file, [entry])
    async with guarded(store, {"keys": {"path": str(file)}}) as (client, access):
        assert access.keys is not None
        file.write_text(f"keys:\n  - id: {entry.id}\n    hash: {key}\n")
        access.keys.look()
        assert (await who(client, key)).status_code == 200
        notes = (await client.get("/readyz")).json()["notes"]
        assert len(notes) == 1 and "API keys: the keys read last are still in force" in notes[0], notes
        assert key not in str(notes)
        assert await metric(client, "laneway_auth_source_failing", source="keys") == 1
        file.unlink()
        access.keys.look()
        assert (await who(client, key)).status_code == 200
        write_keys(file, [])
        access.keys.look()
        assert (await who(client, key)).status_code == 401
        assert (await client.get("/readyz")).json()["notes"] == []
        assert await metric(client, "laneway_auth_source_failing", source="keys") == 0


def _mount(folder: Path, number: int, files: dict[str, list[KeyEntry]]) -> None:
    """Brings ``folder`` to these files as the kubelet does: a folder of the new ones, and a link turned to it."""
    data = folder / f"..2026_11_24_{number}"
    data.mkdir()
    for name, entries in files.items():
        (data / name).write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for entry in entries]}))
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")
    for gone in [f for f in folder.iterdir() if not f.name.startswith("..") and f.name not in files]:
        gone.unlink()


async def test_a_mounted_secret_is_followed_through_the_swap_of_its_link(tmp_path: Path) -> None:
    a, b, c = (mint(name, "viewer")[1] for name in ("a", "b", "c"))
    _mount(tmp_path, 1, {"keys.yaml": [a]})
    files = KeyFiles(tmp_path, interval=0.02)
    await files.start()
    try:
        for number, mounted in enumerate(
            ({"keys.yaml": [b]}, {"keys.yaml": [b], "more.json": [c]}, {"more.json": [a]}), 2
        ):
            _mount(tmp_path, number, mounted)
            wanted = {entry.id for entries in mounted.values() for entry in entries}

            async def follows(wanted: set[str] = wanted) -> bool:
                return set(files.ring._entries) == wanted

            await eventually(follows)
            assert files.amiss is None
    finally:
        await files.stop()


def test_of_a_folder_one_broken_file_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    a, b = (mint(name, "viewer")[1] for name in ("a", "b"))
    write_keys(tmp_path / "a.json", [a])
    write_keys(tmp_path / "b.json", [b])
    files = KeyFiles(tmp_path)
    assert files.look() and len(files.ring) == 2
    (tmp_path / "a.json").write_text("{")
    write_keys(tmp_path / "b.json", [])
    assert files.look()
    assert set(files.ring._entries) == {a.id}
    assert "a.json" in (files.amiss or "")
    write_keys(tmp_path / "b.json", [a])
    assert not files.look()
    assert "(and 1 more files)" in (files.amiss or ""), "an id in two files is refused"


async def test_a_change_that_leaves_size_and_times_alike_is_seen(tmp_path: Path) -> None:
    a, b = mint("a", "viewer")[1], mint("b", "viewer")[1]
    file = tmp_path / "keys.json"
    write_keys(file, [a])
    files = KeyFiles(file)
    files.look()
    before = file.stat()
    write_keys(file, [b])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert files.look()
    assert set(files.ring._entries) == {b.id}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("keys:\n  - {id: x}", "id: must be the middle of a key, 12 characters"),
        ("keys: {}", "must be a list"),
        ("{}", "keys: is missing"),
        ("keys:\n  - {id: aaaaaaaaaaaa, hash: secret, name: n, role: boss}", "role: must be one of viewer, submitter"),
        ("key: []", "did you mean keys?"),
        (": [", "YAML syntax"),
        ("the-secret-password", "must be a map of keys"),
        ("keys: the-secret-password", "must be a list"),
        ("keys: [the-secret-password]", "must be a map of id"),
        ("keys: []\n---\nkeys: []", "must have one document, not 2"),
    ],
)
async def test_a_gateway_does_not_start_with_a_broken_file_and_says_what_is_wrong(
    tmp_path: Path, text: str, right: str
) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        await KeyFiles(tmp_path / "keys.yaml").start()
    assert right in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_gateway_does_not_start_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        await KeyFiles(tmp_path / "keys.yaml").start()
    with pytest.raises(ConfigError, match="the folder has no files"):
        await KeyFiles(tmp_path).start()
