"""Processor time by role, which a busy machine changes far less than it changes rates."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from laneway.bench.crew import Member
from laneway.bench.ground import Ground


class CpuMeter:
    """Reads what Redis, this process and members of the crew have used since it was begun."""

    def __init__(self, ground: Ground, members: Sequence[Member]) -> None:
        self._ground = ground
        self._members = members
        self._before: dict[str, float] = {}

    async def begin(self) -> None:
        """Counts from now on."""
        self._before = await self._read()

    async def per_task(self, tasks: int, prefix: str) -> dict[str, float]:
        """Microseconds per task by role, as figures: ``<prefix>_<role>_us``."""
        after = await self._read()
        return {
            f"{prefix}_{role}_us": round((after[role] - before) * 1e6 / tasks, 1)
            for role, before in self._before.items()
        }

    async def _read(self) -> dict[str, float]:
        used = {"redis": await redis_cpu(self._ground), "client": _used(psutil.Process())}
        for member in self._members:
            role = member.name.partition("-")[0]
            used[role] = used.get(role, 0.0) + _used(psutil.Process(member.pid))
        return used


async def redis_cpu(ground: Ground) -> float:
    """Seconds of processor time that Redis has used."""
    info = await ground.redis.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
