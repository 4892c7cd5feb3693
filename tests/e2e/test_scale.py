"""Workers follow the queue: from none to many, back to none, and up again for a single task."""

from __future__ import annotations

import threading
import time

from tests.e2e.kube import Kube
from tests.e2e.queues import Queue
from tests.e2e.report import Report
from tests.e2e.settings import APPS
from tests.e2e.waiting import until

_TASKS = 5_000
_MODES = {0: "FAIL_ME", 1: "FAIL_ONCE"}


def test_thousands_of_tasks_take_the_workers_from_zero_to_three_and_back(
    kube: Kube, quickstart: Queue, report: Report
) -> None:
    assert kube.replicas(APPS, quickstart.deployment) == 0
    # One in forty fails always and becomes a dead letter, one in forty the first time.
    payloads = [{"number": n, "mode": _MODES.get(n % 40, "ok")} for n in range(_TASKS)]
    began = time.monotonic()
    quickstart.submit(payloads)
    until("three workers are ready", lambda: len(kube.ready_pods(APPS, quickstart.workers)) == 3, 60)
    report.figure("scaled_up_s", time.monotonic() - began)
    ended = time.monotonic() - quickstart.settled(90)["ago"]
    report.note("drained in", ended - began)
    until("no worker is asked for", lambda: kube.replicas(APPS, quickstart.deployment) == 0, 60)
    until("no worker is left", lambda: not kube.every("Pod", APPS, quickstart.workers), 60)
    report.figure("scaled_to_zero_s", time.monotonic() - ended)


def test_the_first_task_wakes_a_pool_of_none_within_two_seconds(kube: Kube, quickstart: Queue, report: Report) -> None:
    assert kube.replicas(APPS, quickstart.deployment) == 0
    scaled: list[float] = []
    began = time.monotonic()

    def watch() -> None:
        until("a worker is asked for", lambda: kube.replicas(APPS, quickstart.deployment) > 0, 20, pause=0.02)
        scaled.append(time.monotonic() - began)

    watcher = threading.Thread(target=watch)
    watcher.start()
    woke = quickstart.call("wake", type="burst", payload={"number": 1}, timeout=30)
    watcher.join()
    assert scaled, "the Deployment was not scaled"
    report.note("scaled after", scaled[0])
    report.figure("wake_s", woke["started_s"])
    assert scaled[0] < 2.0
