"""A frame of ``laneway top``: what it says, and that it fits."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from laneway.cli.top_frame import Frame, _curve, _rates, draw
from laneway.client.http_answers import History, LaneItem, Stats, TaskItem, WorkerItem, read_answer

AT = datetime(2030, 1, 1, 12, 0, 5, tzinfo=UTC)


def frame(lanes: int = 2, workers: int = 1, dead: int = 0, seconds: float = 0.0, **tasks: int) -> Frame:
    counts = {"submitted": 0, "queued": 0, "running": 0, "succeeded": 0, "dead": dead, **tasks}
    at = (AT + timedelta(seconds=seconds)).isoformat()
    points: list[dict[str, Any]] = [
        {"at": (AT.replace(second=0) - timedelta(seconds=10 * n)).isoformat(), "succeeded": 100 * n, "waitP50": 0.5}
        for n in range(3, -1, -1)
    ]
    return Frame(
        read_answer({"queue": "q", "at": at, "tasks": counts}, Stats),
        [read_answer({"name": f"lane-{n}", "queued": n}, LaneItem) for n in range(lanes)],
        [
            read_answer({"id": str(n), "name": f"w-{n:03}", "slots": 4, "running": 2}, WorkerItem)
            for n in range(workers)
        ],
        [
            read_answer({"id": "x", "state": "dead", "error": {"kind": "E", "message": "m\x1b[2J\n" * 99}}, TaskItem)
            for _ in range(dead)
        ],
        read_answer({"step": "10s", "points": points}, History),
    )


def lines(drawn: Any, height: int, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, markup=False)
    with console.capture() as capture:
        console.print(drawn)
    return capture.get().splitlines()


@pytest.mark.parametrize("height", [24, 30, 60])
@pytest.mark.parametrize(("lanes", "workers", "dead"), [(1, 0, 0), (40, 200, 3), (2, 200, 3), (40, 1, 0)])
def test_a_frame_fits_its_terminal(height: int, lanes: int, workers: int, dead: int) -> None:
    shown = lines(draw("q", frame(lanes, workers, dead), height, "a note"), height)
    assert len(shown) <= height
    assert "lane-0" in "\n".join(shown)
    assert "a note" in shown[-1]
    if workers == 200:
        assert "w-000" in "\n".join(shown) and "more workers" in "\n".join(shown)


def test_what_tasks_say_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in "\n".join(lines(draw("q", frame(dead=1), 30), 30))


def test_rates_are_what_changed_since_the_frame_before() -> None:
    before, after = frame(submitted=100, succeeded=50), frame(seconds=2.0, submitted=120, succeeded=40, dead=4)
    assert _rates(after, before) == {"submitted": 10.0, "succeeded": 0.0, "dead": 2.0, "cancelled": 0.0, "expired": 0.0}


def test_a_first_frame_has_the_rates_of_the_last_whole_step() -> None:
    first = frame()
    assert _rates(first, None)["succeeded"] == 10.0
    first.history = None
    assert _rates(first, None) == {}


def test_latencies_are_the_last_that_are_known() -> None:
    assert frame().latency() == {"waitP50": 0.5, "waitP99": None, "runP50": None, "runP99": None}


def test_a_curve_has_the_newest_values_and_shows_little_as_something() -> None:
    assert _curve([0, 1, 500, 1000]) == "▁▁▄█"
    assert _curve([0.0, 0.0]) == "▁▁"
    assert _curve(range(100), width=3) == "█" * 3
