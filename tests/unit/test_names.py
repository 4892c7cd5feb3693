"""Names and quantities: what is accepted, and what the refusal of others says."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.kit import names
from laneway.kit.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    duration_ms,
    duration_text,
    size_bytes,
    size_text,
)


@pytest.mark.parametrize("check", [names.queue_name, names.lane_name, names.namespace_name, names.dns_label])
@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "x" * 63])
def test_dns_labels_are_names_of_queues_lanes_and_namespaces(check: Callable[[str], str], name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("", None),
        ("-", None),
        ("{a}", "a"),
        ("a:b", "a-b"),
        ("a\n", "a"),
        ("Straße 7", "strae-7"),
        ("Zürich", "zurich"),
        ("x" * 64, "x" * 63),
        ("٣", None),
    ],
)
def test_other_names_of_queues_are_refused_with_one_that_would_do(name: str, better: str | None) -> None:
    with pytest.raises(ValueError, match="the name of a queue has 1 to 63 of the characters a-z, 0-9") as refused:
        names.queue_name(name)
    suggested = re.search(r"; '(.*)' would do$", str(refused.value))
    assert (suggested and suggested[1]) == better
    if better is not None:
        assert names.queue_name(better) == better


@pytest.mark.parametrize("name", ["", "a", "A.b_C-9", ".", "x" * 63])
def test_tenants_have_names_with_letters_digits_and_three_signs_or_none(name: str) -> None:
    assert names.tenant_name(name) == name


@pytest.mark.parametrize("name", ["a b", "a\0", "a\n", "a/b", "x" * 64, "é"])
def test_other_names_of_tenants_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"the name of a tenant has 1 to 63 of the characters A-Z, a-z, 0-9"):
        names.tenant_name(name)


@given(st.text(max_size=80))
def test_a_name_is_accepted_exactly_when_the_pattern_for_api_servers_matches_it(text: str) -> None:
    def accepted(check: Callable[[str], str]) -> bool:
        try:
            check(text)
        except ValueError:
            return False
        return True

    # In these patterns Python's $ also matches before a last newline; that of API servers does not.
    label = re.fullmatch(names.LABEL_PATTERN.rstrip("$"), text) is not None and len(text) <= 63
    assert accepted(names.queue_name) == label
    assert accepted(names.tenant_name) == (re.fullmatch(names.TENANT_PATTERN.rstrip("$"), text) is not None)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0s", 0), ("250ms", 250), ("90s", 90_000), ("1h30m", 5_400_000), ("1h1m1s1ms", 3_661_001), ("168h", 604_800_000)],
)
def test_durations_are_read(text: str, ms: int) -> None:
    assert duration_ms(text) == ms
    assert re.fullmatch(DURATION_PATTERN, text)


@pytest.mark.parametrize("text", ["", "s", "1", "-1s", "1s1m", "1 s", "1S", "1s\n", "1d", "1.5h", "٣s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration of whole h, m, s and ms"):
        duration_ms(text)


@given(st.integers(0, 10**12))
def test_the_text_of_a_duration_is_read_as_the_same_duration(ms: int) -> None:
    assert duration_ms(duration_text(ms)) == ms


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 0), ("0", 0), (4096, 4096), ("1k", 1000), ("64Ki", 65_536), ("1M", 10**6), ("2Gi", 2**31), ("1Ti", 2**40)],
)
def test_sizes_are_read(value: int | str, size: int) -> None:
    assert size_bytes(value) == size
    assert isinstance(value, int) or re.fullmatch(SIZE_PATTERN, value)


@pytest.mark.parametrize("text", ["", "Ki", "1K", "1MB", "-1", "1.5Mi", "1 Mi", "1e3", "1Mi\n"])
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="must be whole bytes, or a number with k, M, G, Ki, Mi or Gi"):
        size_bytes(text)


@given(st.integers(0, 2**50))
def test_the_text_of_a_size_is_read_as_the_same_size(size: int) -> None:
    assert size_bytes(size_text(size)) == size
