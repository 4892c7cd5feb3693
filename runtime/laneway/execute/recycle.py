"""When a worker process has done enough and makes way for a fresh one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class RecycleLimits:
    """``max_tasks`` finished and ``max_rss`` (bytes of resident memory) of one process; 0: unbounded."""

    max_tasks: int = 0
    max_rss: int = 0


def why_recycle(limits: RecycleLimits, done: int, rss: int) -> str | None:
    """Why a process that finished ``done`` tasks and has ``rss`` bytes resident should drain, or None."""
    if limits.max_tasks and done >= limits.max_tasks:
        return f"it has run {done:,} tasks (limit {limits.max_tasks:,})"
    if limits.max_rss and rss >= limits.max_rss:
        return f"it has {rss / 1_048_576:.0f} MiB resident (limit {limits.max_rss / 1_048_576:.0f} MiB)"
    return None


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (this one by default), in bytes."""
    return int(psutil.Process(pid or os.getpid()).memory_info().rss)
