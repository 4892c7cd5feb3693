"""The parts of benches that decide: percentiles, settings, targets, the exact bucket, and marks."""

import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from laneway.bench import app as bench_app
from laneway.bench import latency, main, throughput
from laneway.bench.bucket import ExactBucket
from laneway.bench.figures import percentile
from laneway.bench.marks import Marks
from laneway.bench.settings import load_settings
from laneway.bench.targets import broken, targets
from laneway.errors import ConfigError


@pytest.mark.parametrize(
    ("samples", "q", "is_"),
    [
        ([7], 50, 7),
        ([7], 99, 7),
        ([3, 1, 2], 50, 2),
        (range(1, 101), 99, 99),
        (range(1, 102), 99, 100),
        ([1, 9], 100, 9),
    ],
)
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(samples: list[int], q: float, is_: int) -> None:
    assert percentile(list(samples), q) == is_


def test_no_sample_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)


def test_settings_take_the_type_of_their_default() -> None:
    got = load_settings("latency", latency.Settings, {"tasks": 50.0, "seconds": 2})
    assert (got.tasks, got.seconds) == (50, 2.0)
    assert isinstance(got.tasks, int) and isinstance(got.seconds, float)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": 5}, "no setting 'task'; it takes tasks, processes, slots, singles"),
        ({"tasks": 1}, "tasks is a whole number from 500 to 1e+06"),
        ({"tasks": 1000.5}, "tasks is a whole number"),
        ({"tasks": "many"}, "not 'many'"),
        ({"tasks": True}, "not True"),
    ],
)
def test_a_wrong_setting_is_told_with_what_would_be_right(given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings("throughput", throughput.Settings, given)
    assert says in str(error.value)


def test_an_unknown_bench_is_told_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="throughput, latency, priority"):
        main.run("speed", redis=None, kafka=None, json=True, options={})


def test_every_target_is_of_a_bench_and_compares_as_its_sign_says() -> None:
    direct = targets("throughput", "direct")
    assert direct["drain_per_s"].reached({"drain_per_s": 50_000}) is True
    assert direct["drain_per_s"].reached({"drain_per_s": 49_999}) is False
    assert direct["drain_all_per_s"].reached({}) is None
    assert targets("throughput", "kafka")["drain_per_s"].bound == 40_000
    kafka = targets("priority", "kafka")["inversions_max"]
    assert kafka.reached({"inversions_max": 5, "credits_max": 5}) is True
    assert kafka.reached({"inversions_max": 6, "credits_max": 5}) is False
    assert all(targets(name, "direct") for name in main.NAMES)


def test_a_broken_promise_is_told_and_a_slow_machine_is_not() -> None:
    assert broken("throughput", {"exact": False, "drain_per_s": 1e9}) == ["exact"]
    assert broken("throughput", {"exact": True, "drain_per_s": 1}) == []
    assert broken("recovery", {"lost": 0, "settled_twice": 1}) == ["settled_twice"]


def decide(rate: float, burst: float, times: list[int]) -> list[bool]:
    """What an exact bucket decides at these moments (us)."""
    tokens, last, answers = burst, times[0], []
    for at in times:
        tokens, last = min(burst, tokens + (at - last) * rate / 1e6), at
        answers.append(tokens >= 1)
        tokens -= answers[-1]
    return answers


@pytest.mark.parametrize("uncertain", [0, 100, 2_000])
def test_an_exact_bucket_finds_no_fault_with_another(uncertain: int) -> None:
    times = [i * 400 for i in range(2_000)] + [2_000_000 + i * 300 for i in range(2_000)]
    exact = ExactBucket(1_000, 50)
    for at, allowed in zip(times, decide(1_000, 50, times), strict=True):
        exact.judge(at - uncertain // 2, at + uncertain // 2, allowed)
    assert exact.error == 0
    assert exact.allowed == pytest.approx(50 + 800 + 50 + 600, abs=2)


@pytest.mark.parametrize("seed", range(20))
def test_pauses_of_either_side_and_a_full_bucket_again_are_no_fault(seed: int) -> None:
    chance = random.Random(seed)
    now, times, readings = 0, [], []
    for _ in range(3_000):
        before = now
        at = before + chance.randrange(50, 900) + (chance.random() < 0.01) * chance.randrange(200_000)
        after = at + chance.randrange(50, 500) + (chance.random() < 0.01) * chance.randrange(200_000)
        times.append(at)
        readings.append((before, after))
        now = after
    exact = ExactBucket(1_000, 50)
    for (before, after), allowed in zip(readings, decide(1_000, 50, times), strict=True):
        exact.judge(before, after, allowed)
    assert exact.error == 0


@pytest.mark.parametrize(("rate", "fault"), [(1_050, "wrongly_allowed"), (950, "wrongly_refused")])
def test_a_bucket_of_another_rate_is_found_out(rate: float, fault: str) -> None:
    times = [i * 400 for i in range(4_000)]
    exact = ExactBucket(1_000, 50)
    for at, allowed in zip(times, decide(rate, 50, times), strict=True):
        exact.judge(at - 100, at + 100, allowed)
    assert getattr(exact, fault) > 0
    assert exact.error == getattr(exact, fault)


@pytest.mark.parametrize("n", [0, 127, 128, 255, 256, 65_535, 65_536, 4_000_000])
def test_payloads_have_a_hundred_bytes_whatever_their_number(n: int) -> None:
    call = bench_app.noop.call(n=n, pad=bench_app.pad_for(n))
    assert len(call.new.payload) == 100
    assert msgspec.msgpack.decode(call.new.payload)["n"] == n


_RUNS_TWO = """
import sys
from laneway.bench.marks import Recorder
recorder = Recorder()
recorder.count(0)
recorder.start(2, 7)
"""


def test_marks_of_several_processes_are_seen_and_added_up(tmp_path: Path) -> None:
    marks = Marks(tmp_path, 4)
    assert marks.runs(0, 4) == [0, 0, 0, 0]
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _RUNS_TWO], env=marks.env, check=True)
    assert marks.runs(0, 4) == [2, 0, 2, 0]
    assert len(marks.starts(2)) == 2 and not marks.starts(0)
    assert [file.fences[2] for file in marks.files()] == [7, 7]
    first, last = sorted(marks.starts(2), key=lambda pair: pair[1])
    assert first[1] < last[1] and first[0] != last[0]
    assert all(file.first_ns <= file.starts[2] for file in marks.files())
