"""New images and new settings are rolled out while tasks come in."""

from __future__ import annotations

from tests.e2e.installation import OPERATOR, Installation
from tests.e2e.kube import Kube
from tests.e2e.queues import Queue
from tests.e2e.report import Report
from tests.e2e.settings import APPS, SYSTEM, Run
from tests.e2e.waiting import Seen, until

_RATE = 25.0


def test_a_new_image_of_the_handlers_rolls_out_under_load(kube: Kube, ledger: Queue, run: Run, report: Report) -> None:
    before = ledger.uids(ledger.workers)
    assert ledger.call("result", type="work", payload={}, timeout=30)["result"] == "1"
    with ledger.load(_RATE):
        kube.patch("WorkerPool", APPS, ledger.name, {"spec": {"image": run.handlers_next}})
        _wait_for_image(kube, ledger.deployment, run.handlers_next)
        kube.wait_rolled_out(APPS, ledger.deployment, 90)
        until("the old workers are gone", lambda: not before & _all_uids(kube, ledger.workers), 60)
    assert ledger.call("result", type="work", payload={}, timeout=30)["result"] == "2"
    ledger.settled(60)
    report.note("workers", len(ledger.uids(ledger.workers)))


def test_the_chart_is_upgraded_under_load(
    kube: Kube, ledger: Queue, installation: Installation, run: Run, report: Report
) -> None:
    workers = ledger.uids(ledger.workers)
    operator = {pod["metadata"]["uid"] for pod in kube.pods(SYSTEM, OPERATOR)}
    parts = [f"laneway-{ledger.name}-{part}" for part in ("gateway", "poller")]
    repository, _, tag = run.runtime_next.rpartition(":")
    with ledger.load(_RATE):
        # New operator pods, and another image of gateways and pollers: both roll.
        installation.upgrade(f"runtimeImage.repository={repository}", f"runtimeImage.tag={tag}", "log.level=debug")
        for part in parts:
            _wait_for_image(kube, part, run.runtime_next)
            kube.wait_rolled_out(APPS, part, 90)
        kube.wait_condition("TaskQueue", APPS, ledger.name, "Ready", 60)
    ledger.settled(60)
    assert not operator & {pod["metadata"]["uid"] for pod in kube.pods(SYSTEM, OPERATOR)}
    assert ledger.uids(ledger.workers) == workers, "an upgrade of the chart must not restart workers"


def _wait_for_image(kube: Kube, deployment: str, image: str) -> None:
    def has_it() -> bool | Seen:
        found = kube.get("Deployment", APPS, deployment)
        assert found is not None
        now = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return True if now == image else Seen(now)

    until(f"Deployment {deployment} has the image {image}", has_it, 60)


def _all_uids(kube: Kube, selector: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.every("Pod", APPS, selector)}
