"""When a worker process makes way for a fresh one."""

import os

import pytest

from laneway.execute.recycle import RecycleLimits, resident_bytes, why_recycle

MIB = 1_048_576


@pytest.mark.parametrize(
    ("limits", "done", "rss", "why"),
    [
        (RecycleLimits(), 10**9, 10**12, None),
        (RecycleLimits(max_tasks=1_000), 999, 10**12, None),
        (RecycleLimits(max_tasks=1_000), 1_000, 0, "it has run 1,000 tasks (limit 1,000)"),
        (RecycleLimits(max_rss=256 * MIB), 10**9, 256 * MIB - 1, None),
        (RecycleLimits(max_rss=256 * MIB), 0, 300 * MIB, "it has 300 MiB resident (limit 256 MiB)"),
        (RecycleLimits(max_tasks=5, max_rss=MIB), 9, 9 * MIB, "it has run 9 tasks (limit 5)"),
    ],
)
def test_a_process_makes_way_at_either_limit(limits: RecycleLimits, done: int, rss: int, why: str | None) -> None:
    assert why_recycle(limits, done, rss) == why


def test_resident_memory_grows_with_what_a_process_holds() -> None:
    before = resident_bytes(os.getpid())
    held = bytearray(b"\x01" * (64 * MIB))
    assert resident_bytes() - before > 32 * MIB
    assert len(held) == 64 * MIB
