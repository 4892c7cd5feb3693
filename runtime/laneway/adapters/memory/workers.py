"""Who works on a queue, in memory."""

from __future__ import annotations

from collections.abc import Callable

from laneway.adapters.memory.tables import DRAINING, GONE, Step
from laneway.ports.workers import Member


class MemoryWorkers:
    """The WorkerBook over the tables; ``step`` begins one call."""

    def __init__(self, step: Callable[[], Step]) -> None:
        self._step = step

    async def members(self, tasks: int) -> list[Member]:
        """Every registered worker."""
        step = self._step()
        found = []
        for inc, worker in step.t.workers.items():
            held = step.t.held_by(inc)
            found.append(
                Member(
                    inc, worker.name, worker.mode, worker.state, worker.slots, worker.partition, len(held),
                    max(0, step.now - worker.beat_ms), worker.since_ms, held[:tasks],
                )
            )  # fmt: skip
        return found

    async def drain(self, inc: bytes) -> bool:
        """Asks a worker to leave."""
        step = self._step()
        worker = step.t.workers.get(inc)
        if worker is None or worker.state == GONE:
            return False
        worker.state = DRAINING
        step.t.count_slots()
        step.wake(1)
        return True
