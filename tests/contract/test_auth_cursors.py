"""What lists tell credentials that are bound to tenants: nothing of the tasks that were passed over."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.contract.credentials import bearer, guarded, write_keys
from tests.contract.gateways import TASKS, Q, open_store

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_bytes
from laneway.model.apikeys import mint


async def test_lists_tell_a_bound_credential_nothing_of_what_was_passed_over(store: RedisStore, tmp_path: Path) -> None:
    mine, a = mint("mine", "admin", tenants=["mine"])
    other, b = mint("other", "admin", tenants=["other"])
    boss, c = mint("boss", "admin")
    write_keys(tmp_path / "keys.json", [a, b, c])
    async with guarded(store, {"keys": {"path": str(tmp_path / "keys.json")}}) as (client, _):
        tasks = [{"type": "t", "tenant": "mine"}, *[{"type": "t", "tenant": "other"}] * 30]
        tasks += [{"type": "t", "tenant": "mine"}]
        sent = (await client.post(f"{TASKS}/batch", json=tasks, headers=bearer(boss))).json()["results"]
        theirs = {id_bytes(each["id"]) for each in sent[1:-1]}
        found: list[str] = []
        cursor: str | None = None
        seals = []
        for _ in range(10):
            params = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            answer = (await client.get(TASKS, params=params, headers=bearer(mine))).json()
            assert answer["scanned"] == len(answer["items"]) and answer["total"] is None
            found += [item["id"] for item in answer["items"]]
            cursor = answer["next"]
            if cursor is None:
                break
            seals.append(cursor)
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            assert b"lane" not in raw and not any(id in raw for id in theirs)
        assert (cursor, found) == (None, [sent[0]["id"], sent[-1]["id"]])
        plain = (await client.get(TASKS, params={"limit": "1"}, headers=bearer(boss))).json()["next"]
        for text, key in ((seals[0], other), (plain, mine), (seals[0][:-3] + "abc", mine), ("abc", mine)):
            refused = await client.get(TASKS, params={"limit": "1", "cursor": text}, headers=bearer(key))
            assert refused.status_code == 422
            assert refused.json()["type"] == "urn:laneway:problem:invalid-cursor"
        body = {"action": "revise", "filter": {"type": "t"}, "priority": 7, "limit": 1}
        first = (await client.post(f"{TASKS}/bulk", json=body, headers=bearer(mine))).json()
        rest = {**body, "limit": 9, "cursor": first["next"]}
        second = (await client.post(f"{TASKS}/bulk", json=rest, headers=bearer(mine))).json()
        assert (first["changed"], first["scanned"], second["changed"], second["scanned"]) == (1, 1, 1, 1)
        dead = {"all": True, "dryRun": True}
        purge = (await client.post(f"{Q}/dead/purge", json=dead, headers=bearer(mine))).json()
        assert (purge["matched"], purge["scanned"]) == (0, 0)


async def test_all_gateways_of_a_queue_share_the_secret_and_each_queue_has_its_own(
    store: RedisStore, redis7_url: str
) -> None:
    again, another = RedisStore(redis7_url, "mail"), await open_store(redis7_url, "post")
    try:
        secrets = [await each.browse.secret() for each in (store, again, another)]
    finally:
        await again.close()
        await another.close()
    assert secrets[0] == secrets[1] != secrets[2]
    assert [len(secret) for secret in secrets] == [32, 32, 32]
