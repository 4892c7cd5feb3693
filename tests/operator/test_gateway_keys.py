"""A queue's HTTP API is closed by default: the operator makes keys for it once, and its gateways get the hashes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from tests.operator.running import World, until

from laneway.gateway.auth.keys import KeyRing
from laneway.model.apikeys import KeyFile
from laneway.model.auth import AuthSettings
from servers.redis import RedisServer

Object = dict[str, Any]


@pytest.fixture
def redis(redis7: RedisServer) -> RedisServer:
    redis7.ensure()
    return redis7


def apply(world: World, redis: RedisServer, name: str, **gateway: Any) -> None:
    world.create("TaskQueue", name, {"redis": {"url": redis.url}, "gateway": gateway})


def pod_of(world: World, name: str) -> Object:
    found = until("the gateway is there", lambda: world.find("Deployment", f"laneway-{name}-gateway"))
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def auth_of(pod: Object) -> str:
    (said,) = [one["value"] for one in pod["containers"][0]["env"] if one["name"] == "LANEWAY_AUTH"]
    return str(said)


def values(secret: Object) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_a_queue_that_says_nothing_gets_a_key_for_each_role_and_gateways_that_know_the_hashes_alone(
    world: World, redis: RedisServer
) -> None:
    apply(world, redis, "silent")
    world.run_queue("silent")
    secret = world.get("Secret", "silent-gateway-keys")
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("TaskQueue", "silent", True)
    data = values(secret)
    assert set(data) == {"admin", "operator", "submitter", "viewer", "keys.yaml"}
    file = KeyFile.model_validate(yaml.safe_load(data["keys.yaml"]))
    ring = KeyRing({entry.id: entry for entry in file.keys})
    for role in ("admin", "operator", "submitter", "viewer"):
        identity = ring.verify(data[role], datetime.now(UTC))
        assert (identity.role, identity.name, identity.tenants) == (role, f"silent-{role}", None)
        assert data[role].rsplit("_", 1)[1] not in data["keys.yaml"]

    pod = pod_of(world, "silent")
    settings = AuthSettings.model_validate(json.loads(auth_of(pod)))
    assert settings.keys is not None and settings.keys.path == "/etc/laneway/keys/keys.yaml"
    (volume,) = [one for one in pod["volumes"] if one["name"] == "keys"]
    assert volume["secret"]["secretName"] == "silent-gateway-keys"
    assert volume["secret"]["items"] == [{"key": "keys.yaml", "path": "keys.yaml"}]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "keys"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/laneway/keys", True)
    assert "silent-gateway-keys" not in str(pod["containers"][0].get("envFrom", "")) + str(pod["containers"][0]["env"])
    assert {reason for _, reason, _ in world.events("silent")} >= {"KeysMade"}


def test_what_is_in_the_secret_is_never_changed(world: World, redis: RedisServer) -> None:
    apply(world, redis, "kept")
    world.run_queue("kept")
    mine = yaml.safe_dump({"keys": []})
    world.patch("Secret", "kept-gateway-keys", {"stringData": {"keys.yaml": mine}, "data": {"admin": None}})
    before = world.get("Secret", "kept-gateway-keys")
    world.patch("TaskQueue", "kept", {"spec": {"gateway": {"replicas": 2}}})
    until("the change is carried out", lambda: world.applied("TaskQueue", "kept"))
    after = world.get("Secret", "kept-gateway-keys")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert values(after)["keys.yaml"] == mine


def test_a_secret_that_was_deleted_is_made_anew_with_other_keys(world: World, redis: RedisServer) -> None:
    apply(world, redis, "anew")
    world.run_queue("anew")
    before = values(world.get("Secret", "anew-gateway-keys"))
    world.delete("Secret", "anew-gateway-keys")
    world.patch("TaskQueue", "anew", {"spec": {"gateway": {"replicas": 2}}})
    after = values(until("there are keys again", lambda: world.find("Secret", "anew-gateway-keys")))
    assert set(after) == set(before)
    assert after["admin"] != before["admin"]


def test_a_secret_of_that_name_without_hashes_is_left_alone_and_told(world: World, redis: RedisServer) -> None:
    world.secret("taken-gateway-keys", other="x")
    apply(world, redis, "taken")
    told = world.told("TaskQueue", "taken", "GatewayAvailable", "False", "SecretNotFound")
    assert "key keys.yaml of Secret taken-gateway-keys" in told["message"]
    assert values(world.get("Secret", "taken-gateway-keys")) == {"other": "x"}
    world.patch("Secret", "taken-gateway-keys", {"stringData": {"keys.yaml": "keys: []"}})
    world.run_queue("taken")


def test_keys_of_ones_own_are_used_and_none_are_made(world: World, redis: RedisServer) -> None:
    apply(world, redis, "own", auth={"keys": {"secretRef": {"name": "own-keys", "key": "api.yaml"}}})
    told = world.told("TaskQueue", "own", "GatewayAvailable", "False", "SecretNotFound")
    assert "Secret own-keys" in told["message"]
    world.secret("own-keys", api_yaml="keys: []")
    world.run_queue("own")
    pod = pod_of(world, "own")
    (volume,) = [one for one in pod["volumes"] if one["name"] == "keys"]
    assert volume["secret"]["secretName"] == "own-keys"
    assert volume["secret"]["items"] == [{"key": "api.yaml", "path": "keys.yaml"}]
    assert world.find("Secret", "own-gateway-keys") is None


def test_a_queue_for_everybody_has_to_say_so_and_gets_no_keys(world: World, redis: RedisServer) -> None:
    apply(world, redis, "public", auth={"mode": "None"})
    world.run_queue("public")
    pod = pod_of(world, "public")
    assert auth_of(pod) == "none"
    assert [one["name"] for one in pod["volumes"]] == ["tmp"]
    assert world.find("Secret", "public-gateway-keys") is None


def test_issuers_and_token_reviews_reach_the_gateway_as_they_are_written(world: World, redis: RedisServer) -> None:
    oidc = {
        "issuer": "https://login.example.org/realms/a", "audiences": ["laneway"], "leeway": "5s",
        "grants": [{"claim": "groups", "value": "ops", "role": "admin"}, {"role": "viewer", "tenants": ["acme"]}],
    }  # fmt: skip
    review = {"audiences": ["laneway"], "grants": [{"group": "system:serviceaccounts:shop", "role": "submitter"}]}
    account = {"serviceAccountName": "gateway"}
    apply(world, redis, "federated", auth={"oidc": [oidc], "tokenReview": review}, pod=account)
    world.run_queue("federated")
    pod = pod_of(world, "federated")
    document = json.loads(auth_of(pod))
    assert document == {"oidc": [oidc], "tokenReview": review}
    assert AuthSettings.model_validate(document).keys is None
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("gateway", True)
    assert world.find("Secret", "federated-gateway-keys") is None
