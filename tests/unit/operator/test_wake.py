"""Which objects a change wakes."""

from __future__ import annotations

from typing import Any

import pytest

from laneway_operator import names
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.handlers.wake import Waker
from laneway_operator.keys import Body


class World:
    """A cache with a waker; versions count up by themselves."""

    def __init__(self) -> None:
        self.cache = ObjectCache(names.WATCHED_KINDS, indexers={"queue": names.queue_of, "pool": names.pool_of})
        self.woken: list[str] = []
        self.cache.listen(Waker(self.cache, lambda key: self.woken.append(f"{key.kind}/{key.name}")))
        self.version = 0

    def put(self, kind: str, name: str, *, ours: bool = False, **parts: Any) -> list[str]:
        self.version += 1
        meta: Body = {"name": name, "namespace": "ns", "uid": name, "generation": 1, **parts.pop("meta", {})}
        meta["resourceVersion"] = str(self.version)
        self.woken.clear()
        self.cache.put({"apiVersion": "x", "kind": kind, "metadata": meta, **parts}, ours=ours)
        return sorted(self.woken)


@pytest.fixture
def world() -> World:
    made = World()
    made.put(names.QUEUE, "orders")
    made.put(names.LANE, "high", spec={"queueRef": {"name": "orders"}})
    made.put(names.POOL, "workers", spec={"queueRef": {"name": "orders"}})
    made.put(names.QUEUE, "mail")
    return made


def test_a_new_pool_wakes_itself_and_its_queue(world: World) -> None:
    assert world.put(names.POOL, "more", spec={"queueRef": {"name": "orders"}}) == [
        "TaskQueue/orders",
        "WorkerPool/more",
    ]


def test_a_change_of_a_queues_spec_wakes_it_its_lanes_and_its_pools(world: World) -> None:
    woken = world.put(names.QUEUE, "orders", meta={"generation": 2})
    assert woken == ["PriorityLane/high", "TaskQueue/orders", "WorkerPool/workers"]


def test_a_queue_that_becomes_ready_by_its_own_pass_wakes_only_the_others(world: World) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]}
    assert world.put(names.QUEUE, "orders", ours=True, status=ready) == ["PriorityLane/high", "WorkerPool/workers"]


def test_a_write_of_our_own_that_changes_nothing_for_others_wakes_nobody(world: World) -> None:
    assert world.put(names.QUEUE, "orders", ours=True, status={"depth": 100}) == []


def test_a_status_that_somebody_else_wrote_wakes_the_object_itself(world: World) -> None:
    assert world.put(names.QUEUE, "orders", status={"depth": 100}) == ["TaskQueue/orders"]


def test_pausing_by_the_annotation_wakes_the_queue_and_its_members(world: World) -> None:
    paused = {"annotations": {names.RECONCILE_ANNOTATION: names.PAUSED}}
    assert len(world.put(names.QUEUE, "orders", meta=paused)) == 3


def test_an_owned_object_wakes_its_owner_unless_we_wrote_it(world: World) -> None:
    owner = {"ownerReferences": [{"kind": names.POOL, "name": "workers", "controller": True, "uid": "u"}]}
    assert world.put("Deployment", "laneway-workers-worker", ours=True, meta=owner) == []
    assert world.put("Deployment", "laneway-workers-worker", meta=owner) == ["WorkerPool/workers"]


def test_an_object_of_a_foreign_owner_wakes_nobody(world: World) -> None:
    owner = {"ownerReferences": [{"kind": "Rollout", "name": "x", "controller": True, "uid": "u"}]}
    assert world.put("Deployment", "foreign", meta=owner) == []


def test_a_pod_wakes_its_pool(world: World) -> None:
    assert world.put(names.POD, "p-1", meta={"labels": {names.POOL_LABEL: "workers"}}) == ["WorkerPool/workers"]


def test_a_lane_that_is_gone_wakes_its_queue(world: World) -> None:
    world.woken.clear()
    world.cache.remove(names.lane_key("ns", "high"))
    assert sorted(world.woken) == ["PriorityLane/high", "TaskQueue/orders"]


def test_a_pod_of_a_gateway_wakes_its_queue_when_what_is_wrong_with_it_changes(world: World) -> None:
    labels = {"labels": {names.QUEUE_LABEL: "orders", names.COMPONENT_LABEL: "gateway"}}
    waits = {"containerStatuses": [{"name": "laneway", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    assert world.put(names.POD, "g-1", meta=labels, status=waits) == ["TaskQueue/orders"]
    assert world.put(names.POD, "g-1", meta=labels, status={**waits, "podIP": "10.0.0.1"}) == []
    assert world.put(names.POD, "g-1", meta=labels, status={"podIP": "10.0.0.1"}) == ["TaskQueue/orders"]


def test_a_queue_whose_limiter_is_another_wakes_its_pools_though_it_is_as_unready_as_before(world: World) -> None:
    def said(limiter: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "False", "reason": "Progressing"}
        return {"conditions": [ready, {"type": "LimiterReady", "status": limiter, "reason": "x"}]}

    world.put(names.QUEUE, "orders", ours=True, status=said("True"))
    assert "WorkerPool/workers" in world.put(names.QUEUE, "orders", ours=True, status=said("False"))


@pytest.mark.parametrize(("value", "stops"), [("Paused", True), ("paused", True), ("PAUSED", True), ("no", False)])
def test_the_reconcile_annotation_is_read_in_whatever_case(value: str, stops: bool) -> None:
    assert names.paused({"metadata": {"annotations": {names.RECONCILE_ANNOTATION: value}}}) is stops
