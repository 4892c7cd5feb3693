"""Runs workloads over systems in rounds, in an order that rotates; what fails spoils no other."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.peers import workloads
from benchmarks.peers.figures import rotated
from benchmarks.peers.install import Installed, install
from benchmarks.peers.processes import Failed
from benchmarks.peers.session import Session
from benchmarks.peers.settings import Sizes
from benchmarks.peers.system import WORKLOADS, System

from servers.kafka import KafkaServer

if TYPE_CHECKING:
    from collections.abc import Iterator

Say = Callable[[str], None]
#: Workloads that are measured once: they take long, and what they tell hardly varies.
ONCE = ("depth",)


@dataclass(slots=True)
class Outcome:
    """What one system did: figures of each round by workload, and why a workload has none."""

    versions: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def samples(self, workload: str, figure: str) -> list[float]:
        """One figure in all rounds; empty when the workload failed once, or has no such figure."""
        if workload in self.failures:
            return []
        return [found[figure] for found in self.figures.get(workload, []) if figure in found]

    def median(self, workload: str, figure: str) -> float | None:
        """Its median, or None."""
        samples = self.samples(workload, figure)
        return statistics.median(samples) if samples else None


class Runner:
    """Installs systems and measures them."""

    def __init__(self, systems: Sequence[System], sizes: Sizes, wanted: Sequence[str], say: Say) -> None:
        self.systems = list(systems)
        self.sizes = sizes
        self.wanted = [name for name in WORKLOADS if name in wanted]
        self.say = say
        self.outcomes = {system.name: Outcome() for system in systems}
        self._installed: dict[str, Installed] = {}
        self._kafka: KafkaServer | None = None

    def run(self) -> dict[str, Outcome]:
        """Everything, and the outcomes by the systems' names."""
        for system in self.systems:
            self._install(system)
        able = [system for system in self.systems if system.name in self._installed]
        with ExitStack() as stack:
            self._start_kafka(stack, able)
            for round in range(self.sizes.rounds):
                for i, workload in enumerate(self.wanted):
                    if workload == "recovery" or (workload in ONCE and round):
                        continue
                    for system in rotated(able, round * (len(able) // 2 + 1) + i):
                        self._measure(system, workload, round)
            if "recovery" in self.wanted:
                self._recoveries(able)
        return self.outcomes

    def _install(self, system: System) -> None:
        outcome = self.outcomes[system.name]
        try:
            found = install(system)
        except (Failed, OSError) as error:
            outcome.failures = {name: f"not installed: {error}" for name in self.wanted}
            self.say(f"{system.title}: not installed: {error}")
            return
        self._installed[system.name] = found
        outcome.versions = found.versions
        self.say(f"{system.title}: " + ", ".join(f"{name} {version}" for name, version in found.versions.items()))

    def _start_kafka(self, stack: ExitStack, systems: Sequence[System]) -> None:
        """One broker for all sessions that need it; it stands still while others are measured."""
        if not any(system.kafka for system in systems):
            return
        try:
            # It stands still for minutes, and must not be taken for dead when it goes on.
            broker = KafkaServer(properties={"broker.session.timeout.ms": "86400000"})
            stack.callback(broker.close)
            broker.start()
        except RuntimeError as error:  # the jars, or Java, are missing: said in the cells of those who need it
            self.say(f"no Kafka: {error}")
            for system in systems:
                if system.kafka:
                    self.outcomes[system.name].failures = {name: f"no Kafka: {error}" for name in self.wanted}
            return
        broker.pause()
        stack.callback(broker.resume)
        self._kafka = broker

    @contextmanager
    def _kafka_for(self, system: System) -> Iterator[None]:
        if not (system.kafka and self._kafka):
            yield
            return
        self._kafka.resume()
        try:
            self._kafka.process.wait_ready(self._kafka.answers, 30.0)
            yield
        finally:
            self._kafka.pause()

    def _measure(self, system: System, workload: str, round: int) -> None:
        outcome = self.outcomes[system.name]
        if workload in system.cannot or workload in outcome.failures:
            return
        began = time.monotonic()
        try:
            with self._kafka_for(system):
                figures = self._work(system, workload)
        except Exception as error:  # whatever one system does is told in its cell, and the others go on
            outcome.failures[workload] = str(error) or type(error).__name__
            self.say(f"{workload} {round + 1}: {system.title}: FAILED: {error}")
            return
        outcome.figures.setdefault(workload, []).append(figures)
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.say(f"{workload} {round + 1}: {system.title}: {told} ({time.monotonic() - began:.0f} s)")

    def _work(self, system: System, workload: str) -> dict[str, float]:
        def open_session(plan: str, tasks: int) -> Session:
            return Session(system, self._installed[system.name], plan, tasks, self._kafka)

        if workload.startswith("drain"):
            processes = 1 if workload == "drain_one" else os.cpu_count() or 1
            return workloads.drain(open_session, round(self.sizes.drain * system.drain_share), processes)
        if workload == "latency":
            return workloads.latency(open_session, self.sizes, self._drain_rate(system))
        simple = {"enqueue": workloads.enqueue, "urgent": workloads.urgent, "flood": workloads.flood,
                  "depth": workloads.depth, "recovery": workloads.recovery}  # fmt: skip
        return simple[workload](open_session, self.sizes)

    def _drain_rate(self, system: System) -> float | None:
        return self.outcomes[system.name].median("drain_one", "per_s")

    def _recoveries(self, systems: Sequence[System]) -> None:
        """Laneway alone, in rounds; then all peers at once, for they spend it waiting, mostly as long as they may.
        Who could not within the limit is not asked again."""
        for round in range(self.sizes.rounds):
            for system in systems:
                if system.ours:
                    self._measure(system, "recovery", round)
        peers = [system for system in systems if not system.ours]
        if not peers:
            return
        with ThreadPoolExecutor(len(peers)) as threads:
            for _ in threads.map(lambda system: self._measure(system, "recovery", 0), peers):
                pass
