"""The chart is installed, and the first queue applied."""

from __future__ import annotations

from tests.e2e.installation import ADAPTER, METRICS_API, OPERATOR, Installation
from tests.e2e.kube import Kube, has
from tests.e2e.queues import Queue
from tests.e2e.settings import APPS, SYSTEM
from tests.e2e.waiting import Seen, until


def test_the_chart_installs_and_all_that_it_runs_becomes_ready(installation: Installation, kube: Kube) -> None:
    # `helm install --wait` has returned: what it waits for is looked at nonetheless.
    for selector in (
        OPERATOR,
        ADAPTER,
        "app.kubernetes.io/component=dev-redis",
        "app.kubernetes.io/component=dev-kafka",
    ):
        assert len(kube.ready_pods(SYSTEM, selector)) == 1, selector
    until("a replica of the operator leads", installation.holder, 20)

    def served() -> bool | Seen:
        service = kube.get("APIService", "", METRICS_API)
        if service is None:
            return Seen("no such APIService")
        return has(service, "Available") or Seen(service.get("status"))

    until("the adapter serves the API of external metrics", served, 30)


def test_the_quick_start_becomes_ready_and_keeps_no_idle_worker(kube: Kube, quickstart: Queue) -> None:
    queue = kube.wait_condition("TaskQueue", APPS, "quickstart", "Ready", 60)
    for lane in ("quickstart-high", "quickstart-normal", "quickstart-low"):
        kube.wait_condition("PriorityLane", APPS, lane, "Ready", 30)
    assert queue["status"]["endpoint"] == f"http://laneway-quickstart.{APPS}.svc"
    for part in ("gateway", "poller"):
        assert len(kube.ready_pods(APPS, quickstart.pods_of(part))) == 1, part
    until("the pool of workers is empty", lambda: kube.replicas(APPS, quickstart.deployment) == 0, 30)
    until("no worker is left", lambda: not quickstart.uids(quickstart.workers), 30)


def test_the_api_is_closed_to_all_but_the_keys_that_the_operator_has_made(quickstart: Queue) -> None:
    stats = "/api/v1/queues/quickstart/stats"
    cancel = "/api/v1/queues/quickstart/tasks/06h0ovh07d6s1pd5fq1pr80/cancel"
    admin, viewer, submitter = (quickstart.key(role) for role in ("admin", "viewer", "submitter"))
    table = [
        ("GET", stats, None, 401),
        ("GET", stats, admin[:-1] + ("a" if admin[-1] != "a" else "b"), 401),
        ("GET", stats, submitter, 403),
        ("GET", stats, viewer, 200),
        ("POST", cancel, None, 401),
        ("POST", cancel, viewer, 403),
        ("POST", cancel, admin, 404),
        ("GET", "/healthz", None, 200),
    ]
    assert [quickstart.asked(method, path, key) for method, path, key, _ in table] == [one[-1] for one in table]


def test_a_queue_over_kafka_has_its_topics(kube: Kube, ledger: Queue) -> None:
    queue = kube.wait_condition("TaskQueue", APPS, "ledger", "TopicsReady", 60)
    topics = {topic["name"].rsplit(".", 1)[1]: topic for topic in queue["status"]["topics"]}
    assert set(topics) == {"tasks", "events", "dead"}
    assert all(topic["owned"] for topic in topics.values())
    until("two workers are ready", lambda: len(kube.ready_pods(APPS, ledger.workers)) == 2, 60)
