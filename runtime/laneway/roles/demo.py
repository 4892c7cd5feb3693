"""The demo: the quick start's manifests on this machine, a burst with failures, and real work on real files."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from laneway.adapters.manifests import load_manifests
from laneway.client import App
from laneway.client.handle import Handle
from laneway.client.task import Call
from laneway.errors import ConfigError, LanewayError
from laneway.kit.ids import id_bytes
from laneway.kit.logs import setup_logging
from laneway.model.manifests import Manifests
from laneway.model.servers import KafkaServer, RedisServer
from laneway.model.states import State
from laneway.ports.store import TaskStore
from laneway.roles.appload import load_app
from laneway.roles.demo_files import make_files
from laneway.roles.demo_report import Ledger, lane_table
from laneway.roles.local import LocalOptions, LocalStack
from laneway.roles.process import Stop, run_role

_BURST, _FAIL_ALWAYS, _FAIL_ONCE = 1000, 100, 100
_LANES = ("high", "normal", "low")
_DEADLINE = 120.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``examples`` None: the folder ``examples`` of this source tree."""

    redis: RedisServer | str | None = None
    kafka: KafkaServer | str | None = None
    json_only: bool = False
    examples: Path | None = None


def run_demo(options: DemoOptions) -> int:
    """Runs both workloads and checks them; the last line on stdout is one JSON object. The exit code is 0 when each
    task ended as it should, 1 when not, 2 when the demo can't start."""
    setup_logging("warning", "console")
    console = Console(stderr=True, quiet=options.json_only)
    folder = options.examples or Path(__file__).resolve().parents[3] / "examples"
    quickstart = folder / "quickstart"
    if not (quickstart / "quickstart_app.py").is_file():
        console.print(
            f"no quickstart in {folder}: run from a clone of the repository, or name it with --examples", style="red"
        )
        return 2
    try:
        manifests = load_manifests([quickstart])
    except ConfigError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    return run_role(lambda stop: _demo(options, manifests, quickstart, console, stop))


async def _demo(options: DemoOptions, manifests: Manifests, quickstart: Path, console: Console, stop: Stop) -> int:
    local = LocalOptions(
        redis=options.redis,
        kafka=options.kafka,
        port=0,
        app_folders=(quickstart,),
        log_level="critical",  # the burst fails hundreds of times on purpose
    )
    stack = LocalStack(manifests, local)
    async with AsyncExitStack() as cleanup:
        work = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="laneway-demo-")))
        sys.path.insert(0, str(quickstart))
        try:
            app = load_app("quickstart_app:app")
            console.print(f"starting {'Redis, ' if not options.redis else ''}a poller and workers ...")
            await stack.start()
        except LanewayError as error:
            console.print(str(error), style="red", markup=False)
            return 2
        cleanup.push_async_callback(stack.stop)
        stop.now = stack.kill
        store = stack.store(stack.queues[0])
        cleanup.push_async_callback(store.close)
        await app.connect(store)
        if (await store.stats()).counts["submitted"] and options.redis:
            console.print("the queue has had tasks before: the demo counts its own")
        runner = asyncio.create_task(_workloads(app, store, work, console))
        stopper = asyncio.create_task(stop.wait())
        await asyncio.wait([runner, stopper], return_when=asyncio.FIRST_COMPLETED)
        if not runner.done():
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
            return 130
        stopper.cancel()
        result, good = await runner
    print(json.dumps(result), flush=True)
    return 0 if good else 1


async def _workloads(app: App, store: TaskStore, work: Path, console: Console) -> tuple[dict[str, object], bool]:
    began = time.monotonic()
    ledger = Ledger()
    files = await asyncio.to_thread(make_files, work)
    burst = [
        app.call(
            "burst",
            {"number": i, "mode": "FAIL_ME" if i % 10 == 3 else "FAIL_ONCE" if i % 10 == 7 else "ok"},
            lane=_LANES[i % 3],
        )
        for i in range(_BURST)
    ]
    real = [call for file in files for call in (app.call(file.task, {"path": str(file.path)}),)]
    await _submit_and_wait(app, store, ledger, burst, "burst", console)
    await _submit_and_wait(app, store, ledger, real, "real work", console)
    seconds = time.monotonic() - began
    wrong = ledger.check_burst(_BURST, _FAIL_ALWAYS, _FAIL_ONCE) + ledger.check_files(files)
    stats = await store.stats()
    if stats.drift:
        wrong.append(f"conservation: {stats.drift} tasks are in no set, or in one too many")
    console.print(lane_table(ledger, {lane.n: lane.name for lane in (await store.config()).lanes}))
    for line in wrong:
        console.print(f"WRONG: {line}", style="red", markup=False)
    if not wrong:
        console.print("every task ended as it should, and each result equals that of a plain loop", style="green")
    return ledger.summary(seconds), not wrong


async def _submit_and_wait(
    app: App, store: TaskStore, ledger: Ledger, calls: list[Call[Any]], title: str, console: Console
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=len(calls), state="")
        waiting: dict[bytes, None] = {}
        dead_before = ledger.count(State.DEAD)
        for at in range(0, len(calls), 250):
            for handle in await app.submit_many(calls[at : at + 250]):
                if not isinstance(handle, Handle):
                    raise handle
                waiting[id_bytes(handle.id)] = None
        ledger.submitted += len(calls)
        deadline = time.monotonic() + _DEADLINE
        while waiting and time.monotonic() < deadline:
            ids = list(waiting)
            for at in range(0, len(ids), 250):
                for view in await store.get(ids[at : at + 250]):
                    if view is not None and view.state.final:
                        ledger.add(view)
                        del waiting[view.id]
            done = len(calls) - len(waiting)
            counts = (await store.stats()).counts
            state = f"queued {counts['queued']}, running {counts['running']}, to retry {counts['scheduled']}"
            if dead := ledger.count(State.DEAD) - dead_before:
                state += f", dead {dead}"
            progress.update(bar, completed=done, state=state)
            await asyncio.sleep(0.1)
        ledger.unfinished += len(waiting)
