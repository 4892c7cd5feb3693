"""Health is about progress, not about running."""

import pytest

from laneway.kit.health import Health


class Clock:
    """Monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def test_a_process_that_watches_nothing_is_live_and_ready(health: Health) -> None:
    assert health.live().ok and health.ready().ok


def test_a_loop_that_makes_progress_is_live(health: Health, clock: Clock) -> None:
    mark = health.watch("poller", 5.0)
    for _ in range(10):
        clock.now += 4.9
        assert health.live().ok
        mark.touch()


def test_a_loop_silent_for_too_long_is_not_live_and_the_reason_names_it(health: Health, clock: Clock) -> None:
    health.watch("poller", 5.0)
    fine = health.watch("relay", 60.0)
    clock.now += 7.5
    answer = health.live()
    assert not answer.ok
    assert answer.reasons == ("poller: progress 7.5 s ago, 5 s allowed",)
    assert answer.checks["poller"].startswith("silent")
    assert answer.checks[fine.name] == "progress 7.5 s ago, 60 s allowed"


def test_a_silent_loop_that_comes_back_is_live_again(health: Health, clock: Clock) -> None:
    mark = health.watch("poller", 5.0)
    clock.now += 100
    assert not health.live().ok
    mark.touch()
    assert health.live().ok


def test_exactly_the_allowed_silence_is_allowed(health: Health, clock: Clock) -> None:
    health.watch("poller", 5.0)
    clock.now += 5.0
    assert health.live().ok


def test_what_is_not_live_is_not_ready_either(health: Health, clock: Clock) -> None:
    health.watch("poller", 5.0)
    clock.now += 6
    assert not health.ready().ok
    assert health.ready().reasons == health.live().reasons


def test_a_condition_makes_it_not_ready_but_leaves_it_live(health: Health) -> None:
    why: list[str | None] = ["not started"]
    health.require("http", lambda: why[0])
    assert health.live().ok
    assert health.ready().reasons == ("http: not started",)
    why[0] = None
    assert health.ready().ok
    assert health.ready().checks["http"] == "ok"
    why[0] = "stopping"
    health.forget("http")
    assert health.ready().ok


def test_a_note_is_told_by_both_answers_and_changes_neither(health: Health) -> None:
    health.note("queue mail", lambda: "Redis is away")
    for answer in (health.live(), health.ready()):
        assert answer.ok
        assert answer.notes == ("queue mail: Redis is away",)


def test_a_loop_stopped_on_purpose_is_forgotten(health: Health, clock: Clock) -> None:
    health.watch("poller", 5.0)
    health.unwatch("poller")
    health.unwatch("poller")
    clock.now += 100
    assert health.live().ok


def test_two_loops_of_one_name_are_refused(health: Health) -> None:
    health.watch("poller", 5.0)
    with pytest.raises(ValueError, match="give each its own name"):
        health.watch("poller", 5.0)


@pytest.mark.parametrize("allowed", [0.0, -1.0, float("nan")])
def test_an_allowance_must_be_positive(health: Health, allowed: float) -> None:
    with pytest.raises(ValueError, match="over 0 seconds"):
        health.watch("poller", allowed)


def test_a_condition_that_holds_leaves_the_progress_of_its_loop_to_be_read(health: Health) -> None:
    health.watch("http", 10.0)
    health.require("http", lambda: None)
    assert health.ready().checks == {"http": "progress 0.0 s ago, 10 s allowed"}
    health.require("http", lambda: "stopping")
    assert health.ready().checks == {"http": "stopping"}
