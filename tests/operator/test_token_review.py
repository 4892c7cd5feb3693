"""Tokens of Kubernetes over a gateway, with a real API server that says whose they are."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import yaml
from tests.contract.credentials import bearer, guarded
from tests.contract.gateways import TASKS, eventually, metric, open_store

from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.gateway.auth.access import Access
from laneway.model.auth import AuthSettings
from servers.certificates import Authority
from servers.envtest import Envtest
from servers.redis import RedisServer

WHOAMI = "/api/v1/whoami"
AUDIENCE = "laneway"


@pytest.fixture
async def store(redis7: RedisServer, namespace: str) -> AsyncIterator[RedisStore]:
    redis7.ensure()
    store = await open_store(redis7.url, queue=namespace)
    yield store
    await store.close()


class Accounts:
    """Service accounts of one namespace, and tokens of them."""

    def __init__(self, envtest: Envtest, namespace: str) -> None:
        self.envtest = envtest
        self.namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/serviceaccounts"

    def make(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        self.envtest.admin.request("POST", self._path, body)

    def token(self, name: str, *audiences: str, seconds: int = 3600) -> str:
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = list(audiences)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.envtest.admin.request("POST", f"{self._path}/{name}/token", body)
        return str(answer["status"]["token"])

    def delete(self, name: str) -> None:
        self.envtest.admin.request("DELETE", f"{self._path}/{name}")

    def allow_reviews(self, name: str) -> None:
        """Binds the role that the chart's value tokenReview grants."""
        role = f"reviews-{self.namespace}"
        group = "/apis/rbac.authorization.k8s.io/v1"
        rules = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
        meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": role}}
        self.envtest.admin.request("POST", f"{group}/clusterroles", {**meta, "kind": "ClusterRole", "rules": rules})
        binding = {
            **meta, "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": self.namespace, "name": name}],
        }  # fmt: skip
        self.envtest.admin.request("POST", f"{group}/clusterrolebindings", binding)

    def user(self, name: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{name}"


@pytest.fixture
def accounts(envtest: Envtest, namespace: str) -> Accounts:
    accounts = Accounts(envtest, namespace)
    for name in ("gateway", "shop", "ops", "nobody"):
        accounts.make(name)
    return accounts


@pytest.fixture
def files(accounts: Accounts, tmp_path: Path) -> Path:
    """A folder like that of a pod's service account, of one that may review tokens."""
    accounts.allow_reviews("gateway")
    (tmp_path / "token").write_text(accounts.token("gateway"))
    config = yaml.safe_load(accounts.envtest.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return tmp_path


@asynccontextmanager
async def opened(
    store: RedisStore, accounts: Accounts, files: Path, **more: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Access]]:
    review = {
        "server": accounts.envtest.url,
        "tokenFile": str(files / "token"),
        "caFile": str(files / "ca.crt"),
        "audiences": [AUDIENCE],
        "grants": [
            {"user": accounts.user("ops"), "role": "admin"},
            {"user": accounts.user("nobody-at-all"), "role": "admin"},
            {"user": accounts.user("shop"), "role": "submitter", "tenants": ["shop"], "payloads": True},
            {"group": f"system:serviceaccounts:{accounts.namespace}", "role": "viewer"},
        ],
        **more,
    }
    async with guarded({"mail": store}, {"tokenReview": review}) as opened:
        yield opened


async def who(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(WHOAMI, headers=bearer(token))


async def test_service_accounts_get_what_is_granted_to_user_or_group(
    store: RedisStore, accounts: Accounts, files: Path
) -> None:
    async with opened(store, accounts, files) as (client, _):
        for name, role, tenants in (
            ("ops", "admin", None),
            ("shop", "submitter", ["shop"]),
            ("nobody", "viewer", None),
        ):
            token = accounts.token(name, AUDIENCE)
            body = (await who(client, token)).json()
            assert (body["name"], body["role"], body["tenants"]) == (accounts.user(name), role, tenants)
            assert body["auth"] == "tokenreview"
            claims = jwt.decode(token, options={"verify_signature": False})
            assert time.time() < claims["exp"]
            assert body["expiresAt"] is not None
        shop = bearer(accounts.token("shop", AUDIENCE))
        sent = await client.post(TASKS, json={"type": "t", "payload": {"n": 1}}, headers=shop)
        assert sent.status_code == 201
        got = (await client.get(sent.headers["location"], headers=shop)).json()
        assert (got["tenant"], got["payload"]) == ("shop", {"n": 1})


async def test_tokens_for_others_of_strangers_and_of_nobody_are_refused(
    store: RedisStore, accounts: Accounts, files: Path
) -> None:
    good = accounts.token("ops", AUDIENCE)
    head, body, _ = good.split(".")
    table = [
        ("for the API server", accounts.token("ops")),
        ("for another audience", accounts.token("ops", "billing")),
        ("with another signature", f"{head}.{body}.{accounts.token('shop', AUDIENCE).split('.')[2]}"),
        ("with no signature", f"{head}.{body}."),
        ("no token of Kubernetes", "not-a-token"),
    ]
    async with opened(store, accounts, files) as (client, access):
        assert (await who(client, good)).status_code == 200
        for name, token in table:
            answer = await who(client, token)
            assert answer.status_code == 401, (name, answer.text)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert access.reviews is not None
        asked = access.reviews.asked
        for _ in range(20):
            assert (await who(client, table[0][1])).status_code == 401
        assert access.reviews.asked == asked, "what was refused a moment ago is not asked for again"


async def test_a_deleted_account_is_refused_once_the_answer_is_forgotten(
    store: RedisStore, accounts: Accounts, files: Path
) -> None:
    token = accounts.token("ops", AUDIENCE)
    async with opened(store, accounts, files, cache="1s") as (client, access):
        assert access.reviews is not None
        answers = await asyncio.gather(*(who(client, token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert access.reviews.asked == 1, "those who come at once with one token have it asked for once"
        accounts.delete("ops")

        async def refused() -> bool:
            answer = await who(client, token)
            assert answer.status_code in (200, 401), answer.text
            return answer.status_code == 401

        await eventually(refused, within=30)
        assert (await who(client, token)).status_code == 401


async def test_a_gateway_that_may_not_ask_says_so_and_judges_nobody(
    store: RedisStore, accounts: Accounts, files: Path
) -> None:
    (files / "token").write_text(accounts.token("shop"))
    token = accounts.token("ops", AUDIENCE)
    async with opened(store, accounts, files) as (client, _):
        answer = await who(client, token)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:laneway:problem:auth-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        (note,) = (await client.get("/readyz")).json()["notes"]
        assert "bind its service account to the ClusterRole system:auth-delegator" in note
        assert await metric(client, "laneway_auth_source_failing", source="tokenreview") == 1
        (files / "token").write_text(accounts.token("gateway"))
        assert (await who(client, token)).status_code == 200, "the file is read anew, as the kubelet renews it"
        assert (await client.get("/readyz")).json()["notes"] == []


async def test_an_api_server_that_is_away_is_told_as_such(store: RedisStore, accounts: Accounts, files: Path) -> None:
    async with opened(store, accounts, files, server="https://127.0.0.1:1") as (client, _):
        answer = await who(client, "a.b.c")
        assert answer.status_code == 503
        assert "can't be asked about this token now" in answer.json()["detail"]


async def test_a_server_that_another_authority_vouches_for_is_not_believed(
    store: RedisStore, accounts: Accounts, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    async with opened(store, accounts, files, caFile=str(other.cert)) as (client, _):
        assert (await who(client, accounts.token("ops", AUDIENCE))).status_code == 503
        assert "CERTIFICATE_VERIFY_FAILED" in str((await client.get("/readyz")).json()["notes"])


def test_outside_a_cluster_the_server_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings = AuthSettings.model_validate({"tokenReview": {"grants": [{"user": "u", "role": "viewer"}]}})
    with pytest.raises(ConfigError, match="name the API server with server, tokenFile and caFile"):
        Access(settings)
