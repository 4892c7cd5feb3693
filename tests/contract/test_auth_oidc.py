"""OpenID Connect over a gateway on a real Redis, with a real issuer: which tokens let in, as whom, and which do not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.contract.credentials import bearer, guarded
from tests.contract.gateways import TASKS, Q, eventually, metric
from tests.contract.issuer import AUDIENCE, Issuer, SigningKey, b64, running_issuer, unsigned, with_secret

from laneway.adapters.redis import RedisStore
from laneway.gateway.auth.access import Access
from servers.certificates import Authority

WHOAMI = "/api/v1/whoami"
GRANTS = [
    {"claim": "groups", "value": "ops", "role": "admin"},
    {"claim": "realm_access.roles", "value": "operate", "role": "operator", "tenantsClaim": "tenants"},
    {"claim": "https://example.org/team", "value": "red", "role": "submitter", "tenants": ["acme"], "payloads": True},
    {"claim": "email_verified", "value": "true", "role": "viewer"},
]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@asynccontextmanager
async def opened(
    store: RedisStore, issuer: Issuer, wait: bool = True, **more: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Access]]:
    """A gateway that takes this issuer's tokens, once it has its keys; unknown keys are looked for at once."""
    oidc = {"issuer": issuer.url, "audiences": [AUDIENCE], "grants": GRANTS, **more}
    failures = {"perMinute": 100_000, "burst": 100_000}
    async with guarded(store, {"oidc": [oidc], "failures": failures}) as (client, access):

        async def read() -> bool:
            return not wait or access.issuers[0].amiss is None

        await eventually(read)
        access.issuers[0]._unknown_pause = 0.0
        yield client, access


async def who(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(WHOAMI, headers=bearer(token))


async def test_claims_give_role_and_tenants_by_the_first_grant_that_fits(store: RedisStore, issuer: Issuer) -> None:
    table: list[tuple[dict[str, Any], tuple[str, list[str] | None]]] = [
        ({"groups": ["dev", "ops"]}, ("admin", None)),
        ({"groups": "ops"}, ("admin", None)),
        ({"groups": ["ops"], "email_verified": True}, ("admin", None)),
        ({"groups": ["opsx"], "email_verified": True}, ("viewer", None)),
        ({"realm_access": {"roles": ["operate"]}, "tenants": ["b", "a"]}, ("operator", ["a", "b"])),
        ({"realm_access": {"roles": ["operate"]}, "tenants": "a"}, ("operator", ["a"])),
        ({"realm_access": {"roles": ["operate"]}}, ("none", [])),
        ({"realm_access": {"roles": ["operate"]}, "tenants": []}, ("none", [])),
        ({"realm_access": {"roles": ["operate"]}, "tenants": ["a", "not a tenant!"]}, ("none", [])),
        ({"realm_access": {"roles": ["operate"]}, "tenants": [""]}, ("none", [])),
        ({"realm_access": "operate", "tenants": "a"}, ("none", [])),
        ({"https://example.org/team": "red"}, ("submitter", ["acme"])),
        ({"groups": {"ops": True}}, ("none", [])),
        ({"groups": [["ops"]]}, ("none", [])),
        ({}, ("none", [])),
    ]
    async with opened(store, issuer) as (client, _):
        for claims, wanted in table:
            body = (await who(client, issuer.token(**claims))).json()
            assert (body["role"], body["tenants"]) == wanted, claims
            assert (body["auth"], body["name"]) == ("oidc", "u-17")
        assert await metric(client, "laneway_auth_requests_total", auth="oidc", outcome="ok") == len(table)


async def test_one_to_whom_no_grant_gives_anything_is_known_and_may_do_nothing(
    store: RedisStore, issuer: Issuer
) -> None:
    async with opened(store, issuer) as (client, _):
        token = issuer.token()
        assert (await who(client, token)).json()["permissions"] == []
        answer = await client.get(f"{Q}/stats", headers=bearer(token))
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:laneway:problem:forbidden")
        assert (await client.post(TASKS, json={"type": "t"}, headers=bearer(token))).status_code == 403


async def test_keys_of_both_kinds_sign_and_a_name_claim_names(store: RedisStore, issuer: Issuer) -> None:
    rsa, ec = issuer.keys
    async with opened(store, issuer, nameClaim="email") as (client, _):
        for key in (rsa, ec):
            token = key.sign(issuer.claims(email="ann@example.org", groups=["ops"], exp=4102444800))
            body = (await who(client, token)).json()
            assert (body["name"], body["expiresAt"]) == ("ann@example.org", "2100-01-01T00:00:00Z")
        # An audience in a list, and a token without kid where only one key of its kind is there.
        assert (await who(client, issuer.token(aud=["other", AUDIENCE]))).status_code == 200
        assert (await who(client, rsa.sign(issuer.claims(), kid=None))).status_code == 200


def forged(issuer: Issuer) -> list[tuple[str, str, str]]:
    """Tokens that must not let in: what they are, the token, and what the refusal has to say."""
    key, other, now = issuer.keys[0], SigningKey.rsa("rsa-1"), int(time.time())
    good = issuer.claims(groups=["ops"])
    head, body, signature = key.sign(good).split(".")
    admin = b64(json.dumps({**good, "groups": ["ops", "more"]}).encode())
    invalid, bad_algorithm = "the token is not valid", "must be signed by one of RS256, ES256"
    return [
        ("no signature", unsigned(good, "none"), bad_algorithm),
        ("no signature, spelt otherwise", unsigned(good, "nOnE"), bad_algorithm),
        ("RS256 with an empty signature", f"{head}.{body}.", invalid),
        ("the public key taken for a secret", with_secret(good, key.pem, kid="rsa-1"), bad_algorithm),
        ("the modulus taken for a secret", with_secret(good, key.jwk()["n"].encode(), kid="rsa-1"), bad_algorithm),
        ("a key of somebody's own under a known name", other.sign(good), invalid),
        ("a key of somebody's own in the header", other.sign(good, jwk=other.jwk()), invalid),
        ("a key of somebody's own by address", other.sign(good, jku="http://127.0.0.1:1/keys"), invalid),
        ("an unknown key", key.sign(good, kid="rsa-9"), "a key that its issuer does not have"),
        ("another kind of key than the name's", key.sign(good, alg="ES256"), "a key that its issuer does not have"),
        ("an algorithm that is not allowed", key.sign(good, alg="RS384"), bad_algorithm),
        ("no algorithm", f"{b64(b'{}')}.{body}.{signature}", bad_algorithm),
        ("claims changed after signing", f"{head}.{admin}.{signature}", invalid),
        ("a signature cut short", f"{head}.{body}.{signature[:-8]}", "the "),
        ("another token's signature", f"{head}.{body}.{issuer.token(sub='x').split('.')[2]}", invalid),
        ("an extension that must be known", key.sign(good, crit=["x"], x=1), "the "),
        ("a kid that is no text", key.sign(good, kid=7), "the "),
        ("another audience", issuer.token(aud="billing"), "another audience than laneway"),
        ("no audience", issuer.token(aud=None), "no claim aud"),
        ("other audiences", issuer.token(aud=["a", "b"]), "another audience than laneway"),
        ("expired", issuer.token(exp=now - 31), "the token has expired"),
        ("expired long ago", issuer.token(exp=1), "the token has expired"),
        ("not valid yet", issuer.token(nbf=now + 60), "not valid yet"),
        ("without an end", issuer.token(exp=None), "no claim exp"),
        ("an end that is no number", issuer.token(exp="never"), "exp and nbf must be numbers"),
        ("an end that is true", issuer.token(exp=True), "exp and nbf must be numbers"),
        ("an infinite end", key.sign(json.dumps({**good, "exp": 0}).replace('"exp": 0', '"exp": Infinity').encode()),
         "exp and nbf must be numbers"),
        ("nobody's", issuer.token(sub=None), "no claim sub"),
        ("a subject that is no text", issuer.token(sub=7), "the token"),
        ("another issuer", key.sign({**good, "iss": "https://elsewhere.example.org"}), "of this issuer are not taken"),
        ("no issuer", key.sign({k: v for k, v in good.items() if k != "iss"}), "of this issuer are not taken"),
        ("claims that are a list", key.sign(b"[1]"), "neither an API key"),
        ("claims that are no JSON", key.sign(b"{"), "neither an API key"),
        ("claims nested very deeply", key.sign(b"[" * 9_000), "neither an API key"),
        ("encrypted", "a.b.c.d.e", "neither an API key"),
        ("two parts", f"{head}.{body}", "neither an API key"),
        ("an API key", "lw_aaaaaaaaaaaa_" + "a" * 52, "API keys are not taken here"),
    ]  # fmt: skip


async def test_no_forged_or_unfit_token_lets_in(store: RedisStore, issuer: Issuer) -> None:
    async with opened(store, issuer) as (client, _):
        assert (await who(client, issuer.token())).status_code == 200
        for name, token, detail in forged(issuer):
            answer = await client.post(TASKS, json={"type": "t"}, headers=bearer(token))
            assert answer.status_code == 401, (name, answer.text)
            assert detail in answer.json()["detail"], (name, answer.json()["detail"])
            assert 'error="invalid_token"' in answer.headers["www-authenticate"], name
        stats = await store.stats()
        assert stats.counts["submitted"] == 0


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("is for encryption", lambda key: {**key, "use": "enc"}),
        ("is for another algorithm", lambda key: {**key, "alg": "RS512"}),
        ("is a shared secret", lambda key: {"kty": "oct", "k": "c2VjcmV0", "kid": key["kid"]}),
    ],
)
async def test_a_key_of_the_issuer_is_used_for_nothing_else_than_it_is_for(
    store: RedisStore, issuer: Issuer, what: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    key = issuer.keys[0]
    issuer.keys[0] = change(key.jwk())  # type: ignore[call-overload]
    async with opened(store, issuer) as (client, _):
        assert (await who(client, key.sign(issuer.claims()))).status_code == 401
        assert (await who(client, with_secret(issuer.claims(), b"secret", kid=key.kid))).status_code == 401
        assert (await who(client, issuer.keys[1].sign(issuer.claims()))).status_code == 200


async def test_a_weak_key_is_not_used(store: RedisStore, issuer: Issuer) -> None:
    weak = SigningKey.rsa("weak", bits=1024)
    issuer.keys.append(weak)
    async with opened(store, issuer) as (client, _):
        assert (await who(client, weak.sign(issuer.claims()))).status_code == 401


async def test_a_clock_that_is_off_by_less_than_the_leeway_is_forgiven(store: RedisStore, issuer: Issuer) -> None:
    now = int(time.time())
    async with opened(store, issuer, leeway="2m") as (client, _):
        assert (await who(client, issuer.token(exp=now - 60))).status_code == 200
        assert (await who(client, issuer.token(nbf=now + 60))).status_code == 200
        assert (await who(client, issuer.token(exp=now - 130))).status_code == 401


async def test_a_verified_token_is_not_believed_beyond_its_end(store: RedisStore, issuer: Issuer) -> None:
    async with opened(store, issuer, leeway="0s") as (client, _):
        token = issuer.token(exp=int(time.time()) + 2)
        assert (await who(client, token)).status_code == 200

        async def ended() -> bool:
            return (await who(client, token)).status_code == 401

        await eventually(ended)
        assert "expired" in (await who(client, token)).json()["detail"]


async def test_keys_that_the_issuer_begins_to_use_are_found_and_those_it_gave_up_are_not(
    store: RedisStore, issuer: Issuer
) -> None:
    old, new = issuer.keys[0], SigningKey.rsa("rsa-2")
    async with opened(store, issuer) as (client, _):
        assert (await who(client, old.sign(issuer.claims()))).status_code == 200
        issuer.keys = [new]
        assert (await who(client, new.sign(issuer.claims()))).status_code == 200
        assert (await who(client, old.sign(issuer.claims(sub="another")))).status_code == 401


async def test_made_up_names_of_keys_do_not_make_the_gateway_call_the_issuer_each_time(
    store: RedisStore, issuer: Issuer
) -> None:
    async with opened(store, issuer) as (client, access):
        access.issuers[0]._unknown_pause = 3600.0
        before = issuer.asked["/keys"]
        tokens = [issuer.keys[0].sign(issuer.claims(), kid=f"made-up-{i}") for i in range(50)]
        answers = await asyncio.gather(*(who(client, token) for token in tokens))
        assert {answer.status_code for answer in answers} == {401}
        assert issuer.asked["/keys"] == before


async def test_many_who_come_with_a_new_key_at_once_have_it_read_once(store: RedisStore, issuer: Issuer) -> None:
    async with opened(store, issuer) as (client, _):
        new = SigningKey.ec("ec-2")
        issuer.keys.append(new)
        before = issuer.asked["/keys"]
        tokens = [new.sign(issuer.claims(sub=f"u{i}")) for i in range(30)]
        answers = await asyncio.gather(*(who(client, token) for token in tokens))
        assert {answer.status_code for answer in answers} == {200}
        assert issuer.asked["/keys"] == before + 1


async def test_while_the_issuer_is_away_known_keys_hold_and_without_any_the_answer_is_to_try_again(
    store: RedisStore, issuer: Issuer
) -> None:
    issuer.status = 500
    async with opened(store, issuer, wait=False) as (client, access):
        answer = await who(client, issuer.token())
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:laneway:problem:auth-unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        (note,) = (await client.get("/readyz")).json()["notes"]
        assert f"OpenID Connect issuer {issuer.url}: its keys can't be read" in note and "answers 500" in note
        assert await metric(client, "laneway_auth_source_failing", source=issuer.url) == 1
        issuer.status = 200
        assert (await who(client, issuer.token())).status_code == 200
        assert (await client.get("/readyz")).json()["notes"] == []
        issuer.status = 500
        assert not await access.issuers[0].read()
        assert (await who(client, issuer.token(sub="another"))).status_code == 200


async def test_tokens_that_are_known_are_let_in_from_an_address_whose_other_tokens_have_to_wait(
    store: RedisStore, issuer: Issuer
) -> None:
    oidc = {"issuer": issuer.url, "audiences": [AUDIENCE], "grants": GRANTS}
    async with guarded(store, {"oidc": [oidc], "failures": {"perMinute": 1, "burst": 2}}) as (client, access):

        async def read() -> bool:
            return access.issuers[0].amiss is None

        await eventually(read)
        known = issuer.token()
        assert (await who(client, known)).status_code == 200
        bad = [(await who(client, issuer.token(aud="billing", sub=f"u{i}"))).status_code for i in range(4)]
        assert bad == [401, 401, 429, 429]
        assert (await who(client, known)).status_code == 200
        waiting = await who(client, issuer.token(sub="new"))
        assert (waiting.status_code, waiting.json()["type"]) == (429, "urn:laneway:problem:too-many-failures")


async def test_an_issuer_with_an_authority_of_its_own_is_believed_only_when_that_is_given(
    store: RedisStore, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "stranger")
    with running_issuer(authority.issue("issuer", hosts=["127.0.0.1"])) as issuer:
        async with opened(store, issuer, caBundle=authority.cert.read_text()) as (client, _):
            assert (await who(client, issuer.token())).status_code == 200
        for more in ({}, {"caBundle": stranger.cert.read_text()}):
            async with opened(store, issuer, wait=False, **more) as (client, access):
                assert not await access.issuers[0].read()
                assert "CERTIFICATE_VERIFY_FAILED" in (access.issuers[0].amiss or "")
                assert (await who(client, issuer.token())).status_code == 503


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"issuer": "https://evil.example.org"}, "the issuer calls itself 'https://evil.example.org'"),
        ({"jwks_uri": 7}, "its jwks_uri must be an https:// URL"),
    ],
)
async def test_a_discovery_document_that_can_not_be_right_is_not_believed(
    store: RedisStore, issuer: Issuer, says: dict[str, Any], why: str
) -> None:
    issuer.says = says
    async with opened(store, issuer, wait=False) as (client, access):
        assert not await access.issuers[0].read()
        assert why in (access.issuers[0].amiss or "")
        assert (await who(client, issuer.token())).status_code == 503
