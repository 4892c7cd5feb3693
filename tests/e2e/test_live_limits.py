"""Limits are changed while tasks run, and no pod is restarted."""

from __future__ import annotations

import time

from tests.e2e.kube import Kube
from tests.e2e.queues import Queue
from tests.e2e.report import Report
from tests.e2e.settings import APPS
from tests.e2e.waiting import Seen, until

_LANE = "quickstart-low"
_RATE = 10
_TASKS = 60


def set_rate(kube: Kube, rate: int | None) -> float:
    """Give the lane a rate of starts; in how many seconds it was in force."""
    began = time.monotonic()
    limit = {"perSecond": rate, "burst": 1} if rate else None
    kube.patch("PriorityLane", APPS, _LANE, {"spec": {"dispatchRate": limit}})
    kube.wait_condition("PriorityLane", APPS, _LANE, "Ready", 20)
    return time.monotonic() - began


def test_a_rate_limit_changed_while_tasks_run_takes_effect_without_a_restart(
    kube: Kube, quickstart: Queue, report: Report
) -> None:
    # Workers that stay, so that what is seen of pods is of the limit alone.
    kube.patch("WorkerPool", APPS, "quickstart", {"spec": {"scaling": {"min": 1}}})
    until("a worker is ready", lambda: quickstart.uids(quickstart.workers), 30)
    until("it is the only one", lambda: len(kube.ready_pods(APPS, quickstart.workers)) == 1, 60)
    pods = {part: quickstart.uids(quickstart.pods_of(part)) for part in ("gateway", "poller", "worker")}

    report.note("in force after", set_rate(kube, _RATE))
    before = int(quickstart.call("counts")["succeeded"])
    began = time.monotonic()
    quickstart.submit([{"number": n} for n in range(_TASKS)], lane="low")

    def done() -> int:
        return int(quickstart.call("counts")["succeeded"]) - before

    until("a third has run", lambda: bool(done() >= _TASKS // 3) or Seen(done()), 20)
    ran, seconds = done(), time.monotonic() - began
    report.note("a second", ran / seconds)
    assert ran <= 2 + seconds * _RATE, f"{ran} in {seconds:.1f} s at a limit of {_RATE} a second"

    report.note("lifted after", set_rate(kube, None))
    began = time.monotonic()
    quickstart.settled(20)
    assert done() == _TASKS
    # With the limit they would have taken that long, however slow the machine.
    seconds = time.monotonic() - began
    report.note(f"the last {_TASKS - ran} in", seconds)
    assert seconds < (_TASKS - ran) / _RATE - 1, f"the last {_TASKS - ran} took {seconds:.1f} s: the limit went on"
    assert pods == {part: quickstart.uids(quickstart.pods_of(part)) for part in pods}
    kube.patch("WorkerPool", APPS, "quickstart", {"spec": {"scaling": {"min": 0}}})
