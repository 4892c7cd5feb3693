"""Each part is killed while tasks come in. Recovered is when all that was acknowledged before has ended, and a task
submitted afterwards too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.installation import OPERATOR, Installation
from tests.e2e.kube import Kube
from tests.e2e.queues import Queue, kill
from tests.e2e.report import Report
from tests.e2e.settings import APPS, KAFKA, REDIS, SYSTEM
from tests.e2e.waiting import Seen, until

from servers.clusters import Cluster

_RATE = 25.0
_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def loaded(kube: Kube, ledger: Queue) -> Iterator[Queue]:
    """The queue over Kafka, with tasks coming in all the time."""
    until("two workers are ready", lambda: len(kube.ready_pods(APPS, ledger.workers)) == 2, 60)
    with ledger.load(_RATE):
        yield ledger
    ledger.settled(60)


def _recovered(queue: Queue, report: Report, crash: Callable[[], None], server: str = "") -> None:
    """`server` is the address of what is killed, if that is one: how long it is away by itself is told too."""
    mark = queue.call("mark")
    crash()
    listening = queue.begin("listening", address=server, at=mark["at"], timeout=_WITHIN_S) if server else None
    got = queue.call(
        "recovered",
        accepted=mark["accepted"],
        at=mark["at"],
        type=queue.task,
        timeout=_WITHIN_S,
        wait=_WITHIN_S,
    )
    report.note("acknowledged again after", got["acknowledged_s"])
    if listening is not None:
        report.note("the server listened after", queue.finish(listening, _WITHIN_S)["seconds"])
    report.note("recovered in", got["seconds"])
    report.figure("worst_recovery_s", got["seconds"])


def _restarts(pod: dict[str, Any]) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))


def _wait_restarted(kube: Kube, namespace: str, selector: str, pod: dict[str, Any], pods: int = 1) -> None:
    """Until so many pods are ready, and the one that was killed is among them with one more restart, or gone."""

    def ready() -> bool | Seen:
        now = {each["metadata"]["uid"]: each for each in kube.ready_pods(namespace, selector)}
        same = now.get(pod["metadata"]["uid"])
        again = same is None or _restarts(same) > _restarts(pod)
        return (again and len(now) == pods) or Seen(
            [(each["metadata"]["name"], _restarts(each)) for each in now.values()]
        )

    until(f"{pod['metadata']['name']} has been started again", ready, 60)


def test_a_killed_worker_process_loses_nothing(kube: Kube, cluster: Cluster, loaded: Queue, report: Report) -> None:
    pod = kube.ready_pods(APPS, loaded.workers)[0]
    _recovered(loaded, report, lambda: kill(cluster, kube, APPS, pod, "laneway"))
    _wait_restarted(kube, APPS, loaded.workers, pod, pods=2)


def test_a_worker_pod_deleted_by_force_loses_nothing(kube: Kube, loaded: Queue, report: Report) -> None:
    pod = kube.ready_pods(APPS, loaded.workers)[-1]
    _recovered(loaded, report, lambda: kube.delete("Pod", APPS, pod["metadata"]["name"], grace=0))
    until("two workers are ready again", lambda: len(kube.ready_pods(APPS, loaded.workers)) == 2, 60)


@pytest.mark.parametrize("part", ["poller", "gateway"])
def test_a_killed_part_of_the_queue_loses_nothing(
    part: str, kube: Kube, cluster: Cluster, loaded: Queue, report: Report
) -> None:
    (pod,) = kube.ready_pods(APPS, loaded.pods_of(part))
    _recovered(loaded, report, lambda: kill(cluster, kube, APPS, pod, "laneway"))
    _wait_restarted(kube, APPS, loaded.pods_of(part), pod)


def test_a_killed_operator_hinders_no_task_and_works_again_soon(
    kube: Kube, cluster: Cluster, installation: Installation, loaded: Queue, report: Report
) -> None:
    (pod,) = kube.ready_pods(SYSTEM, OPERATOR)
    holder, began = installation.holder(), time.monotonic()
    _recovered(loaded, report, lambda: kill(cluster, kube, SYSTEM, pod, "operator"))
    until("another process of the operator leads", lambda: installation.holder() not in ("", holder), 45)
    # It works if what is changed now is carried out.
    kube.patch("TaskQueue", APPS, loaded.name, {"spec": {"retry": {"maxAttempts": 5}}})
    kube.wait_condition("TaskQueue", APPS, loaded.name, "Ready", 30)
    seconds = time.monotonic() - began
    report.note("the operator works again after", seconds)
    report.figure("worst_recovery_s", seconds)


def test_a_killed_redis_loses_nothing_that_was_acknowledged(
    kube: Kube, cluster: Cluster, installation: Installation, loaded: Queue, report: Report
) -> None:
    selector = "app.kubernetes.io/component=dev-redis"
    (pod,) = kube.ready_pods(SYSTEM, selector)
    # (Of a cluster that is given, only pods can be killed, and with this one goes all that it holds.)
    if cluster.kind == "given":
        pytest.skip("the development Redis of a given cluster would lose its data with its pod")
    _recovered(loaded, report, lambda: kill(cluster, kube, SYSTEM, pod, "redis"), f"{REDIS}:6379")
    _wait_restarted(kube, SYSTEM, selector, pod)
    installation.keep_every_write()
    kube.wait_condition("TaskQueue", APPS, loaded.name, "Ready", 60)


def test_a_killed_kafka_loses_nothing_that_was_acknowledged(
    kube: Kube, cluster: Cluster, loaded: Queue, report: Report
) -> None:
    selector = "app.kubernetes.io/component=dev-kafka"
    (pod,) = kube.ready_pods(SYSTEM, selector)
    if cluster.kind == "given":
        pytest.skip("the development Kafka of a given cluster would lose its data with its pod")
    _recovered(loaded, report, lambda: kill(cluster, kube, SYSTEM, pod, "kafka"), KAFKA)
    _wait_restarted(kube, SYSTEM, selector, pod)
    kube.wait_condition("TaskQueue", APPS, loaded.name, "Ready", 60)
