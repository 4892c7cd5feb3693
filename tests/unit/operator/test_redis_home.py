"""Where a queue's data is, whatever its URL looks like."""

from __future__ import annotations

import pytest

from laneway.model.servers import RedisServer
from laneway_operator.plan.redis_home import RedisHome, abandons, address_of, home_of


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://r", "r:6379/0"),
        ("redis://R:6379/0", "r:6379/0"),
        ("rediss://u:p@r:6379", "r:6379/0"),
        ("redis://r:7000/5", "r:7000/5"),
        ("redis://[::1]:7000", "[::1]:7000/0"),
    ],
)
def test_an_address_has_neither_credentials_nor_tls_but_its_database(url: str, address: str) -> None:
    assert address_of(RedisServer(url)) == address


def test_another_password_is_no_other_address() -> None:
    one, other = RedisServer("redis://r", password="a"), RedisServer("rediss://r", username="u", password="b")
    assert address_of(one) == address_of(other)


def test_only_the_former_address_in_the_annotation_lets_its_data_be_left() -> None:
    home = RedisHome("r:6379/0", "x")
    for said, wanted in (("r:6379/0", True), ("other:6379/0", False), ("true", False)):
        body = {"metadata": {"annotations": {"laneway.dev/abandon-data": said}}, "status": {"redis": home.status()}}
        assert home_of(body) == home
        assert abandons(body, home) is wanted
    assert not abandons({"metadata": {}}, home)
    assert home_of({"metadata": {}}) is None
