"""Filling free slots in turns: how many, that slots which ended together come apart, and that it costs nothing."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest

from laneway.policy.stagger import slots_to_fill

EXCHANGE_MS = 0.4


@pytest.mark.parametrize(
    ("free", "average_ms", "filled"),
    [
        (10, 0.0, 10),
        (10, 0.02, 10),
        (10, 0.6, 10),
        (10, 5.0, 3),
        (4, 5.0, 2),
        (1, 5.0, 1),
        (10, 60_000, 3),
        (0, 5.0, 0),
    ],
    ids=["not known", "short", "an exchange", "of ten", "of four", "the last", "long", "none free"],
)
def test_the_longer_handlers_take_the_fewer_slots_are_filled_at_once(free: int, average_ms: float, filled: int) -> None:
    assert slots_to_fill(free, 10, average_ms, EXCHANGE_MS) == filled


def test_an_exchange_that_was_not_measured_yet_leaves_no_slot_empty_for_long() -> None:
    free, asked = 1_000, 0
    while free:
        free -= slots_to_fill(free, 1_000, 60_000, 0.0)
        asked += 1
    assert asked <= 24


def starts(slots: int, handler_ms: float, until_ms: float, *, stagger: bool) -> list[float]:
    """When handlers begin on a worker whose slots all came free at once, while there is always more to do."""
    ends: list[float] = []
    began: list[float] = []
    now, free = 0.0, slots
    while now < until_ms:
        want = slots_to_fill(free, slots, handler_ms, EXCHANGE_MS) if stagger else free
        if want:
            now += EXCHANGE_MS
            free -= want
            began += [now] * want
            for _ in range(want):
                heapq.heappush(ends, now + handler_ms)
        else:
            now = ends[0]
        while ends and ends[0] <= now:
            heapq.heappop(ends)
            free += 1
    return began


@pytest.mark.parametrize(("slots", "most"), [(4, 1), (10, 2), (64, 8), (256, 31)])
def test_slots_in_step_come_apart(slots: int, most: int) -> None:
    def most_together(*, stagger: bool) -> int:
        return max(Counter(at for at in starts(slots, 5.0, 1_000, stagger=stagger) if at > 250).values())

    assert most_together(stagger=False) == slots
    assert most_together(stagger=True) <= most


@pytest.mark.parametrize("slots", [4, 10, 64, 256])
@pytest.mark.parametrize("handler_ms", [0.1, 1.0, 2.0, 5.0, 50.0])
def test_as_much_gets_done(slots: int, handler_ms: float) -> None:
    took = 200 * handler_ms
    assert len(starts(slots, handler_ms, took, stagger=True)) >= 0.995 * len(
        starts(slots, handler_ms, took, stagger=False)
    )
