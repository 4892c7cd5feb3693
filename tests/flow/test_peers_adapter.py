"""The bench against peers runs Laneway's own adapters, on a real Redis, with tiny counts."""

import os
import sys
from pathlib import Path

import pytest
from benchmarks.peers.roster import SYSTEMS
from benchmarks.peers.run import Runner
from benchmarks.peers.settings import TINY

from servers.need import require

ROOT = Path(__file__).parents[2]
DIRECT = next(system for system in SYSTEMS if system.name == "laneway-direct")


def test_laneways_own_adapter_enqueues_drains_and_keeps_order(monkeypatch: pytest.MonkeyPatch) -> None:
    require("redis7")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT / "runtime"), *sys.path)))
    said: list[str] = []
    workloads = ("enqueue", "drain_one", "latency", "urgent")
    found = Runner([DIRECT], TINY, workloads, said.append).run()[DIRECT.name]
    assert not found.failures, said
    assert set(found.figures) == set(workloads)
    assert found.figures["drain_one"][0]["per_s"] > 0
    latency = found.figures["latency"][0]
    assert 0 < latency["idle_p50_ms"] <= latency["idle_p99_ms"]
    assert latency["rate"] <= TINY.load_most
    assert found.figures["urgent"][0]["p99_ms"] > 0
