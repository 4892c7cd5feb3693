"""Configurations that change under load, and data of a newer Laneway."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.flow.harness import Flow, lanes, until

from laneway.errors import SchemaTooNew
from laneway.model.config import LaneConfig
from laneway.model.envelope import SCHEMA
from laneway.submit import NewTask


async def test_lanes_that_come_and_go_under_load_lose_nothing(flow: Flow) -> None:
    sets = ["ab", "bac", "cab", "abcd"]
    await flow.configure(lanes=lanes("a", "b"), default_lane="a")
    await flow.poller()
    await flow.worker(slots=10)
    await flow.worker(slots=10)
    n = {"a": 1, "b": 2, "c": 3, "d": 4}

    async def change() -> None:
        for round_ in range(16):
            # A lane keeps its number wherever it stands; one that is removed stays, marked so, until it is empty.
            order = sorted(n, key=sets[round_ % len(sets)].find)
            gone = [name for name in order if name not in sets[round_ % len(sets)]]
            order = [name for name in order if name not in gone] + gone
            made = tuple(LaneConfig(n=n[name], name=name, gone=name in gone) for name in order)
            await flow.configure(lanes=made, version=round_ + 2)
            await asyncio.sleep(0.15)

    changing = asyncio.create_task(change())
    loads = [asyncio.create_task(flow.load("flaky", 100, 2.5, lane=lane)) for lane in ("a", "b")]
    await asyncio.gather(changing, *loads)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 200
    assert set(Counter(run.id for run in flow.starts()).values()) == {2}, "a change of lanes cost an attempt"


async def test_data_of_a_newer_schema_is_refused_and_untouched_until_it_fits_again(direct_flow: Flow) -> None:
    flow = direct_flow
    await flow.poller()
    worker = await flow.worker(slots=5)
    held = await flow.submit("hold", 5)
    await flow.running(5)
    meta = flow.store.keys.key("meta")
    await flow.redis.hset(meta, "schema", SCHEMA + 1)
    with pytest.raises(SchemaTooNew, match="run a version at least as new"):
        await flow.submitter.submit(NewTask(type="work"))
    with pytest.raises(SchemaTooNew):
        await flow.store.stats()
    flow.release()

    async def ended() -> bool:
        return not worker.alive

    # A supervisor or Kubernetes starts it again, of the version that is right.
    await until("the worker ends by itself", ended, 15.0)
    assert worker.process.returncode == 1 and "schema" in worker.text()
    await flow.redis.hset(meta, "schema", SCHEMA)
    await flow.worker(slots=5)
    stats = await flow.check()
    assert stats.counts["succeeded"] == 5 and {run.id for run in flow.starts()} == set(held)
