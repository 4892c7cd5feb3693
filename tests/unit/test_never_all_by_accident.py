"""No JSON body means every task unless it says so by ``"all": true``."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.gateway import bulk, dead_changes
from laneway.gateway.bulk import BulkBody
from laneway.gateway.dead_bodies import ReplayBody
from laneway.gateway.filtering import FilterBody
from laneway.gateway.problems import Problem
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope
from laneway.model.record import Record
from laneway.model.states import FINAL, State
from laneway.policy.filters import NAMES, matches, parse_filter
from laneway.ports.browse import LIST_ORDER, TaskRow

CONFIG = QueueConfig(lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=2, name="odd")))
TIMES = ("2030-01-31T08:00:00Z", "2031-01-31T08:00:00+01:00")
EDGES: list[Any] = [None, "", " ", ",", [], {}, [""], [[]], {"": ""}, 0, False, True]
LIKELY: list[Any] = [
    "default", "dead", "queued,dead", ["queued"], [state.label for state in LIST_ORDER], "shop:north", ["shop:north"],
    {"shop": "north"}, {"shop": ""}, "06gm", *TIMES,
]  # fmt: skip

filters = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(EDGES + LIKELY), max_size=4)


def _row(state: State, at: int) -> TaskRow:
    """A task that has nothing of what a filter above may ask for, but a state and a time."""
    env = Envelope(2, 4, 3, "nobody", Body("unheard-of", b""), submitted_ms=at)
    record = Record(state, 0, 2, 0, 3, 1, 0, 0.0, 1, at, b"", "nobody")
    return TaskRow(b"\xff" * 14, state, env, record if state in FINAL else None, 0.0, [], None)


# (One before all the times above, one after them, in each state.)
ROWS = [_row(state, at) for state in LIST_ORDER for at in (1, 4_000_000_000_000)]


def _decoded(kind: type[Any], body: dict[str, Any]) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(body), type=kind)
    except msgspec.ValidationError:
        return None


def _leaves_something_out(given: FilterBody) -> bool:
    fields = msgspec.to_builtins(given)
    wanted = parse_filter({name: fields.get(name) for name in NAMES})
    return any(not matches(wanted, row, CONFIG) for row in ROWS)


@settings(max_examples=500, deadline=None)
@given(filters, st.sampled_from(["cancel", "retry", "purge"]))
def test_a_bulk_filter_that_is_taken_leaves_something_out(fields: dict[str, Any], action: str) -> None:
    body = _decoded(BulkBody, {"action": action, "filter": fields})
    if body is None:
        return
    try:
        bulk._check(body)
    except Problem:
        return
    assert _leaves_something_out(body.filter)


@settings(max_examples=500, deadline=None)
@given(filters)
def test_a_filter_of_dead_letters_that_is_taken_leaves_some_out(fields: dict[str, Any]) -> None:
    body = _decoded(ReplayBody, {"filter": fields})
    if body is None:
        return
    try:
        dead_changes._check(body)
    except Problem:
        return
    assert _leaves_something_out(msgspec.structs.replace(body.filter, state=None))


@pytest.mark.parametrize("fields", [{"label": {"shop": "north"}}, {"state": "dead", "type": "t"}, {"tenant": ""}])
def test_a_filter_that_says_something_is_taken(fields: dict[str, Any]) -> None:
    bulk._check(_decoded(BulkBody, {"action": "retry", "filter": fields}))
    dead_changes._check(_decoded(ReplayBody, {"filter": fields}))
