"""When a lane's next task would start: by what is ahead of it, shares, limits, rates and free slots."""

import dataclasses
import itertools
import random

import pytest

from laneway.policy.eta import Eta, LaneLoad, QueueLoad, etas


def lane(name: str, queued: int = 0, running: int = 0, hold: float | None = 1.0, **more: float | bool) -> LaneLoad:
    return LaneLoad(name, queued, running, hold, **more)  # type: ignore[arg-type]


def predict(*lanes: LaneLoad, slots: float = 10, free: float = 0, paused: bool = False) -> dict[str, Eta]:
    return {eta.lane: eta for eta in etas(QueueLoad(lanes, slots, free, paused))}


def test_a_free_slot_means_now() -> None:
    found = predict(lane("high"), lane("low", running=3), free=7)
    assert {eta.basis for eta in found.values()} == {"idle"}
    assert {eta.seconds for eta in found.values()} == {0.0}


def test_free_slots_that_better_lanes_backlog_will_take_are_none() -> None:
    found = predict(lane("high", queued=7), lane("low", running=3), free=7)
    assert found["low"].basis == "rate"
    assert found["low"].seconds is not None and found["low"].seconds > 0


@pytest.mark.parametrize(("queued", "slots", "hold"), [(0, 10, 1.0), (100, 10, 1.0), (1000, 50, 0.02), (3, 1, 600.0)])
def test_one_lane_drains_at_slots_over_hold(queued: int, slots: int, hold: float) -> None:
    found = predict(lane("only", queued, slots, hold), slots=slots)["only"]
    assert found.seconds == pytest.approx((queued + 1) * hold / slots, rel=0.1)
    assert found.rate == pytest.approx(slots / hold, rel=0.1)
    assert found.ahead == queued


def test_better_lanes_go_first_whatever_waits_below() -> None:
    found = predict(lane("high", queued=100), lane("low", queued=1000, running=10))
    assert found["high"].seconds == pytest.approx(10, rel=0.1)
    assert found["low"].seconds == pytest.approx(110, rel=0.1)
    assert (found["high"].ahead, found["low"].ahead) == (100, 1100)


def test_what_comes_into_better_lanes_meanwhile_delays_the_worse() -> None:
    half = predict(lane("high", running=5, arrivals=5.0), lane("low", queued=100, running=5))
    assert half["low"].seconds == pytest.approx(20, rel=0.15)
    most = predict(lane("high", running=9, arrivals=9.0), lane("low", queued=100, running=1))
    assert most["low"].seconds == pytest.approx(100, rel=0.15)


def test_a_lane_that_is_left_nothing_has_no_prediction() -> None:
    found = predict(lane("high", queued=5, running=10, arrivals=11.0), lane("low", queued=5))
    assert found["low"].seconds is None
    assert found["low"].basis == "unknown"
    assert found["high"].seconds is not None


def test_a_minimum_share_lets_it_start_all_the_same() -> None:
    found = predict(lane("high", queued=5, running=8, arrivals=11.0), lane("low", queued=100, running=2, share=20))
    assert found["low"].seconds == pytest.approx(50, rel=0.15)


def test_no_slot_is_taken_from_a_task_that_runs() -> None:
    found = predict(lane("high", queued=0, hold=0.01), lane("low", queued=50, running=10, hold=60.0))
    assert found["high"].seconds == pytest.approx(6, rel=0.2)


def test_a_limit_on_running_tasks_slows_its_lane_and_leaves_room_for_others() -> None:
    found = predict(lane("high", queued=100, running=2, max_running=2), lane("low"), free=8)
    assert found["high"].seconds == pytest.approx(50, rel=0.15)
    assert found["low"].seconds == 0.0


def test_a_dispatch_rate_bounds_the_drain() -> None:
    found = predict(lane("mail", queued=100, dispatch_rate=4.0), free=10)
    assert found["mail"].seconds == pytest.approx(25, rel=0.15)


def test_what_is_paused_has_no_prediction_and_holds_nobody_up() -> None:
    found = predict(lane("high", queued=1000, paused=True), lane("low", queued=10, running=10))
    assert found["high"].seconds is None
    assert found["low"].seconds == pytest.approx(1.1, rel=0.2)
    assert found["low"].ahead == 10
    assert predict(lane("high"), free=10, paused=True)["high"].seconds is None


def test_without_slots_or_anything_measured_it_is_unknown() -> None:
    assert predict(lane("high", queued=1), slots=0)["high"].basis == "unknown"
    assert predict(lane("high", queued=1, running=10, hold=None))["high"].basis == "unknown"
    assert predict(lane("high", hold=None), free=1)["high"].seconds == 0.0


def test_predictions_end_and_are_no_less_for_a_longer_backlog() -> None:
    chance, compared = random.Random(7), 0
    for _ in range(300):
        slots = chance.choice((1, 20, 500))
        n = chance.randint(1, 6)
        cuts = sorted(chance.randint(0, slots) for _ in range(n - 1))
        lanes = [
            lane(
                str(i),
                chance.choice((0, 1, 30, 100_000)),
                held,
                chance.choice((0.001, 1.0, 3600.0)),
                arrivals=chance.choice((0.0, 0.5, 100.0)),
                share=chance.choice((0, 0, 10)),
                max_running=chance.choice((0, 0, 3)),
                dispatch_rate=chance.choice((0.0, 0.0, 2.0)),
            )
            for i, held in enumerate(b - a for a, b in itertools.pairwise([0, *cuts, slots]))
        ]
        first = lanes[0]
        before = etas(QueueLoad(lanes, slots, 0))[0].seconds
        longer = dataclasses.replace(first, queued=first.queued * 2 + 1)
        after = etas(QueueLoad([longer, *lanes[1:]], slots, 0))[0].seconds
        assert before is None or before > 0
        # (the steps of the model are a tenth of the time passed, so it is so by and large)
        assert before is None or after is None or after >= before * 0.8
        # (what never ends for a short backlog does not for a long one)
        assert before is not None or after is None
        compared += before is not None and after is not None
    assert compared > 30
