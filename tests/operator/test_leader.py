"""Two operator processes on a real API server: one works, the other takes over, and no write comes late."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.operators import Line, Process, install_crds, ledger, ledger_operator, make_queue, until

from servers.envtest import Envtest


class Pair:
    """Operators a and b in one namespace with a queue; a leads and has written."""

    def __init__(self, envtest: Envtest, namespace: str, folder: Path, **options: float) -> None:
        self._envtest = envtest
        self._namespace = namespace
        self._started: list[Process] = []
        install_crds(envtest)
        make_queue(envtest, namespace, "orders")
        self._folder = folder
        self._options = options

    def __enter__(self) -> "Pair":
        self.a = self.start("a")
        until("a writes", lambda: bool(self.ledger()), process=self.a)
        self.b = self.start("b")
        until("b is ready", lambda: self.b.ready, process=self.b)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._started:
            process.kill()

    def start(self, name: str) -> Process:
        """A process of this name."""
        process = ledger_operator(self._folder, self._envtest, self._namespace, name, **self._options)
        self._started.append(process)
        return process

    def ledger(self) -> list[Line]:
        """The writes of both, in order."""
        return ledger(self._envtest, self._namespace)

    def by(self, who: str) -> int:
        """How many writes one of them has made."""
        return sum(line.by == who for line in self.ledger())

    def lease(self) -> dict[str, Any]:
        """The Lease's spec."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/laneway-operator"
        return dict(self._envtest.admin.request("GET", path)["spec"])


@pytest.fixture
def pair(envtest: Envtest, namespace: str, tmp_path: Path) -> Iterator[Pair]:
    with Pair(envtest, namespace, tmp_path) as made:
        yield made


def assert_one_at_a_time(lines: list[Line]) -> None:
    """Each has written without the other in between, and epochs grow with each change."""
    turns = [who for who, _ in itertools.groupby(line.by for line in lines)]
    assert len(turns) == len(set(turns)), turns
    assert [line.epoch for line in lines] == sorted(line.epoch for line in lines)
    assert len({(line.by, line.epoch) for line in lines}) == len(turns)


def test_when_the_leader_is_killed_the_other_leads_within_15_seconds(pair: Pair) -> None:
    assert (pair.a.leads, pair.b.leads) == (True, False)
    assert pair.by("b") == 0
    pair.a.kill()
    took = until("b writes", lambda: pair.by("b") > 0, process=pair.b)
    assert took < 15
    assert pair.b.leads
    assert_one_at_a_time(pair.ledger())
    assert pair.lease()["leaseTransitions"] == 2


def test_a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on(pair: Pair) -> None:
    pair.a.pause()
    until("b writes", lambda: pair.by("b") > 3, process=pair.b)
    written = pair.by("a")
    pair.a.resume()
    until("a follows", lambda: pair.a.said("leads no more"), process=pair.a)
    goes_on = pair.by("b")
    until("b goes on", lambda: pair.by("b") > goes_on + 20, process=pair.b)
    assert pair.by("a") == written
    assert_one_at_a_time(pair.ledger())
    assert (pair.a.leads, pair.b.leads) == (False, True)
    assert pair.a.metric("laneway_operator_fenced_writes") > 0


def test_a_leader_that_stops_in_order_ends_its_passes_and_gives_the_lease_back(
    envtest: Envtest, namespace: str, tmp_path: Path
) -> None:
    with Pair(envtest, namespace, tmp_path, takes=0.5) as pair:
        before = pair.by("a")
        until("a begins another pass", lambda: pair.by("a") > before, process=pair.a)
        pair.a.stop(timeout=20)
        assert pair.a.said("operator stopped")
        assert not [line for line in pair.a.events() if line["level"] == "error"]
        assert pair.lease()["holderIdentity"].partition("_")[0] != "a"
        took = until("b writes", lambda: pair.by("b") > 0, process=pair.b)
        assert took < 8  # its next look at the Lease is 2 s away; a lease that runs out would take 10 s
        lines = [line.line for line in pair.ledger() if line.by == "a"]
        assert lines == list(range(1, len(lines) + 1))  # each pass that began has written
        assert_one_at_a_time(pair.ledger())


def test_a_leader_goes_on_through_an_api_server_that_is_away_and_comes_back(
    envtest: Envtest, namespace: str, tmp_path: Path
) -> None:
    install_crds(envtest)
    make_queue(envtest, namespace, "orders")
    process: Process = ledger_operator(tmp_path, envtest, namespace, "a")
    try:
        until("a writes", lambda: bool(ledger(envtest, namespace)), process=process)
        envtest.pause()
        until("a notices", lambda: not process.leads, process=process)
        answer = process.ask("/healthz")
        assert answer is not None and answer.status == 200, answer
        envtest.resume()
        written = len(ledger(envtest, namespace))
        until("a writes again", lambda: len(ledger(envtest, namespace)) > written, process=process)
        assert process.alive
    finally:
        envtest.ensure()
        process.kill()
