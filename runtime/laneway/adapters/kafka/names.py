"""Topics of a queue."""

from __future__ import annotations

from dataclasses import dataclass


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
