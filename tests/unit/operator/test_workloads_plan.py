"""What is said of the pods of a Deployment."""

from __future__ import annotations

from typing import Any

import pytest

from laneway_operator.conditions import ConditionType, Reason, condition
from laneway_operator.handlers.trim import pod as trimmed
from laneway_operator.plan.workloads import pod_trouble, pods

TYPE = ConditionType.WORKERS_AVAILABLE
COMPLETE = {"Progressing": ("True", "NewReplicaSetAvailable")}
LACKING = {**COMPLETE, "Available": ("False", "MinimumReplicasUnavailable")}
STUCK = {"Progressing": ("False", "ProgressDeadlineExceeded")}


def deployment(
    replicas: int, updated: int = 0, available: int = 0, *, old: int = 0, observed: int = 2,
    said: dict[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    status = {
        "observedGeneration": observed, "replicas": updated + old, "updatedReplicas": updated,
        "availableReplicas": available,
        "conditions": [
            {"type": type, "status": state, "reason": reason, "message": f"{type} {reason}"}
            for type, (state, reason) in (said or {}).items()
        ],
    }  # fmt: skip
    return {"metadata": {"name": "d", "generation": 2}, "spec": {"replicas": replicas}, "status": status}


def container(name: str = "laneway", **parts: Any) -> dict[str, Any]:
    return {"name": name, "image": "shop:1", "ready": False, **parts}


def waiting(reason: str, message: str = "", **parts: Any) -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}}, **parts)


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "containerID": "c"}}


def pod(name: str, *containers: dict[str, Any], phase: str = "Pending", **said: Any) -> dict[str, Any]:
    """A pod as the cache keeps it."""
    conditions = [{"type": "Ready", "status": "False"}, *said.get("conditions", ())]
    return trimmed(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ns", **said.get("meta", {})},
            "status": {"phase": phase, "containerStatuses": list(containers), "conditions": conditions},
        }
    )  # fmt: skip


NO_ROOM = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: Insufficient cpu",
}  # fmt: skip


@pytest.mark.parametrize(
    ("live", "wanted", "was", "ok", "reason"),
    [
        pytest.param(None, 1, None, False, Reason.PROGRESSING, id="not there yet"),
        pytest.param(deployment(0), 0, None, True, Reason.SCALED_TO_ZERO, id="none are wanted"),
        pytest.param(deployment(0), None, None, True, Reason.SCALED_TO_ZERO, id="none are asked for by others"),
        pytest.param(deployment(2, 2, 2), 2, None, True, Reason.AVAILABLE, id="all are there"),
        pytest.param(deployment(2, 2, 1), 2, None, False, Reason.PROGRESSING, id="they are coming"),
        pytest.param(
            deployment(4, 4, 3, said={**COMPLETE, "Available": ("True", "MinimumReplicasAvailable")}), 4, None, True,
            Reason.AVAILABLE, id="enough are there",
        ),
        # the template
        pytest.param(
            deployment(2, 2, 2, observed=1), 2, None, False, Reason.PROGRESSING, id="what is older than the spec"
        ),
        pytest.param(
            deployment(2, 1, 2, old=2), 2, Reason.AVAILABLE, False, Reason.PROGRESSING, id="the old pods do not count"
        ),
        pytest.param(
            deployment(2, 2, 2, old=1, said=COMPLETE), 2, Reason.AVAILABLE, False, Reason.PROGRESSING,
            id="an old pod is left",
        ),
        pytest.param(
            deployment(2, 1, 2, old=2, said=STUCK), 2, Reason.PROGRESSING, False, Reason.ROLLOUT_STUCK,
            id="the rollout does not get on",
        ),
        pytest.param(
            deployment(2, 2, 1, said=STUCK), 2, None, False, Reason.ROLLOUT_STUCK, id="the first one neither"
        ),
        # the number
        pytest.param(
            deployment(4, 2, 2, observed=1), 4, Reason.AVAILABLE, True, Reason.AVAILABLE,
            id="another size takes the readiness from nobody",
        ),
        pytest.param(
            deployment(1, 0, 0, observed=1, said=COMPLETE), 1, Reason.SCALED_TO_ZERO, False, Reason.PROGRESSING,
            id="none was there before, and none has been seen",
        ),
        pytest.param(
            deployment(1, 1, 0, said=LACKING), 1, Reason.SCALED_TO_ZERO, False, Reason.PROGRESSING,
            id="waking is no failure",
        ),
        pytest.param(
            deployment(1, 0, 0, said={**COMPLETE, "Available": ("True", "MinimumReplicasAvailable")}), 1,
            Reason.SCALED_TO_ZERO, False, Reason.PROGRESSING, id="none is enough of none, and not of one",
        ),
        pytest.param(
            deployment(1, 4, 4, said=COMPLETE), 1, Reason.SCALED_TO_ZERO, False, Reason.PROGRESSING,
            id="those that went to sleep do not count",
        ),
        pytest.param(
            deployment(4, 4, 2, said=LACKING), 4, Reason.AVAILABLE, True, Reason.PODS_STARTING,
            id="the former ones are ready, and more are to come",
        ),
        pytest.param(
            deployment(1, 1, 0, said=LACKING), 1, Reason.AVAILABLE, False, Reason.UNAVAILABLE,
            id="they were there and are not any more",
        ),
    ],
)  # fmt: skip
def test_pods_are_judged_as_a_rollout_is(
    live: dict[str, Any] | None, wanted: int | None, was: Reason | None, ok: bool, reason: Reason
) -> None:
    before = condition(TYPE, was is not Reason.PROGRESSING, was) if was else None
    found = pods(TYPE, live, wanted, before=before)
    assert (found.ok, found.reason) == (ok, reason)


def test_who_was_ready_is_not_when_the_template_has_just_been_changed() -> None:
    before = condition(TYPE, True, Reason.AVAILABLE)
    assert not pods(TYPE, deployment(2, 2, 2, observed=1), 2, before=before, changed=True).ok
    # ... nor in the next pass, if the controller has not looked yet.
    again = pods(TYPE, deployment(2, 2, 2, observed=1), 2, before=condition(TYPE, False, Reason.PROGRESSING))
    assert again.reason is Reason.PROGRESSING


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        pytest.param(deployment(2, 1, 2, old=2), Reason.PODS_FAILING, id="in a rollout"),
        pytest.param(deployment(2, 1, 2, old=2, said=STUCK), Reason.ROLLOUT_STUCK, id="in one that got stuck"),
        pytest.param(deployment(4, 4, 2, said=LACKING), Reason.PODS_FAILING, id="while it grows"),
        pytest.param(deployment(1, 1, 0, said=LACKING), Reason.PODS_FAILING, id="when none is left"),
    ],
)
def test_the_pod_that_fails_is_named(live: dict[str, Any], reason: Reason) -> None:
    bad = pod("d-abc", waiting("ImagePullBackOff", image="localhost/nope:3"))
    found = pods(TYPE, live, None, there=lambda: [bad])
    assert (found.ok, found.reason) == (False, reason)
    assert found.message.endswith("; d-abc: ImagePullBackOff localhost/nope:3")


def test_pods_that_can_not_be_made_are_told_with_the_api_servers_words() -> None:
    found = pods(TYPE, deployment(1, said={"ReplicaFailure": ("True", "exceeded quota")}), 1)
    assert found.reason is Reason.PODS_FAILING
    assert "pods can't be made: ReplicaFailure exceeded quota" in found.message


def test_nobody_looks_at_the_pods_while_all_is_well() -> None:
    def never() -> list[Any]:
        raise AssertionError("looked")

    assert pods(TYPE, deployment(2, 2, 2), 2, there=never).ok


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param([], "", id="no pods"),
        pytest.param([pod("a", waiting("ContainerCreating"))], "", id="on its way"),
        pytest.param([pod("a", container(state={"running": {}}))], "", id="runs and is not ready"),
        pytest.param([pod("a", waiting("ErrImagePull", "not found"))], "a: ErrImagePull shop:1: not found", id="image"),
        pytest.param(
            [pod("a", waiting("CreateContainerConfigError", 'secret "x" not found'))],
            'a: CreateContainerConfigError: secret "x" not found', id="its configuration",
        ),
        pytest.param(
            [pod("a", waiting("CrashLoopBackOff", "back-off 40s", lastState=ended(2, "no module shop\n")))],
            "a: CrashLoopBackOff (exit code 2, Error): no module shop", id="it ends with words",
        ),
        pytest.param(
            [pod("a", container(state={"running": {}}, lastState=ended(137, reason="OOMKilled")))],
            "a: OOMKilled (exit code 137, OOMKilled)", id="it tries again",
        ),
        pytest.param([pod("a", conditions=[NO_ROOM])], "a: Unschedulable: 0/3 nodes: Insufficient cpu", id="no room"),
        pytest.param(
            [pod("a", waiting("ImagePullBackOff", name="proxy"))], "a: container proxy: ImagePullBackOff shop:1",
            id="another container",
        ),
        pytest.param(
            [pod("a", conditions=[NO_ROOM]), pod("c", waiting("RunContainerError")), pod("b", waiting("InvalidX"))],
            "b: InvalidX (and 2 more pods)", id="the worst of several",
        ),
        pytest.param(
            [pod("a", waiting("ErrImagePull"), meta={"deletionTimestamp": "now"}), pod("b", phase="Failed")],
            "", id="those that go do not count",
        ),
    ],
)  # fmt: skip
def test_the_worst_pod_says_why(found: list[dict[str, Any]], said: str) -> None:
    assert pod_trouble(found) == said


def test_a_long_log_is_told_from_its_end_and_a_long_refusal_from_its_beginning() -> None:
    logged = pod_trouble([pod("a", waiting("CrashLoopBackOff", lastState=ended(1, "x" * 3_000 + " the cause")))])
    assert logged.endswith(" the cause") and len(logged) < 400
    refused = pod_trouble([pod("a", waiting("CreateContainerError", "the cause " + "x" * 3_000))])
    assert "the cause" in refused and refused.endswith("...") and len(refused) < 400


def test_of_a_pod_that_is_well_nothing_is_kept_beside_its_readiness() -> None:
    well = pod("a", {**container(state={"running": {}}, lastState=ended(1)), "ready": True}, phase="Running")
    assert well["status"] == {
        "phase": "Running", "podIP": "", "startTime": "", "conditions": [{"type": "Ready", "status": "False"}],
    }  # fmt: skip
