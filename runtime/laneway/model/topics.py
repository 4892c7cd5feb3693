"""The Kafka topics of a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: What one request or record may take: the largest payload that a manifest allows (16 MiB), and what goes with it.
MAX_REQUEST: Final = 18_874_368

#: In place of a number of copies: what the brokers have as their default.
BROKERS_DEFAULT: Final = -1


@dataclass(frozen=True, slots=True)
class Topics:
    """The three topics of one queue: dispatched tasks, what happened, dead letters."""

    tasks: str
    events: str
    dead: str

    @classmethod
    def of(cls, namespace: str, queue: str) -> Topics:
        """Topic names by convention: ``laneway.<namespace>.<queue>.tasks`` and so on."""
        prefix = f"laneway.{namespace}.{queue}"
        return cls(f"{prefix}.tasks", f"{prefix}.events", f"{prefix}.dead")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it shall be. ``replication`` may be :data:`BROKERS_DEFAULT`; ``configs`` are Kafka's settings, by
    name."""

    name: str
    partitions: int = 1
    replication: int = BROKERS_DEFAULT
    configs: Mapping[str, str] = field(default_factory=dict)
