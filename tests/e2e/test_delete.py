"""Everything is deleted, and nothing is stuck or left."""

from __future__ import annotations

from typing import Any

from tests.e2e.commands import kubectl
from tests.e2e.installation import CRDS, METRICS_API, OPERATOR, Installation
from tests.e2e.kube import Kube
from tests.e2e.queues import QUICKSTART, Queue
from tests.e2e.settings import APPS, SYSTEM
from tests.e2e.waiting import Seen, until

_OWNED = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler")
_MINIMAL = "minimal"


def _owned(kube: Kube, queue: str) -> list[str]:
    return [
        f"{kind} {body['metadata']['name']}"
        for kind in _OWNED
        for body in kube.every(kind, APPS, f"laneway.dev/queue={queue}")
    ]


def _nothing_owned(kube: Kube, queue: str) -> None:
    def gone() -> bool | Seen:
        left = _owned(kube, queue)
        return Seen("left:", left) if left else True

    until(f"all that TaskQueue {queue} owned is gone", gone, 60)


def _keys(queue: str) -> list[str]:
    pattern = f"laneway:{{{APPS}/{queue}}}:*"
    said = kubectl("-n", SYSTEM, "exec", "laneway-dev-redis-0", "--", "redis-cli", "--scan", "--pattern", pattern)
    return said.split()


def _topics(queue: Queue) -> list[Any]:
    found: list[Any] = queue.call("topics")["topics"]
    return found


def test_a_deleted_queue_goes_with_all_it_owned_and_keeps_its_data(kube: Kube, quickstart: Queue) -> None:
    files = [part for path in QUICKSTART.files for part in ("-f", str(path))]
    kubectl("delete", "-n", APPS, *files, "--wait", "--timeout=60s", timeout=70)
    for kind in ("TaskQueue", "PriorityLane", "WorkerPool"):
        left = [body["metadata"]["name"] for body in kube.every(kind, APPS)]
        assert not [name for name in left if name.startswith("quickstart")], kind
    _nothing_owned(kube, "quickstart")
    assert _keys("quickstart"), "deletionPolicy Retain keeps what Redis has"


def test_a_queue_deleted_by_policy_leaves_neither_topics_nor_data(kube: Kube, ledger: Queue) -> None:
    assert len(_topics(ledger)) == 3
    assert _keys("ledger")
    kubectl("delete", "-n", APPS, "workerpool/ledger", "taskqueue/ledger", "--wait", "--timeout=90s", timeout=100)
    _nothing_owned(kube, "ledger")
    assert not _topics(ledger)
    assert not _keys("ledger")


def test_uninstalling_leaves_queues_and_their_definitions(kube: Kube, installation: Installation) -> None:
    kubectl("apply", "-n", APPS, "-f", "-", text=_minimal())
    kube.wait_condition("TaskQueue", APPS, _MINIMAL, "Ready", 60)
    installation.uninstall()
    until("the operator is gone", lambda: not kube.every("Pod", SYSTEM, OPERATOR), 60)
    for name in CRDS:
        assert kube.get("CustomResourceDefinition", "", name) is not None, name
    queue = kube.get("TaskQueue", APPS, _MINIMAL)
    assert queue is not None and "deletionTimestamp" not in queue["metadata"]
    assert _owned(kube, _MINIMAL), "what queues run goes on"
    # An API without a server behind it would hold up the deletion of every namespace of the cluster.
    until("no API of metrics is left without a server", lambda: kube.get("APIService", "", METRICS_API) is None, 30)


def _minimal() -> str:
    return f"apiVersion: laneway.dev/v1alpha1\nkind: TaskQueue\nmetadata:\n  name: {_MINIMAL}\n"
