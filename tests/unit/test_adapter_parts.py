"""Certificates and their renewal, the front proxy, and label selectors: what the adapter decides by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from laneway_operator.adapter.authority import Chain, Lifetimes, chain_of, renewed
from laneway_operator.adapter.front_proxy import NoFrontProxy, User, front_proxy_of
from laneway_operator.adapter.selector import parse_selector

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("laneway-adapter.laneway.svc", "laneway-adapter.laneway")
DAY = timedelta(days=1)


def leaf(chain: Chain) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain.cert)


def trusts(chain: Chain, bundle: tuple[bytes, ...]) -> bool:
    """Whether somebody who trusts ``bundle`` trusts what is served."""
    for ca in bundle:
        try:
            leaf(chain).verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
        except Exception:
            continue
        return True
    return False


@pytest.fixture(scope="module")
def first() -> Chain:
    return renewed(None, HOSTS, NOW)


def test_a_new_chain_has_the_hosts_and_is_trusted_by_its_own_bundle(first: Chain) -> None:
    names = leaf(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(HOSTS)
    assert trusts(first, first.bundle)
    assert "BEGIN" not in repr(first)


def test_a_chain_comes_back_whole_from_its_secret(first: Chain) -> None:
    assert chain_of(first.data()) == first


@pytest.mark.parametrize("part", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("value", [None, b"", b"nonsense"])
def test_a_secret_that_lacks_a_part_or_holds_nonsense_is_no_chain(first: Chain, part: str, value: bytes | None) -> None:
    data = first.data()
    if value is None:
        del data[part]
    else:
        data[part] = value
    assert chain_of(data) is None


def test_keys_that_do_not_fit_make_no_chain(first: Chain) -> None:
    other = renewed(None, HOSTS, NOW)
    assert chain_of({**first.data(), "tls.key": other.key}) is None
    assert chain_of({**first.data(), "ca.key": other.ca_key}) is None
    assert chain_of({**first.data(), "ca.crt": other.ca_bundle, "ca.key": other.ca_key}) is None


def test_nothing_is_renewed_before_its_time(first: Chain) -> None:
    assert renewed(first, HOSTS, NOW + 59 * DAY) is first


def test_a_certificate_is_renewed_by_the_same_authority_when_a_third_is_left(first: Chain) -> None:
    later = renewed(first, HOSTS, NOW + 61 * DAY)
    assert later.bundle == first.bundle and later.cert != first.cert
    assert leaf(later).not_valid_after_utc == NOW + 151 * DAY


def test_a_certificate_for_other_names_is_replaced(first: Chain) -> None:
    assert renewed(first, ("elsewhere.ns.svc",), NOW).cert != first.cert


def test_a_new_authority_is_trusted_first_and_used_later() -> None:
    lifetimes = Lifetimes(ca=30 * DAY, cert=30 * DAY)
    old = renewed(None, HOSTS, NOW, lifetimes)
    due = NOW + 21 * DAY
    both = renewed(old, HOSTS, due, lifetimes)
    assert len(both.bundle) == 2 and both.bundle[1:] == old.bundle
    assert both.cert == old.cert and trusts(both, old.bundle)
    soon = renewed(both, HOSTS, due + timedelta(minutes=9), lifetimes)
    assert soon is both
    used = renewed(both, HOSTS, due + timedelta(minutes=10), lifetimes)
    assert used.bundle == both.bundle
    assert trusts(used, used.bundle[:1]) and not trusts(used, old.bundle)


def test_an_old_authority_leaves_the_bundle_when_it_expires() -> None:
    lifetimes = Lifetimes(ca=30 * DAY, cert=20 * DAY)
    chain = renewed(None, HOSTS, NOW, lifetimes)
    for hours in range(0, 24 * 40, 6):
        now = NOW + timedelta(hours=hours)
        before, chain = chain, renewed(chain, HOSTS, now, lifetimes)
        assert trusts(chain, chain.bundle) and trusts(chain, before.bundle)
        assert leaf(chain).not_valid_after_utc > now
        assert len(chain.bundle) <= 2
    assert len(chain.bundle) == 1


def test_a_chain_that_nobody_looked_after_is_made_anew(first: Chain) -> None:
    later = renewed(first, HOSTS, NOW + 400 * DAY)
    assert len(later.bundle) == 1 and later.bundle != first.bundle
    assert trusts(later, later.bundle)


# -- the front proxy

CONFIG: dict[str, Any] = {
    "data": {
        "requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----",
        "requestheader-allowed-names": '["front-proxy", "aggregator"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
}


def subject(name: str) -> dict[str, Any]:
    return {"subject": ((("organizationName", "o"),), (("commonName", name),))}


def test_only_the_front_proxys_names_are_accepted() -> None:
    proxy = front_proxy_of(CONFIG)
    assert proxy.accepts(subject("front-proxy")) and proxy.accepts(subject("aggregator"))
    assert not proxy.accepts(subject("somebody")) and not proxy.accepts({}) and not proxy.accepts(None)


def test_without_allowed_names_any_certificate_of_the_authority_will_do() -> None:
    proxy = front_proxy_of({"data": {**CONFIG["data"], "requestheader-allowed-names": "[]"}})
    assert proxy.accepts(subject("somebody")) and not proxy.accepts(None)


def test_the_user_is_read_from_the_headers_that_the_cluster_names() -> None:
    headers = [
        ("x-remote-user", "jane"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-Scopes", "s1"),
        ("X-Remote-Extra-Scopes", "s2"),
        ("Other", "x"),
    ]
    assert front_proxy_of(CONFIG).user(headers) == User("jane", ("a", "b"), (("scopes", ("s1", "s2")),))
    assert front_proxy_of(CONFIG).user([("X-Forwarded-User", "jane")]) is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "has no requestheader-client-ca-file"),
        ({"requestheader-client-ca-file": " "}, "needs its aggregation layer"),
        ({**CONFIG["data"], "requestheader-allowed-names": "front-proxy"}, "must be a JSON list"),
        ({**CONFIG["data"], "requestheader-group-headers": '{"a": 1}'}, "must be a JSON list"),
    ],
)
def test_a_cluster_that_does_not_say_who_its_proxy_is_gets_an_error(data: dict[str, str] | None, says: str) -> None:
    with pytest.raises(NoFrontProxy, match=says):
        front_proxy_of(None if data is None else {"data": data})


# -- selectors

LABELS = {"pool": "mail", "queue": "q"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("pool=mail", True),
        ("pool==mail,queue=q", True),
        ("pool=other", False),
        ("pool!=other", True),
        ("pool!=mail", False),
        ("team!=a", True),
        ("pool in (mail, other),queue in (q)", True),
        ("pool in (a,b)", False),
        ("pool notin (a,b)", True),
        ("pool", True),
        ("!pool", False),
        ("!team", True),
        ("team", False),
        ("team=", False),
    ],
)
def test_selectors_match_as_kubernetes_has_them(text: str, matches: bool) -> None:
    assert parse_selector(text)(LABELS) is matches


@pytest.mark.parametrize("text", ["=", "pool=mail,", "pool in mail", "pool=a b", "pool in (a", "p o o l"])
def test_what_is_no_selector_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="pool=NAME or pool in"):
        parse_selector(text)
