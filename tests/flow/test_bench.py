"""Each bench in a tiny form: its figures are there, and what must hold on any machine holds. Not its speed."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
import redis

from servers.kafka import KafkaServer

_COMMAND = [sys.executable, "-m", "laneway", "bench"]


def bench(name: str, *more: str, **settings: float) -> dict[str, Any]:
    """Runs a bench and returns its figures."""
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run([*_COMMAND, name, "--json", *sets, *more], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert found["bench"] == name
    return found


def positive(found: dict[str, Any], *figures: str) -> None:
    """Each of the figures is a number above 0."""
    assert all(found[figure] > 0 for figure in figures), found


def test_throughput_counts_each_task_once_with_one_and_two_processes(redis7_url: str) -> None:
    found = bench("throughput", "--redis", redis7_url, tasks=800, singles=50, processes=2)
    assert found["transport"] == "direct"
    assert (found["tasks"], found["processes"]) == (800, 2)
    assert found["exact"] is True
    positive(found, "enqueue_per_s", "enqueue_one_per_s", "drain_per_s")
    assert redis.Redis.from_url(redis7_url).dbsize() == 0


def test_throughput_runs_on_a_redis_of_its_own_when_none_is_named() -> None:
    found = bench("throughput", tasks=500, singles=10, processes=1)
    assert found["exact"] is True


def test_latency_has_all_samples_of_both_parts(redis7_url: str) -> None:
    found = bench("latency", "--redis", redis7_url, tasks=20, drained=500, seconds=0.5, rate=100)
    assert (found["idle_tasks"], found["half_load_tasks"], found["rate"]) == (20, 50, 100)
    assert 0 < found["idle_p50_ms"] <= found["idle_p99_ms"]
    assert 0 < found["half_load_p50_ms"] <= found["half_load_p99_ms"]


def test_no_low_task_that_was_claimed_later_starts_before_an_urgent_one(redis7_url: str) -> None:
    found = bench("priority", "--redis", redis7_url, backlog=1500, urgent=10, gap_ms=20)
    assert found["saturated"] is True
    assert found["inversions_max"] == 0
    assert found["credits_max"] == 0
    assert 0 < found["urgent_start_p50_ms"] <= found["urgent_start_p99_ms"]


def test_the_limiter_decides_as_an_exact_bucket_does(redis7_url: str) -> None:
    found = bench("limiter", "--redis", redis7_url, pairs=100, seconds=0.6, rate=200, burst=20)
    assert found["error"] == 0
    positive(found, "allowed", "refused", "limited_p50_us")
    assert found["p50_us"] <= found["p99_us"]
    assert redis.Redis.from_url(redis7_url).dbsize() == 0


def test_tasks_of_a_killed_worker_run_elsewhere_and_end_once(redis7_url: str) -> None:
    found = bench("recovery", "--redis", redis7_url, tasks=10)
    assert (found["lost"], found["settled_twice"], found["ran_more_than_twice"]) == (0, 0, 0)
    assert found["recovery_p100_s"] > 0


def test_memory_is_told_per_task_and_per_process(redis7_url: str) -> None:
    found = bench("memory", "--redis", redis7_url, tasks=2000)
    positive(found, "bytes_per_queued_task", "worker_rss_mb", "poller_rss_mb", "gateway_rss_mb")


def test_depth_measures_the_levels_up_to_the_deepest_one_wanted(redis7_url: str) -> None:
    found = bench("depth", "--redis", redis7_url, max_depth=1000, rounds=2, seconds=0.5)
    assert found["levels"] == [1000]
    assert found["ratio_1m_to_1k"] is None
    positive(found, "enqueue_1k_per_s", "drain_1k_per_s")


def test_kafka_carries_each_task_once_and_its_topics_go_with_the_bench(redis7_url: str, kafka: KafkaServer) -> None:
    found = bench("throughput", "--redis", redis7_url, "--kafka", kafka.bootstrap, tasks=500, singles=20, processes=1)
    assert found["transport"] == "kafka"
    assert found["exact"] is True
    assert redis.Redis.from_url(redis7_url).dbsize() == 0


def test_people_see_each_figure_beside_its_target_and_json_last(redis7_url: str) -> None:
    command = [*_COMMAND, "limiter", "--redis", redis7_url, "--set", "pairs=20", "--set", "seconds=0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    assert json.loads(last)["bench"] == "limiter"
    (row,) = [line for line in table if line.split()[:1] == ["error"]]
    assert row.split() == ["error", "0", "=", "0", "yes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bench_that_is_told_to_end_leaves_no_process_and_no_key(redis7_url: str, number: signal.Signals) -> None:
    client = redis.Redis.from_url(redis7_url)
    client.set("of-somebody-else", "1")
    command = [*_COMMAND, "recovery", "--json", "--redis", redis7_url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        children: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while not children or not any(key.endswith(b"}:held") for key in client.scan_iter()):
            assert process.poll() is None and time.monotonic() < deadline
            children = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.01)
        os.kill(process.pid, number)
        assert process.wait(60) == 130
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
        assert client.keys() == [b"of-somebody-else"]
    finally:
        process.kill()
        process.wait()


def test_a_redis_that_is_away_is_told_in_a_line() -> None:
    done = subprocess.run(
        [*_COMMAND, "limiter", "--redis", "redis://127.0.0.1:1"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 5
    assert "Redis at redis://127.0.0.1:1 is away" in done.stderr
    assert done.stdout == ""
