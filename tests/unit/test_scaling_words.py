"""What people read of a decision, what a manifest means to it, and which pods go first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from laneway.model.manifests import WorkerPool
from laneway.policy.scaling import Decision, LimitedBy, ScalingRule, Work
from laneway.ports.store import Depth, WorkerStats
from laneway_operator.conditions import Reason
from laneway_operator.scaling.deletion_cost import changed_costs, held_by_pod
from laneway_operator.scaling.explain import is_news, scaling_condition, scaling_status
from laneway_operator.scaling.foreign import ForeignAutoscaler, foreign_autoscaler
from laneway_operator.scaling.rules import rule_of, share_of, work_of

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def pool(name: str = "p", **scaling: Any) -> WorkerPool:
    spec = {
        "queueRef": {"name": "q"},
        "app": "a:app",
        "concurrency": 8,
        "processes": 2,
        "scaling": {"max": 10, "target": {"tasksPerReplica": 100}, **scaling},
    }
    return WorkerPool.model_validate(
        {
            "apiVersion": "laneway.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": name, "namespace": "ns"},
            "spec": spec,
        }
    )


def body(manifest: WorkerPool, **metadata: Any) -> dict[str, Any]:
    dumped = manifest.model_dump(exclude_none=True)
    dumped["metadata"] |= metadata
    return dumped


def decision(desired: int = 3, limit: LimitedBy = LimitedBy.TARGET) -> Decision:
    readable = limit is not LimitedBy.UNREADABLE
    return Decision(desired, 3 if readable else None, 2.5 if readable else None, limit, "the formula")


def told(
    desired: int = 3, limit: LimitedBy = LimitedBy.TARGET, *, shadow: bool = False, ago: float = 0
) -> dict[str, Any]:
    at = NOW - timedelta(seconds=ago)
    return scaling_status(decision(desired, limit), Work(1, 2), slots=16, replicas=3, shadow=shadow, now=at)


# -- rules


def test_a_manifest_gives_its_rule() -> None:
    manifest = pool(min=1, target={"drainTime": "1m30s"}, stabilization="2m")
    assert rule_of(manifest) == ScalingRule(1, 10, 120.0, 16, drain_s=90.0)
    assert rule_of(pool()) == ScalingRule(0, 10, 60.0, 16, tasks_per_replica=100)


def test_what_is_ready_or_soon_due_is_queued_and_what_is_handed_out_runs() -> None:
    depth = Depth(0, ready=5, stopped=7, parked=3, soon=2, dispatched=4, running=6, run_ms=1500.0)
    assert work_of(depth) == Work(queued=7, running=10, parked=3, stopped=7, run_s=1.5)


def test_only_live_scaled_pools_share_the_work() -> None:
    me = pool("me")
    others = [
        body(me),
        body(pool("live", max=30)),
        body(pool("shadow", shadow=True)),
        body(pool("by-hand", controller="None")),
        body(pool("going"), deletionTimestamp="2026-01-01T00:00:00Z"),
        {"metadata": {"name": "fixed"}, "spec": {"replicas": 50}},
    ]
    assert share_of(me, others) == Fraction(1, 4)
    assert share_of(me, [body(me)]) == 1
    assert share_of(pool("shadow", shadow=True), [body(me)]) == Fraction(1, 2)


# -- words


@pytest.mark.parametrize(
    ("case", "before", "now", "news"),
    [
        ("nothing was told yet", None, decision(), True),
        ("the same", told(), decision(), False),
        ("another size", told(), decision(4), True),
        ("another limit just now", told(ago=29), decision(limit=LimitedBy.STABILIZATION), False),
        ("another limit for a while", told(ago=30), decision(limit=LimitedBy.STABILIZATION), True),
        ("not readable any more", told(), decision(limit=LimitedBy.UNREADABLE), True),
        ("readable again", told(limit=LimitedBy.UNREADABLE), decision(), True),
        ("still not readable", told(limit=LimitedBy.UNREADABLE, ago=999), decision(limit=LimitedBy.UNREADABLE), False),
        ("not a shadow any more", told(shadow=True), decision(), True),
        ("told by somebody else, strangely", {"desired": 3, "limitedBy": "?", "decidedAt": "?"}, decision(), True),
    ],
)
def test_a_status_is_written_for_news_only(case: str, before: dict[str, Any] | None, now: Decision, news: bool) -> None:
    assert is_news(before, now, False, NOW) is news, case


def test_the_status_has_the_inputs_and_nothing_that_is_unknown() -> None:
    assert told() == {
        "decidedAt": "2026-01-01T12:00:00Z",
        "desired": 3,
        "raw": 3,
        "formula": "the formula",
        "limitedBy": "Target",
        "inputs": {"queued": 1, "running": 2, "slotsPerReplica": 16, "replicas": 3},
        "shadow": False,
    }
    status = scaling_status(decision(limit=LimitedBy.UNREADABLE), None, slots=16, replicas=None, shadow=False, now=NOW)
    assert status["inputs"] == {"slotsPerReplica": 16} and status["raw"] is None


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (told(), "True", Reason.SCALED),
        (told(0), "True", Reason.SCALED_TO_ZERO),
        (told(shadow=True), "True", Reason.SHADOW),
        (told(0, LimitedBy.PAUSED), "True", Reason.QUEUE_PAUSED),
        (told(limit=LimitedBy.UNREADABLE), "False", Reason.METRIC_UNREADABLE),
        (told(limit=LimitedBy.UNREADABLE, shadow=True), "False", Reason.METRIC_UNREADABLE),
    ],
)
def test_the_condition_has_a_reason_for_each_case(status: dict[str, Any], state: str, reason: Reason) -> None:
    condition = scaling_condition(status, 7)
    assert (condition["status"], condition["reason"], condition["observedGeneration"]) == (state, reason, 7)
    assert "the formula" in condition["message"]


# -- who goes first


def worker(name: str, held: int, state: int = 2) -> WorkerStats:
    return WorkerStats(name.encode(), name, "direct", state, 8, 8, -1, held, 100)


def pod(name: str, cost: str | None = None, **metadata: Any) -> dict[str, Any]:
    annotations = {} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": cost}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "ns", "annotations": annotations, **metadata}}


def test_a_pod_holds_what_all_of_its_processes_hold() -> None:
    pods = {"w-x1": 0, "w-x1-0": 0, "w-y": 0}
    workers = [
        worker("w-x1", 1),
        worker("w-x1-1", 2),
        worker("w-x1-0", 4),
        worker("w-y-3", 8),
        worker("other-2", 99),
        worker("w-y-4", 50, state=5),
    ]
    assert held_by_pod(pods, workers) == {"w-x1": 3, "w-x1-0": 4, "w-y": 8}


def test_only_pods_whose_cost_is_another_are_written() -> None:
    pods = [pod("busy"), pod("was-busy", "5"), pod("idle"), pod("same", "7"), pod("odd", "x"), pod("going", "1")]
    pods[-1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert changed_costs(pods, [worker("busy", 3), worker("same", 7)]) == {"busy": 3, "was-busy": 0, "odd": 0}


# -- other autoscalers


def hpa(name: str, kind: str, target: str, ours: bool = False) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "laneway-operator"} if ours else {}
    spec = {"scaleTargetRef": {"kind": kind, "name": target}}
    return {"metadata": {"name": name, "namespace": "ns", "labels": labels}, "spec": spec}


def test_an_autoscaler_of_others_on_the_pool_or_its_deployment_is_found() -> None:
    ours, elsewhere = hpa("laneway-p-worker", "WorkerPool", "p", True), hpa("a", "Deployment", "else")
    assert foreign_autoscaler([ours, elsewhere], "p") is None
    assert foreign_autoscaler([ours, hpa("k", "WorkerPool", "p")], "p") == ForeignAutoscaler("k", False)
    assert foreign_autoscaler([hpa("k", "Deployment", "laneway-p-worker")], "p") == ForeignAutoscaler("k", True)
