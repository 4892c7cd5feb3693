"""Filters of tasks and the order of lists: what is read from a query or from JSON, what is refused and in which words,
and cursors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from laneway.kit.ids import id_text, new_task_ids
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.record import AttemptError, encode_error
from laneway.model.states import FINAL, State
from laneway.policy.filters import (
    NAMES,
    InvalidFilter,
    check_lanes,
    error_has,
    error_word,
    id_prefix_bytes,
    parse_filter,
    with_states,
    within_tenants,
    without_tracebacks,
)
from laneway.policy.listing import begin_of, cursor_text, read_cursor, rest_of, sort_of, stretches
from laneway.ports.browse import LIST_ORDER, Filter, Position, Sort

CONFIG = QueueConfig(lanes=(LaneConfig(n=2, name="high"), LaneConfig(n=1, name="default")))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, Filter()),
        ({"state": None, "q": None}, Filter()),
        ({"state": "dead,queued"}, Filter(states=(State.QUEUED, State.DEAD))),
        ({"state": ["dead", "dead"]}, Filter(states=(State.DEAD,))),
        ({"lane": "high,default"}, Filter(lanes=("default", "high"))),
        ({"type": "a\\,b,c"}, Filter(types=("a,b", "c"))),
        ({"type": ["a,b"]}, Filter(types=("a,b",))),
        ({"tenant": ""}, Filter(tenants=("",))),
        ({"label": "a:b:c"}, Filter(labels=(("a", "b:c"),))),
        ({"label": {"x": "1", "a": ""}}, Filter(labels=(("a", ""), ("x", "1")))),
        ({"createdFrom": "1970-01-01T00:00:01Z"}, Filter(created_from=1000)),
        ({"createdTo": "1970-01-01T01:00:00.0001+01:00"}, Filter(created_to=1)),
        ({"endedTo": datetime(1970, 1, 2, tzinfo=UTC)}, Filter(ended_to=86_400_000)),
        ({"error": "boom", "q": "06gm"}, Filter(error="boom", id_prefix="06gm")),
    ],
)
def test_a_filter_is_read_from_its_parts(given: dict[str, Any], wanted: Filter) -> None:
    assert parse_filter(given) == wanted


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"stat": "dead"}, "stat", "it has state, lane, type"),
        ({"state": "ded"}, "state", "running, dispatched, queued"),
        ({"state": ""}, "state", "one or more names"),
        ({"lane": ["a", 3]}, "lane", "one or more names"),
        ({"type": []}, "type", "one or more names"),
        ({"type": 7}, "type", "one or more names"),
        ({"tenant": [str(n) for n in range(101)]}, "tenant", "at most 100"),
        ({"label": "shop"}, "label", "name:value"),
        ({"createdFrom": "2030-01-31T08:00Z"}, "createdFrom", "like 2030-01-31T08:00:00Z"),
        ({"label": {}}, "label", "at least one label"),
        ({"label": []}, "label", "at least one label"),
        ({"label": ":x"}, "label", "name:value"),
        ({"label": {"a": 1}}, "label", "name:value"),
        ({"label": 3}, "label", "name:value"),
        ({"createdFrom": "yesterday"}, "createdFrom", "RFC 3339"),
        ({"createdFrom": "2030-01-31T08:00:00"}, "createdFrom", "with its zone"),
        ({"endedFrom": "2030-13-31T08:00:00Z"}, "endedFrom", "RFC 3339"),
        ({"endedFrom": 5}, "endedFrom", "RFC 3339"),
        (
            {"endedFrom": "2030-01-31T08:00:00Z", "endedTo": "2030-01-31T08:00:00Z"},
            "endedTo", "after endedFrom",
        ),
        ({"error": ""}, "error", "1 to 500"),
        ({"q": "XYZ"}, "q", "0-9 and a-v"),
        ({"q": "0" * 24}, "q", "1 to 23"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_would_be_right(given: dict[str, Any], name: str, words: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter(given)
    (error,) = refused.value.errors
    assert error[0] == name
    assert words in error[1]


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse_filter({"state": "x", "q": "!", "label": "y"})
    assert {name for name, _ in refused.value.errors} == {"state", "q", "label"}
    assert set(NAMES) == {
        "state", "lane", "type", "tenant", "label", "createdFrom", "createdTo", "endedFrom", "endedTo", "error", "q",
    }  # fmt: skip


def test_a_lane_that_the_queue_lacks_is_refused_with_those_that_it_has() -> None:
    check_lanes(Filter(lanes=("high",)), CONFIG)
    with pytest.raises(InvalidFilter, match="no lane 'higt'; the lanes of this queue are high, default"):
        check_lanes(Filter(lanes=("higt",)), CONFIG)


def test_a_credential_bound_to_tenants_narrows_any_filter() -> None:
    assert within_tenants(Filter(types=("t",)), None) == Filter(types=("t",))
    assert within_tenants(Filter(), frozenset({"b", "a"})) == Filter(tenants=("a", "b"))
    assert within_tenants(Filter(tenants=("a", "c")), frozenset({"a", "b"})) == Filter(tenants=("a",))
    assert within_tenants(Filter(tenants=("c",)), frozenset({"a"})) == Filter(tenants=())
    assert stretches(Filter(tenants=()), Sort.STATES, CONFIG) == []


def test_a_filter_is_narrowed_to_states() -> None:
    assert with_states(Filter(), FINAL) == Filter(states=(State.DEAD, State.EXPIRED, State.CANCELLED, State.SUCCEEDED))
    assert with_states(Filter(states=(State.DEAD, State.QUEUED)), FINAL) == Filter(states=(State.DEAD,))
    assert with_states(Filter(states=(State.QUEUED,)), FINAL) is None


@pytest.mark.parametrize(
    ("states", "sort", "wanted"),
    [
        ("", "", Sort.STATES), ("dead", "", Sort.ENDED_LAST), ("dead,succeeded", "", Sort.ENDED_LAST),
        ("dead,queued", "", Sort.STATES), ("queued,parked", "next", Sort.NEXT), ("scheduled", "due", Sort.DUE),
        ("expired", "ended", Sort.ENDED), ("running", "-created", Sort.CREATED_LAST),
    ],
)  # fmt: skip
def test_an_order_that_is_possible_is_taken(states: str, sort: str, wanted: Sort) -> None:
    assert sort_of(sort, parse_filter({"state": states or None})) is wanted


@pytest.mark.parametrize(
    ("states", "sort", "words"),
    [
        ("", "-ended", "ended states"), ("dead,queued", "ended", "leave sort out"),
        ("queued", "created", "there is next"), ("scheduled", "created", "next, due"),
        ("dead", "next", "there is ended, -ended"), ("queued", "due", "for scheduled tasks"),
        ("dead", "states", "must be one of"), ("dead", "ENDED", "must be one of next, due, ended, -ended"),
    ],
)  # fmt: skip
def test_an_order_that_is_not_possible_is_refused_with_those_that_are(states: str, sort: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sort_of(sort, parse_filter({"state": states or None}))


def test_a_list_of_all_is_read_state_by_state_and_lane_by_lane() -> None:
    names = [stretch.name for stretch in stretches(Filter(), Sort.STATES, CONFIG)]
    assert names == [
        "running", "dispatched", "lane:2", "lane:1", "parked", "scheduled", "-dead", "-expired", "-cancelled",
        "-succeeded",
    ]  # fmt: skip
    assert {state for stretch in stretches(Filter(), Sort.STATES, CONFIG) for state in stretch.states} == set(
        LIST_ORDER
    ) - {State.BLOCKED}


def test_a_position_in_a_lane_that_was_removed_goes_on_with_what_follows_lanes() -> None:
    found = stretches(Filter(), Sort.STATES, CONFIG)
    (first, at), *rest = rest_of(found, Position("lane:1", 3.0, b"x"))
    assert (first.name, at) == ("lane:1", Position("lane:1", 3.0, b"x"))
    assert rest[0][0].name == "parked"
    assert rest_of(found, Position("lane:77", 3.0, b"x"))[0][0].name == "parked"
    assert rest_of(found, None)[0] == (found[0], None)
    assert begin_of(found[0]) == Position("running", 0.0, b"")


def test_a_cursor_belongs_to_its_filter_and_order() -> None:
    wanted, at = Filter(types=("a",)), Position("lane:1", 2.0**52, bytes(14))
    text = cursor_text(at, wanted, Sort.STATES)
    assert read_cursor(text, wanted, Sort.STATES) == at
    assert text.isascii() and not set("+/=") & set(text)
    for other, sort, more in (
        (Filter(types=("b",)), Sort.STATES, ""), (wanted, Sort.NEXT, ""), (wanted, Sort.STATES, "print"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="another filter or sort"):
            read_cursor(text, other, sort, more)
    for bad in ("", "x", "AAAA", text[:-3], "ü", text + "!", "k" * 5000):
        with pytest.raises(ValueError, match="no cursor"):
            read_cursor(bad, wanted, Sort.STATES)


def test_the_word_looked_for_first_stands_in_every_error_that_matches() -> None:
    error = AttemptError("ValueError", "Boom at Sea: no ship\nlost", traceback="Traceback\n  File x\nValueError: Boom")
    whole = f"{error.kind}: {error.message}\n{error.traceback}"
    stored = encode_error(error).lower()
    for first in range(len(whole)):
        for last in range(first + 1, len(whole) + 1):
            text = whole[first:last]
            assert error_has(text.upper(), error)
            assert error_word(text) in stored


def test_a_search_without_tracebacks_finds_kinds_and_messages_alone() -> None:
    error = AttemptError("ValueError", "Boom at Sea", traceback="Traceback\n  password = hunter2\nValueError: Boom")
    for text in ("valueerror: boom", "AT SEA", "boom at sea"):
        assert error_has(text, error, False)
    for text in ("hunter2", "traceback", "sea\ntrace", "sea\n", "Pass"):
        assert error_has(text, error) and not error_has(text, error, False)
    assert without_tracebacks(Filter(error="x")) == Filter(error="x", tracebacks=False)
    assert without_tracebacks(Filter(types=("a",))) == Filter(types=("a",))


def test_the_bytes_of_an_id_prefix_begin_every_id_that_has_it() -> None:
    for id in new_task_ids(20):
        for n in range(1, 24):
            assert id.startswith(id_prefix_bytes(id_text(id)[:n]))
    assert id_prefix_bytes("0") == b""
    assert id_prefix_bytes(id_text(bytes(range(14)))) == bytes(range(14))
