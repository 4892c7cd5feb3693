"""What each figure should reach with everything on a machine of 2 cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A bound of one figure: ``sign`` is >=, <= or =; ``bound`` a value, or the name of another figure."""

    figure: str
    sign: str
    bound: float | bool | str

    def reached(self, found: Mapping[str, Any]) -> bool | None:
        """Whether it is; None when the figure was not measured."""
        value = found.get(self.figure)
        bound = found.get(self.bound) if isinstance(self.bound, str) else self.bound
        if value is None or bound is None:
            return None
        if self.sign == "=":
            return bool(value == bound)
        return bool(value >= bound if self.sign == ">=" else value <= bound)


_DIRECT: dict[str, list[Target]] = {
    "throughput": [
        Target("enqueue_per_s", ">=", 150_000),
        Target("enqueue_one_per_s", ">=", 6_000),
        Target("drain_per_s", ">=", 50_000),
        Target("drain_all_per_s", ">=", 60_000),
    ],
    "latency": [
        Target("idle_p50_ms", "<=", 0.7),
        Target("idle_p99_ms", "<=", 1.2),
        Target("half_load_p99_ms", "<=", 3),
    ],
    "priority": [
        Target("urgent_start_p50_ms", "<=", 1.2),
        Target("urgent_start_p99_ms", "<=", 5),
        Target("inversions_max", "<=", 0),
    ],
}
_KAFKA: dict[str, list[Target]] = {
    "throughput": [Target("drain_per_s", ">=", 40_000)],
    "latency": [Target("idle_p50_ms", "<=", 3), Target("idle_p99_ms", "<=", 8)],
    "priority": [Target("urgent_start_p99_ms", "<=", 55), Target("inversions_max", "<=", "credits_max")],
}
#: What has to hold whatever the machine: when it does not, the bench ends with exit code 1.
_ALWAYS: dict[str, list[Target]] = {
    "throughput": [Target("exact", "=", True)],
    "limiter": [Target("error", "=", 0)],
    "recovery": [Target("lost", "=", 0), Target("settled_twice", "=", 0)],
}
_BOTH: dict[str, list[Target]] = {
    "limiter": [Target("p99_us", "<=", 1_000)],
    "recovery": [Target("recovery_p100_s", "<=", 3)],
    "memory": [Target("bytes_per_queued_task", "<=", 300)],
    "depth": [Target("drain_ratio", ">=", 0.9), Target("ratio_1m_to_1k", ">=", 0.8)],
}


def targets(bench: str, transport: str) -> dict[str, Target]:
    """The targets of a bench by figure."""
    own = (_KAFKA if transport == "kafka" else _DIRECT).get(bench, [])
    return {each.figure: each for each in [*own, *_BOTH.get(bench, []), *_ALWAYS.get(bench, [])]}


def broken(bench: str, found: Mapping[str, Any]) -> list[str]:
    """The figures that contradict a promise."""
    return [each.figure for each in _ALWAYS.get(bench, []) if each.reached(found) is False]
