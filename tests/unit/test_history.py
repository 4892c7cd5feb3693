"""From kept buckets to points, quantiles and rates: pure."""

import math
import random

import pytest

from laneway.kit.metrics import RUN_BUCKETS, WAIT_BUCKETS, Timer
from laneway.model.config import LaneConfig, QueueConfig
from laneway.policy.history import points, started
from laneway.policy.load import load_of, rates
from laneway.policy.quantiles import quantile
from laneway.ports.history import Bucket
from laneway.ports.store import LaneStats, QueueStats, WorkerStats


def histogram(bounds: tuple[float, ...], values: list[float]) -> list[float]:
    timer = Timer(bounds)
    for value in values:
        timer.observe(value)
    return [*timer.counts, timer.total]


# -- quantiles


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile(0.5, (1.0, 2.0), [0, 0, 0]) is None


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_an_estimate_is_in_the_bucket_of_the_true_quantile(q: float, spread: float) -> None:
    chance = random.Random(3)
    values = sorted(math.exp(chance.gauss(-2, spread)) for _ in range(5000))
    true = values[max(0, math.ceil(q * len(values)) - 1)]
    found = quantile(q, RUN_BUCKETS, histogram(RUN_BUCKETS, values)[:-1])
    assert found is not None
    low = max((bound for bound in RUN_BUCKETS if bound < true), default=0.0)
    high = min(bound for bound in RUN_BUCKETS if bound >= true)
    assert low <= found <= high


def test_values_over_the_last_bound_count_as_that_and_small_ones_begin_at_0() -> None:
    assert quantile(0.9, (1.0, 2.0), [0, 0, 5]) == 2.0
    assert quantile(0.5, (1.0, 2.0), [4, 0, 0]) == 0.5


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 bounds need 3 counts, not 2"):
        quantile(0.5, (1.0, 2.0), [1, 2])
    with pytest.raises(ValueError, match="from 0 to 1, not 5"):
        quantile(5, (1.0,), [1, 2])


# -- points


def sized(at: int, queued: int, running: int, **more: object) -> Bucket:
    return Bucket(
        at,
        g=[2, queued, running, 0, 1, 10, 2 * queued, 2 * running, 0, 2, 20],
        l={"high": [2, queued, running, 2 * queued, 2 * running]},
        **more,  # type: ignore[arg-type]
    )


def test_counts_add_up_and_sizes_are_means_over_a_step() -> None:
    first = sized(600, 10, 2, n={"submitted": {"high": 3, "low": 1}, "dead": {"high": 1}})
    second = sized(630, 20, 4, n={"submitted": {"high": 2}})
    (point,) = points([first, second], 60)
    assert (point.at, point.counts) == (600, {"submitted": 6, "dead": 1})
    assert (point.queued, point.running, point.slots) == (15, 3, 10)
    assert point.lanes["high"].submitted == 5
    assert point.lanes["low"].queued is None


def test_a_step_without_buckets_has_no_point_and_one_without_samples_no_sizes() -> None:
    found = points([Bucket(600, n={"dead": {"high": 1}}), sized(720, 1, 1)], 60)
    assert [point.at for point in found] == [600, 720]
    assert found[0].queued is None and found[0].wait_p50 is None
    assert found[1].queued == 1


def test_waits_of_all_lanes_make_the_queues_quantiles() -> None:
    waits = {"high": histogram(WAIT_BUCKETS, [0.004] * 99), "low": histogram(WAIT_BUCKETS, [40.0])}
    (point,) = points([Bucket(0, w=waits, r={"high": [1.0, 2.0]})], 10)
    assert point.wait_p50 is not None and 0.002 < point.wait_p50 <= 0.005
    assert point.lanes["low"].wait_p99 is not None and 30 < point.lanes["low"].wait_p99 <= 60
    assert point.run_p50 is None  # (kept by a version with other bounds)


def test_started_is_what_ended_and_what_more_is_held() -> None:
    before = sized(0, 5, 2)
    now = sized(10, 5, 6, n={"succeeded": {"high": 7}, "retried": {"high": 1}, "cancelled": {"high": 9}})
    assert started([now], before, "high") == 12
    assert started([now], None, "high") is None
    assert started([now], before, "low") is None


# -- rates and load


def minute(now: int, held: int, ended: float, queued: int = 50, **more: object) -> list[Bucket]:
    return [
        sized(at, queued, held, n={"succeeded": {"high": ended}, "submitted": {"high": 5}}, **more)
        for at in range(now - 60, now, 10)
    ]


def stats(queued: int, running: int, slots: int, held: int) -> QueueStats:
    names = "submitted purged queued scheduled parked blocked dispatched running succeeded dead cancelled expired"
    return QueueStats(
        0, dict.fromkeys(names.split(), 0), [LaneStats("high", queued, running, 0)],
        [
            WorkerStats(b"a" * 8, "w", "direct", 2, slots, 0, -1, held, 0),
            WorkerStats(b"b" * 8, "gone", "direct", 3, 99, 0, -1, 1, 0),
        ],
        0, 0, 0, 0,
    )  # fmt: skip


def test_a_hold_is_littles_law() -> None:
    found = rates(minute(1000, held=8, ended=20), 1002.0)
    assert found.lanes["high"].ends == pytest.approx(2.0)
    assert found.lanes["high"].arrivals == pytest.approx(0.5)
    assert found.lanes["high"].hold_s == pytest.approx(4.0)
    assert found.busy_slots == pytest.approx(8)


def test_run_times_stand_in_where_too_little_has_ended_and_then_what_workers_tell() -> None:
    buckets = minute(1000, held=8, ended=0, r={"high": histogram(RUN_BUCKETS, [30.0, 50.0])})
    assert rates(buckets, 1002.0).lanes["high"].hold_s == pytest.approx(40.0)
    assert rates([], 1000.0, run_ms=1500).hold_s == 1.5
    assert rates([], 1000.0).hold_s is None


def test_slots_that_were_not_all_used_though_work_waited_do_not_count() -> None:
    config = QueueConfig(lanes=(LaneConfig(n=1, name="high", share=20, max=5, drate=2.0),))
    lately = rates(minute(1000, held=8, ended=20), 1002.0)
    load = load_of(stats(30, 8, slots=10, held=8), config, lately)
    assert load.slots == pytest.approx(8)
    assert load.free == 2
    (only,) = load.lanes
    assert (only.queued, only.running, only.share, only.max_running, only.dispatch_rate) == (30, 8, 20, 5, 2.0)
    idle = rates(minute(1000, held=1, ended=20, queued=0), 1002.0)
    assert load_of(stats(0, 1, slots=10, held=1), config, idle).slots == 10
