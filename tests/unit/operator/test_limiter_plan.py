"""Which lanes count, and the live configuration that comes of them."""

from __future__ import annotations

import msgspec
import pytest

from laneway.errors import ConfigError
from laneway.model.config import QueueConfig, TenantConfig, encode_tenant
from laneway.model.manifests import PriorityLane, TaskQueue
from laneway_operator.plan.lanes import Lanes, SeenLane, settle_owners
from laneway_operator.plan.limiter import paused, plan_limiter, tenants_in_force

QUEUE = TaskQueue.model_validate({"metadata": {"name": "q"}})


def lane(name: str, created: str = "2026-01-01T00:00:00Z", *, held: bool = False, **spec: object) -> SeenLane:
    document = {"metadata": {"name": name}, "spec": {"queueRef": {"name": "q"}, **spec}}
    return SeenLane(PriorityLane.model_validate(document), created, held)


def planned(current: QueueConfig | None, lanes: Lanes, queue: TaskQueue = QUEUE, **options: object) -> QueueConfig:
    return plan_limiter(current, queue, lanes, **options)[0]  # type: ignore[arg-type]


def test_of_two_objects_for_one_lane_the_older_owns_it() -> None:
    young = lane("a", "2026-01-02T00:00:00Z", laneName="high", priority=1)
    old = lane("b", "2026-01-01T00:00:00Z", laneName="high", priority=2)
    found = settle_owners([young, old])
    assert (found.beaten, [one.metadata.name for one in found.manifests]) == ({"a": "b"}, ["b"])


def test_of_two_equally_old_ones_the_first_by_name_owns_it() -> None:
    found = settle_owners([lane("b", laneName="x"), lane("a", laneName="x"), lane("c", laneName="x")])
    assert found.beaten == {"b": "a", "c": "a"}


def test_planning_again_changes_nothing() -> None:
    lanes = settle_owners([lane("high", priority=5), lane("low")])
    first = planned(None, lanes)
    assert planned(first, lanes) == first


def test_a_change_is_one_version_more() -> None:
    first = planned(None, settle_owners([lane("high", priority=5)]))
    second = planned(first, settle_owners([lane("high", priority=6)]))
    assert (first.version, second.version) == (1, 2)
    assert [one.prio for one in second.lanes] == [6]


def test_a_held_lane_stays_as_it_is_and_others_change() -> None:
    first = planned(None, settle_owners([lane("high", priority=5), lane("low", priority=1)]))
    second = planned(first, settle_owners([lane("high", held=True, priority=0), lane("low", priority=3)]))
    assert {one.name: one.prio for one in second.lanes} == {"high": 5, "low": 3}
    assert [one.name for one in second.lanes] == ["high", "low"]


def test_a_held_lane_alone_changes_nothing_at_all() -> None:
    first = planned(None, settle_owners([lane("high", priority=5)]))
    assert planned(first, settle_owners([lane("high", held=True, priority=9)])) == first


def test_a_held_lane_that_is_not_in_force_yet_is_taken_as_it_is() -> None:
    found = planned(None, settle_owners([lane("high", held=True, priority=9)]))
    assert [(one.name, one.prio) for one in found.lanes] == [("high", 9)]


def test_a_lane_that_can_not_be_read_stays_and_does_not_go() -> None:
    first = planned(None, settle_owners([lane("high", priority=5), lane("low")]))
    without = settle_owners([lane("low")])
    assert {one.name: one.gone for one in planned(first, without).lanes} == {"high": True, "low": False}
    assert planned(first, without, keep=frozenset({"high"})) == first


def test_a_lane_that_was_deleted_is_gone_and_keeps_its_number() -> None:
    first = planned(None, settle_owners([lane("high", priority=5), lane("low")]))
    second = planned(first, settle_owners([lane("low")]))
    high = second.lane("high")
    assert high is not None
    assert (high.gone, high.n) == (True, first.lane("high").n)  # type: ignore[union-attr]
    third = planned(second, settle_owners([lane("low")]), empty_lanes=frozenset({"high"}))
    assert third.lane("high") is None


def test_a_queue_that_goes_is_paused_as_it_is_in_force() -> None:
    first = planned(None, settle_owners([lane("high"), lane("low")]))
    second = paused(first)
    assert second == msgspec.structs.replace(first, paused=True, version=2)
    assert paused(second) is second


def test_tenants_settings_are_read_back_as_they_were_written() -> None:
    tenant = TenantConfig(w=7)
    assert tenants_in_force({b"a": encode_tenant(tenant), b"b": b"\xc1"}) == {"a": tenant}


def test_what_does_not_fit_together_is_refused() -> None:
    lanes = settle_owners([lane("a", minSharePercent=60), lane("b", minSharePercent=60)])
    with pytest.raises(ConfigError, match="minSharePercent of all lanes together is at most 100, not 120"):
        planned(None, lanes)
