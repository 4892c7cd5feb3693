"""The supervisor's stop: in order, and at once when it must be."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from laneway.roles.supervisor import Child, Supervisor

_SAYS_WHEN = """
import signal, sys, time
def stop(*_):
    with open({log!r}, "a") as log: log.write("{name} asked\\n")
    time.sleep({takes})
    with open({log!r}, "a") as log: log.write("{name} ended\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open({ready!r}, "w").close()
while True: time.sleep(60)
"""


async def _running(folder: Path, takes: float, *names: str) -> Supervisor:
    children = []
    for name in names:
        code = _SAYS_WHEN.format(log=str(folder / "log"), ready=str(folder / name), name=name, takes=takes)
        children.append(Child(name, [sys.executable, "-c", code]))
    supervisor = Supervisor(children)
    await supervisor.start()
    async with asyncio.timeout(20):
        while not all((folder / name).exists() for name in names):  # noqa: ASYNC110  (files tell nobody)
            await asyncio.sleep(0.01)
    return supervisor


async def test_the_gateway_stops_first_then_all_workers_together_and_only_then_the_pollers(tmp_path: Path) -> None:
    supervisor = await _running(tmp_path, 0.3, "gateway", "poller-a", "worker-1", "worker-2")
    await supervisor.stop()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == ["gateway asked", "gateway ended"]
    assert sorted(lines[2:4]) == ["worker-1 asked", "worker-2 asked"]
    assert sorted(lines[4:6]) == ["worker-1 ended", "worker-2 ended"]
    assert lines[6:] == ["poller-a asked", "poller-a ended"]


async def test_a_kill_ends_a_stop_that_waits(tmp_path: Path) -> None:
    supervisor = await _running(tmp_path, 60, "worker-1", "poller-a")
    began = time.monotonic()
    stopping = asyncio.create_task(supervisor.stop())
    async with asyncio.timeout(20):
        while not (tmp_path / "log").exists():  # noqa: ASYNC110  (files tell nobody)
            await asyncio.sleep(0.01)
        supervisor.kill()
        await stopping
    assert time.monotonic() - began < 20
    assert [child.pid for child in supervisor.children] == [None, None]
