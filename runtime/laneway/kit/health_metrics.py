"""The health of loops as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.kit.health import Health
from laneway.kit.metrics import counter_family, gauge_family


class HealthCollector(Collector):
    """Exposes how long each watched loop has been silent, and how often it broke."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from HealthCollector(Health()).collect()

    def collect(self) -> Iterator[Metric]:
        """A sample per watched loop."""
        marks = self._health.marks
        yield counter_family("laneway_service_failures_total", (((m.name,), m.failures) for m in marks))
        yield gauge_family("laneway_service_silence_seconds", (((m.name,), m.silence) for m in marks))
