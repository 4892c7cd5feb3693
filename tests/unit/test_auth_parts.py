"""The parts of authentication that decide: failures by address, addresses behind proxies, grants, roles, documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from laneway.adapters.auth_files import load_auth
from laneway.errors import ConfigError
from laneway.gateway.auth.address import Addresses
from laneway.gateway.auth.cache import TokenCache, digest
from laneway.gateway.auth.failures import FailureLimit
from laneway.gateway.auth.grants import identity, of_user
from laneway.gateway.auth.identity import ANONYMOUS_ADMIN, NOBODY, identity_of, visible
from laneway.gateway.auth.local import LocalGuard, is_loopback, require_loopback
from laneway.gateway.auth.permissions import GRANTS, KNOWN, PUBLIC, Permission, Role, needed
from laneway.gateway.problems import Problem
from laneway.model.apikeys import key_hash, key_id, mint
from laneway.model.manifests.gatewayauth import Failures, ReviewGrant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(headers: dict[str, str] | None = None, client: str | None = "192.0.2.1") -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    peer = (client, 4711) if client else None
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": peer, "query_string": b""})


# -- failures


def test_an_address_may_fail_so_often_and_then_so_often_a_minute() -> None:
    clock = Clock()
    limit = FailureLimit(Failures(perMinute=6, burst=3), clock)
    for _ in range(3):
        assert limit.wait("192.0.2.1") == 0
        limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") == pytest.approx(10)
    assert limit.wait("192.0.2.2") == 0, "another address is not held to account"
    clock.now += 4
    assert limit.wait("192.0.2.1") == pytest.approx(6)
    clock.now += 6.1
    assert limit.wait("192.0.2.1") == 0
    clock.now += 3600
    assert limit.wait("192.0.2.1") == 0
    assert len(limit) == 0, "who has not failed for long is forgotten"


def test_failing_on_while_limited_does_not_make_the_wait_longer() -> None:
    clock = Clock()
    limit = FailureLimit(Failures(perMinute=60, burst=1), clock)
    for _ in range(100):
        limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") <= 1.0


def test_memory_is_bounded_whoever_comes() -> None:
    limit = FailureLimit(Failures(), Clock(), most=100)
    for n in range(1_000):
        limit.failed(f"192.0.{n // 256}.{n % 256}")
    assert len(limit) == 100


def test_all_addresses_of_one_network_of_ipv6_are_one() -> None:
    limit = FailureLimit(Failures(perMinute=1, burst=1), Clock())
    limit.failed("2001:db8:0:1::1")
    assert limit.wait("2001:db8:0:1:ffff::2") > 0
    assert limit.wait("2001:db8:0:2::1") == 0
    limit.failed("::ffff:192.0.2.1")
    assert limit.wait("192.0.2.1") > 0


def test_tokens_are_remembered_until_their_time_and_no_more_than_so_many() -> None:
    clock = Clock()
    cache: TokenCache[str] = TokenCache(clock, most=2)
    cache.put(digest("a"), "ann", clock.now + 10)
    assert cache.get(digest("a")) == "ann"
    clock.now += 10
    assert cache.get(digest("a")) is None
    cache.put(digest("past"), "x", clock.now)
    assert len(cache) == 0
    for token in ("b", "c", "d"):
        cache.put(digest(token), token, clock.now + 10)
    assert [cache.get(digest(token)) for token in ("b", "c", "d")] == [None, "c", "d"]


# -- addresses


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "wanted"),
    [
        ([], "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (["10.0.0.0/8"], "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (["10.0.0.0/8"], "10.1.2.3", "198.51.100.7", "198.51.100.7"),
        (["10.0.0.0/8"], "10.1.2.3", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (["10.0.0.0/8"], "10.1.2.3", "198.51.100.7, 10.9.9.9", "198.51.100.7"),
        (["10.0.0.0/8"], "10.1.2.3", "10.9.9.9", "10.9.9.9"),
        (["10.0.0.0/8"], "10.1.2.3", "not an address", "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", "198.51.100.7, x", "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", "", "10.1.2.3"),
        (["fd00::/8"], "fd00::1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_has(
    proxies: list[str], peer: str, forwarded: str, wanted: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert Addresses(proxies).of(request(headers, peer)) == wanted


def test_a_client_at_a_socket_has_no_address() -> None:
    assert Addresses().of(request(client=None)) == "unix"


# -- loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "unix:/tmp/x"])
def test_loopback_needs_no_authentication(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "nosuch.invalid"])
def test_elsewhere_it_has_to_be_said_who_may_come(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match=r"laneway keys create.*--auth FILE.*127\.0\.0\.1.*--auth none"):
        require_loopback(host)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "127.0.0.1:8080"}, True),
        ({"Host": "localhost"}, True),
        ({"Host": "laneway.localhost:80"}, True),
        ({"Host": "[::1]:8080"}, True),
        ({"Host": "localhost", "Origin": "http://localhost:5173"}, True),
        ({}, True),
        ({"Host": "evil.example.org"}, False),
        ({"Host": "127.0.0.1.evil.example.org"}, False),
        ({"Host": "localhost", "Origin": "https://evil.example.org"}, False),
        ({"Host": "localhost", "Origin": "null"}, False),
    ],
)
async def test_pages_of_other_sites_do_not_use_a_gateway_that_asks_nobody(
    headers: dict[str, str], allowed: bool
) -> None:
    if allowed:
        assert await LocalGuard().identify(request(headers), public=False) == ANONYMOUS_ADMIN
    else:
        with pytest.raises(Problem) as caught:
            await LocalGuard().identify(request(headers), public=False)
        assert caught.value.kind.status == 403


# -- roles and grants


def test_each_role_has_what_the_docs_say() -> None:
    has = {role.value: sorted(permissions) for role, permissions in GRANTS.items()}
    assert has == {
        "viewer": ["lookup", "read"],
        "submitter": ["lookup", "submit"],
        "operator": ["lookup", "operate", "payloads", "read", "submit"],
        "admin": ["admin", "lookup", "operate", "payloads", "read", "submit"],
    }
    page = (Path(__file__).parents[2] / "docs" / "reference" / "auth.md").read_text()
    page = page.partition("## Roles")[2].partition("##")[0]
    for permission in Permission:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{permission.value}` |")]
        marks = [mark.strip() for mark in line.strip("|").split("|")[2:]]
        assert dict(zip(has, [mark == "yes" for mark in marks], strict=True)) == {
            role: permission.value in permissions for role, permissions in has.items()
        }, permission


def test_what_a_route_needs_is_known_by_name() -> None:
    assert needed("read") is Permission.READ
    assert (needed(KNOWN), needed(PUBLIC)) == (None, None)
    with pytest.raises(ValueError, match="there is no permission 'write'"):
        needed("write")


def test_one_who_is_bound_sees_only_its_tenants() -> None:
    bound = identity("a", "viewer", auth="key", tenants=["acme"])
    assert (visible(bound, "acme"), visible(bound, "beta"), visible(bound, "")) == (True, False, False)
    assert visible(ANONYMOUS_ADMIN, "anything")
    assert not any(NOBODY.can(permission) for permission in Permission)


def test_names_in_logs_are_one_line_and_not_long() -> None:
    made = identity("ann\n{evil}\x1b[2J" + "x" * 1000, Role.VIEWER, auth="oidc")
    assert made.name.startswith("ann?{evil}?[2J") and len(made.name) == 200


def test_the_first_grant_that_fits_a_user_holds() -> None:
    grants = [ReviewGrant(user="u", role="admin"), ReviewGrant(group="g", role="viewer")]
    assert of_user("u", ["g"], grants) == grants[0]
    assert of_user("v", ["f", "g"], grants) == grants[1]
    assert of_user("v", ["f"], grants) is None


def test_a_handler_that_was_reached_past_endpoint_knows_nobody() -> None:
    with pytest.raises(RuntimeError, match=r"past endpoint\(\)"):
        identity_of(request())


# -- keys


def test_keys_are_random_and_of_the_form_that_is_taken() -> None:
    made = [mint("n", "viewer") for _ in range(50)]
    assert len({key for key, _ in made}) == len({entry.id for _, entry in made}) == 50
    for key, entry in made:
        assert key_id(key) == entry.id and key_hash(key) == entry.hash and len(key) == 68
        assert key.rsplit("_", 1)[1] not in json.dumps(entry.model_dump())


# -- the document


def refusal(said: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_auth(said)
    return str(caught.value)


def test_none_has_to_be_said_and_lets_everybody_in() -> None:
    assert load_auth("none").mode == "None"
    assert load_auth("NONE").mode == "None"
    assert load_auth('{"mode": "None"}').mode == "None"


def test_a_file_in_yaml_is_read_and_its_paths_are_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "auth.yaml"
    file.write_text("keys: {path: keys.yaml}\naudit: {file: /var/log/audit.jsonl, submissions: false}\n")
    settings = load_auth(str(file))
    assert settings.keys is not None and settings.keys.path == str(tmp_path / "keys.yaml")
    assert (settings.audit.file, settings.audit.submissions) == ("/var/log/audit.jsonl", False)


@pytest.mark.parametrize(
    ("document", "right"),
    [
        ({}, "must have at least one of keys, oidc and tokenReview; or set mode: None to let everybody in"),
        ({"mode": "None", "keys": {"path": "k"}}, "mode None serves everybody: leave out keys"),
        ({"key": {"path": "k"}}, "key: there is no such field; did you mean keys?"),
        ({"keys": "k"}, "keys: must be a map of path"),
        ({"keys": {"path": "k"}, "trustedProxies": ["10.0.0.0/40"]}, "trustedProxies[0]: must be an address or a net"),
        ({"oidc": [{"issuer": "http://i.example.org"}]}, "oidc[0].issuer: must be https://HOST"),
        ({"oidc": [{"issuer": "https://i", "audiences": ["a"]}]}, "oidc[0].grants: is missing: Who may do what"),
        (
            {"oidc": [{"issuer": "https://i", "audiences": ["a"], "grants": [{"role": "root"}]}]},
            "oidc[0].grants[0].role: must be one of viewer, submitter, operator, admin, not 'root'",
        ),
        (
            {"oidc": [{"issuer": "https://i", "audiences": ["a"], "algorithms": ["none"], "grants": []}]},
            "oidc[0].algorithms[0]: must be one of RS256",
        ),
        ({"tokenReview": {"grants": [{"role": "admin"}]}}, "must have exactly one of user and group"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_refused_with_what_would_be_right(
    document: dict[str, Any], right: str, tmp_path: Path
) -> None:
    assert right in refusal(json.dumps(document))
    (tmp_path / "auth.json").write_text(json.dumps(document))
    assert right in refusal(str(tmp_path / "auth.json"))


def test_what_is_no_document_is_told(tmp_path: Path) -> None:
    assert "there is no file" in refusal(str(tmp_path / "nothing.yaml"))
    assert "this is not JSON" in refusal("{keys")
    (tmp_path / "two.yaml").write_text("mode: None\n---\nmode: None\n")
    assert "must have one document, not 2" in refusal(str(tmp_path / "two.yaml"))
    (tmp_path / "bad.yaml").write_text("keys:\n  path: k\n  secret: s\n")
    assert "bad.yaml:3: keys.secret: there is no such field" in refusal(str(tmp_path / "bad.yaml"))
