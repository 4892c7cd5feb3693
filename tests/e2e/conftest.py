"""One cluster, one installation and one agent for all end-to-end tests, which run in the order of `_ORDER`.

They are collected only where `hack/e2e` (`make e2e`) has prepared images and a cluster, and run inside its network.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.e2e import dump
from tests.e2e.client import Client
from tests.e2e.installation import Installation
from tests.e2e.kube import Kube
from tests.e2e.queues import LEDGER, QUICKSTART, Queue, start_client
from tests.e2e.report import Report
from tests.e2e.settings import ENV, Run

from servers.clusters import Cluster, GivenCluster, KindCluster, NodeCluster

#: Each works on what those before it have left.
_ORDER = (
    "test_install",
    "test_credentials",
    "test_scale",
    "test_live_limits",
    "test_autoscaler",
    "test_crashes",
    "test_rollouts",
    "test_ledger",
    "test_delete",
)

collect_ignore_glob = [] if os.environ.get(ENV) else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in order; within one, the tests stay as they are written."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    others = [item for item in items if item.path.parent != Path(__file__).parent]
    items[:] = others + sorted(ours, key=lambda item: _ORDER.index(item.path.stem))


_SPENT = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write each test into the table, and beside each failure what the cluster looks like."""
    outcome = yield
    if item.path.parent != Path(__file__).parent:
        return outcome
    # What a fixture takes counts for the test that asks for it first.
    item.stash[_SPENT] = item.stash.get(_SPENT, 0.0) + call.duration
    if outcome.failed:
        outcome.sections.append(("the cluster", dump.everything()))
    if call.when == "call" or not outcome.passed:
        result = "ok" if outcome.passed else outcome.outcome
        Report(Path(Run.from_env().results)).step(_title(item), item.stash[_SPENT], result)
    return outcome


def _title(item: pytest.Item) -> str:
    return item.name.removeprefix("test_").replace("_", " ")


@pytest.fixture(scope="session")
def run() -> Run:
    """Names and images of this run."""
    return Run.from_env()


@pytest.fixture(scope="session")
def report(run: Run) -> Report:
    """Where figures go."""
    return Report(Path(run.results))


@pytest.fixture(scope="session")
def cluster(run: Run) -> Cluster:
    """The cluster that is up."""
    folder = Path(__file__).parents[2] / ".cluster"
    if run.kind == "given":
        return GivenCluster(Path(os.environ["KUBECONFIG"]))
    return KindCluster(folder) if run.kind == "kind" else NodeCluster(folder)


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """Its API."""
    return Kube(cluster.kubeconfig)


@pytest.fixture(scope="session")
def installation(run: Run, kube: Kube) -> Iterator[Installation]:
    """The chart, installed with development services; taken away at the end with all that it leaves."""
    with Installation(run, kube) as installation:
        installation.install()
        yield installation


@pytest.fixture(scope="session")
def client(run: Run, kube: Kube, installation: Installation) -> Iterator[Client]:
    """The agent in its pod."""
    with start_client(run, kube) as client:
        yield client


@pytest.fixture(scope="session")
def quickstart(run: Run, kube: Kube, client: Client) -> Queue:
    """examples/quickstart, with workers that scale: over Redis alone."""
    return Queue(QUICKSTART, kube, client).apply(run)


@pytest.fixture(scope="session")
def ledger(run: Run, kube: Kube, client: Client) -> Queue:
    """A queue over Kafka with two workers."""
    return Queue(LEDGER, kube, client).apply(run)
