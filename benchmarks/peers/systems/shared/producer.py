"""The submitting side of a Python system: obeys one JSON object a line on standard input, answers with one a line.

``{"do": "one" | "bulk" | "paced", "kind": "noop", "first": 0, "count": 1000, "to": ["normal"]}``; ``paced`` has
``rate`` (per second) too. Task ``n`` goes to ``to[n % len(to)]``. The answer has ``seconds`` and ``cpu`` (seconds of
processor time of this process); ``paced`` adds ``sent``: the moment just before each submission (monotonic ns),
and ``late``: by how much later that was than due (ns). An error is ``{"error": text}``. The Go and the Node adapter
speak the same.
"""

import asyncio
import json
import sys
import time
import traceback
from typing import Any, Protocol

#: Fills the arguments of a task up to 100 bytes.
PAD = "x" * 92
#: Submissions of ``paced`` that may be under way at once.
IN_FLIGHT = 32


class Adapter(Protocol):
    """How one system submits. Systems whose clients block do so in methods that never suspend."""

    async def open(self) -> None:
        """Connects."""

    async def one(self, kind: str, n: int, to: str) -> None:
        """Submits one task; returns when it is acknowledged."""

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        """Submits tasks, each (n, to), by the best means that the system documents; returns when all are
        acknowledged."""


async def gathered(adapter: Adapter, kind: str, tasks: list[tuple[int, str]], at_once: int = 100) -> None:
    """For systems whose documentation has no bulk call: so many single ones at once over one client."""
    rest = iter(tasks)

    async def some() -> None:
        for n, to in rest:
            await adapter.one(kind, n, to)

    await asyncio.gather(*(some() for _ in range(min(at_once, len(tasks)))))


def serve(adapter: Adapter) -> None:
    """Obeys until standard input ends."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(adapter))
    else:
        uvloop.run(_serve(adapter))


async def _serve(adapter: Adapter) -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    await adapter.open()
    _say(answers, {"ready": True})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = await _obey(adapter, json.loads(line))
        except Exception as error:  # whatever a client raises is the answer
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answers, answer)


def _say(answers: Any, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


async def _obey(adapter: Adapter, order: dict[str, Any]) -> dict[str, Any]:
    first, kind, to = order["first"], order["kind"], order["to"]
    tasks = [(n, to[n % len(to)]) for n in range(first, first + order["count"])]
    answer: dict[str, Any] = {}
    cpu, began = time.process_time(), time.perf_counter()
    if order["do"] == "one":
        for n, where in tasks:
            await adapter.one(kind, n, where)
    elif order["do"] == "bulk":
        await adapter.bulk(kind, tasks)
    else:
        answer = await _paced(adapter, kind, tasks, order["rate"])
    return {**answer, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


async def _paced(adapter: Adapter, kind: str, tasks: list[tuple[int, str]], rate: float) -> dict[str, list[int]]:
    """Submits at a rate whatever the answers take; who finds all places taken waits, and that time counts."""
    sent, late = [0] * len(tasks), [0] * len(tasks)
    places = asyncio.Semaphore(IN_FLIGHT)
    began = time.monotonic_ns() + 10_000_000

    async def submit(i: int) -> None:
        sent[i] = time.monotonic_ns()
        late[i] = max(0, sent[i] - began - int(i * 1e9 / rate))
        async with places:
            await adapter.one(kind, *tasks[i])

    under_way: list[asyncio.Task[None]] = []
    while (i := len(under_way)) < len(tasks):
        if (wait := began + int(i * 1e9 / rate) - time.monotonic_ns()) > 0:
            await asyncio.sleep(wait / 1e9)
        due = min(len(tasks), int((time.monotonic_ns() - began) * rate / 1e9) + 1)
        under_way += [asyncio.create_task(submit(n)) for n in range(i, due)]
        await asyncio.sleep(0)
    await asyncio.gather(*under_way)
    return {"sent": sent, "late": late}
