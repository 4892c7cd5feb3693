"""What the end-to-end tests count with, by cases: an account that could not be wrong would prove nothing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from tests.e2e.report import FIGURES, Report
from tests.e2e.waiting import Seen, until

from laneway.tend.relay import EVENT_SCHEMA, Event, EventTasks

_LEDGER = Path(__file__).parents[1] / "e2e" / "inside" / "queue_ledger.py"


@pytest.fixture(scope="module")
def ledger() -> ModuleType:
    """The module that runs in the agent's pod."""
    spec = importlib.util.spec_from_file_location("queue_ledger", _LEDGER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _event(kind: str, sequence: str, *ids: str) -> bytes:
    return msgspec.json.encode(Event(EVENT_SCHEMA, "q", kind, 1, sequence, [EventTasks("default", 1, list(ids))]))


def test_an_event_that_was_published_twice_settles_once(ledger: ModuleType) -> None:
    lines = [_event("succeeded", "1-0", "a", "b"), _event("succeeded", "1-0", "a", "b")]
    assert ledger.final_events(lines) == {"a": ["succeeded"], "b": ["succeeded"]}


def test_two_final_events_of_a_task_are_seen_as_two(ledger: ModuleType) -> None:
    lines = [_event("succeeded", "1-0", "a"), _event("dead", "2-0", "a"), _event("retry", "3-0", "a")]
    assert ledger.final_events(lines) == {"a": ["succeeded", "dead"]}


def test_the_last_line_has_every_figure_and_the_worst_recovery(tmp_path: Path) -> None:
    report = Report(tmp_path / "results.jsonl")
    for seconds in (3.0, 14.456, 2.0):
        report.figure("worst_recovery_s", seconds)
    report.figure("lost", 0)
    line = json.loads(report.last_line())
    assert tuple(line) == FIGURES
    assert line["worst_recovery_s"] == 14.46 and line["lost"] == 0
    assert line["submitted"] is None


def test_the_table_has_each_step_with_what_was_seen_in_it(tmp_path: Path) -> None:
    report = Report(tmp_path / "results.jsonl")
    report.note("recovered in", 1.234)
    report.step("a killed poller", 2.0, "ok")
    with pytest.raises(ZeroDivisionError), report.timed("cluster"):
        raise ZeroDivisionError
    lines = report.table().splitlines()
    assert lines[1].split() == ["a", "killed", "poller", "2.0", "ok;", "recovered", "in", "1.23"]
    assert lines[2].split()[0] == "cluster" and lines[2].endswith("failed")


def test_a_wait_that_fails_says_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"two workers \(seen last: one of 2\)"):
        until("two workers", lambda: Seen("one of", 2), 0.01)
