"""What the bench has to know of a system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.session import Session

SYSTEMS = Path(__file__).parent / "systems"

#: What is measured, in the order of a round.
WORKLOADS = ("enqueue", "drain_one", "drain_all", "latency", "urgent", "flood", "depth", "recovery")


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers that are wanted. ``bin`` is where the system's programs are; ``slots`` in each process, ``plan`` as
    the adapters read it: enqueue, drain, latency, urgent, flood, depth or recovery."""

    plan: str
    processes: int
    slots: int
    bin: Path


@dataclass(frozen=True, slots=True)
class System:
    """One system. Settings that the adapter makes are in its folder, ``systems/<folder>``."""

    name: str
    title: str
    language: str
    """Python, Go or Node."""
    workers: Callable[[Crew], list[list[str]]]
    """The commands that start the workers wanted."""
    pending: Callable[[Session], int]
    """How many tasks are not settled yet, as Redis knows it; 0 once all are."""
    settings: tuple[str, ...]
    """What was set for speed, why, and the page of its documentation that says so."""
    versions: tuple[str, ...] = ()
    """Packages whose versions are shown."""
    folder: str = ""
    """Of its adapter; its name unless said."""
    slots: int = 1
    """Tasks at once in one worker process, where not all systems get the same."""
    one_slot: bool = False
    """A worker process runs one task at a time, whatever is asked."""
    files: Callable[[Crew], int] = lambda crew: crew.processes
    """How many processes must have run a task before a measurement begins."""
    prepare: Callable[[Session], None] | None = None
    """Before anything else is started."""
    background: Callable[[Session], list[list[str]]] | None = None
    """Commands of what runs beside the workers."""
    drain_share: float = 1.0
    """The part of the drain workloads' tasks that it gets, because all of them would take it minutes."""
    kafka: bool = False
    cannot: Mapping[str, str] = field(default_factory=dict)
    """By workload: why it is not measured."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By workload: what the reader has to know of how it was done."""

    @property
    def ours(self) -> bool:
        """Whether it is Laneway."""
        return self.name.startswith("laneway")

    @property
    def path(self) -> Path:
        """The folder of its adapter."""
        return SYSTEMS / (self.folder or self.name)
