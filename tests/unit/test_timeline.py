"""A task's timeline: in the order in which things happened, whatever the clocks say, and through replays."""

from __future__ import annotations

import pytest

from laneway.gateway.timeline import history, waits
from laneway.kit.ids import new_task_id
from laneway.model.envelope import Body, Envelope
from laneway.model.record import HAS_ERRORS, AttemptError, Record
from laneway.model.states import State
from laneway.ports.store import TaskView

SUBMITTED = 1_000_000


def seen(
    state: State, attempts: int, errors: list[AttemptError], started: int = 0, since: int = SUBMITTED + 900
) -> TaskView:
    """A task as the store gives it; times are ms."""
    env = Envelope(1, 4, 3, "", Body("t", b""))
    env.submitted_ms = SUBMITTED
    record = Record(state, HAS_ERRORS if errors else 0, 1, 0, 3, attempts, 100, 0.0, 1, since, b"", "")
    record.started_ms = SUBMITTED + started if started else 0
    return TaskView(new_task_id(), state, env, record, errors, None)


def error(attempt: int, at: int, kind: str = "E") -> AttemptError:
    return AttemptError(kind, at=SUBMITTED + at, attempt=attempt)


def story(view: TaskView) -> list[tuple[str, int | None]]:
    return [(event.what, event.attempt) for event in history(view)]


@pytest.mark.parametrize("state", [State.DEAD, State.SCHEDULED, State.QUEUED])
def test_an_error_comes_after_its_start_though_both_were_in_one_millisecond(state: State) -> None:
    view = seen(state, 2, [error(1, 10), error(2, 20)], started=20)
    assert story(view) == [
        ("submitted", None), ("failed", 1), ("started", 2), ("failed", 2), (state.label, 2),
    ]  # fmt: skip


def test_a_death_comes_after_its_start_though_the_workers_clock_is_behind() -> None:
    view = seen(State.DEAD, 1, [error(1, -500)], started=20)
    assert story(view) == [("submitted", None), ("started", 1), ("failed", 1), ("dead", 1)]


def test_a_running_attempt_started_after_the_errors_of_those_before() -> None:
    view = seen(State.RUNNING, 2, [error(1, 20)], started=20)
    assert story(view) == [("submitted", None), ("failed", 1), ("started", 2)]
    assert waits(view, SUBMITTED + 50).wait_seconds == 0.02


def test_a_replay_that_waits_tells_when_it_was_replayed_and_not_how_long_it_waits() -> None:
    view = seen(State.QUEUED, 0, [error(1, 10), error(2, 30)], started=20, since=SUBMITTED + 500)
    assert story(view) == [
        ("submitted", None), ("failed", 1), ("started", 2), ("failed", 2), ("replayed", None), ("queued", None),
    ]  # fmt: skip
    replayed, queued = history(view)[-2:]
    assert replayed.at == queued.at
    told = waits(view, SUBMITTED + 1000)
    assert (told.wait_seconds, told.run_seconds) == (None, None)


@pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED])
def test_a_replay_that_runs_or_did_well_has_a_first_attempt_again(state: State) -> None:
    view = seen(state, 1, [error(1, 10)], started=600)
    assert story(view)[:4] == [("submitted", None), ("failed", 1), ("replayed", None), ("started", 1)]
    told = waits(view, SUBMITTED + 900)
    assert (told.wait_seconds, told.run_seconds) == (None, 0.3)
    assert history(view)[2].at is None


def test_a_replay_that_died_again_parts_the_errors_of_before_from_its_own() -> None:
    view = seen(State.DEAD, 2, [error(1, 10), error(2, 20), error(1, 600), error(2, 700)], started=700)
    assert story(view) == [
        ("submitted", None), ("failed", 1), ("failed", 2), ("replayed", None),
        ("failed", 1), ("started", 2), ("failed", 2), ("dead", 2),
    ]  # fmt: skip
    assert waits(view, SUBMITTED + 1000).wait_seconds is None


def test_two_crashes_and_snoozes_are_no_replay() -> None:
    crashed = seen(State.RUNNING, 3, [error(0, 10, "crash"), error(0, 20, "crash")], started=30)
    assert story(crashed) == [("submitted", None), ("crashed", None), ("crashed", None), ("started", 3)]
    snoozed = seen(State.SCHEDULED, 0, [error(1, 10, "Snooze"), error(1, 20, "Snooze")], started=15)
    assert "replayed" not in [what for what, _ in story(snoozed)]
    assert waits(snoozed, SUBMITTED + 50).wait_seconds == 0.015


def test_one_failure_that_waits_for_its_retry_is_no_replay() -> None:
    view = seen(State.SCHEDULED, 1, [error(1, 20)], started=10)
    assert story(view) == [("submitted", None), ("started", 1), ("failed", 1), ("scheduled", 1)]
    told = waits(view, SUBMITTED + 50)
    assert (told.wait_seconds, told.run_seconds) == (0.01, 0.01)
