"""The cluster's own HPA controller scales a pool by the metric of Laneway's adapter."""

from __future__ import annotations

import time

from tests.e2e.kube import Kube
from tests.e2e.queues import Queue
from tests.e2e.report import Report
from tests.e2e.settings import APPS
from tests.e2e.test_live_limits import set_rate
from tests.e2e.waiting import Seen, until

_TASKS = 300


def _controller(kube: Kube, controller: str, per_replica: int) -> None:
    scaling = {"controller": controller, "target": {"tasksPerReplica": per_replica}}
    kube.patch("WorkerPool", APPS, "quickstart", {"spec": {"scaling": scaling}})


def test_the_real_hpa_controller_scales_a_pool_and_the_operator_takes_it_back(
    kube: Kube, quickstart: Queue, report: Report
) -> None:
    name = quickstart.deployment
    _controller(kube, "HorizontalPodAutoscaler", 100)
    until("there is an HPA", lambda: kube.get("HorizontalPodAutoscaler", APPS, name), 20)
    # Tasks that may not all run at once: the controller looks only every few seconds (15 by default).
    set_rate(kube, 10)
    began = time.monotonic()
    quickstart.submit([{"number": n} for n in range(_TASKS)], lane="low")

    def scaled() -> bool | Seen:
        hpa = kube.get("HorizontalPodAutoscaler", APPS, name) or {}
        replicas = kube.replicas(APPS, name)
        return replicas >= 2 or Seen(replicas, hpa.get("status"))

    until("the HPA has asked for two workers or more", scaled, 60)
    report.note("by the HPA after", time.monotonic() - began)
    until("two workers are ready", lambda: len(kube.ready_pods(APPS, quickstart.workers)) >= 2, 30)
    pool = kube.get("WorkerPool", APPS, "quickstart")
    assert pool is not None
    (condition,) = (each for each in pool["status"]["conditions"] if each["type"] == "ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "ManagedByHPA"), condition

    set_rate(kube, None)
    quickstart.settled(60)
    _controller(kube, "Operator", 500)
    until("the HPA is gone", lambda: kube.get("HorizontalPodAutoscaler", APPS, name) is None, 30)
    until("no worker is asked for", lambda: kube.replicas(APPS, name) == 0, 60)
