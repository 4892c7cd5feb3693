"""How wrong are predictions of when a task starts? Measured on a real run: gateway, poller and worker as processes.

    python benchmarks/eta.py [--seconds 150] [--slots 8] [--kafka HOST:PORT] [--json]

Three lanes share the slots of one worker. Load comes in phases: idle, a backlog in one lane, a steady load of urgent
tasks while a backlog of others drains, tasks of very different lengths, and a quiet end. About every second a task is
submitted to each lane after asking `GET .../lanes/{lane}/eta`; when it has started, what was predicted is compared with
what came true. Prints the error by phase and lane: median and 90th percentile of the absolute error, the mean (its
bias), and the share of predictions that were within a fifth of the truth or half a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from laneway.adapters.manifests import load_manifests
from laneway.kit.ids import id_bytes
from laneway.kit.logs import setup_logging
from laneway.kit.ports import free_port
from laneway.roles.local import LocalOptions, LocalStack

APP = """\
import asyncio
from laneway import App

app = App("eta")


@app.task
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)
"""

MANIFESTS = """\
apiVersion: laneway.dev/v1alpha1
kind: TaskQueue
metadata: {{name: eta}}
spec: {{}}
---
apiVersion: laneway.dev/v1alpha1
kind: PriorityLane
metadata: {{name: eta-urgent}}
spec: {{queueRef: {{name: eta}}, laneName: urgent, priority: 90}}
---
apiVersion: laneway.dev/v1alpha1
kind: PriorityLane
metadata: {{name: eta-normal}}
spec: {{queueRef: {{name: eta}}, laneName: normal, priority: 50}}
---
apiVersion: laneway.dev/v1alpha1
kind: PriorityLane
metadata: {{name: eta-bulk}}
spec: {{queueRef: {{name: eta}}, laneName: bulk, priority: 10, minSharePercent: 25}}
---
apiVersion: laneway.dev/v1alpha1
kind: WorkerPool
metadata: {{name: eta}}
spec: {{queueRef: {{name: eta}}, app: "eta_app:app", replicas: 1, concurrency: {slots}}}
"""

LANES = ("urgent", "normal", "bulk")
Q = "/api/v1/queues/eta"
#: Two predictions are as good as right: those within a fifth, or half a second.
_SHARE, _MOMENT_S = 0.2, 0.5


@dataclass(frozen=True)
class Phase:
    """A load: tasks submitted at once, then tasks each second, by lane; ``length`` gives a task's run time (s)."""

    name: str
    share: float
    at_once: dict[str, int]
    each_second: dict[str, float]
    length: Any


def phases(slots: int, seconds: float) -> list[Phase]:
    """The phases; backlogs are as large as drains in the time of their phase."""

    def backlog(share: float, mean: float, part: float) -> int:
        return int(seconds * share * slots / mean * part)

    return [
        Phase("idle", 0.12, {}, {"normal": 1.0}, lambda: 0.2),
        Phase("backlog", 0.25, {"normal": backlog(0.25, 0.4, 0.8)}, {}, lambda: 0.4),
        Phase(
            "priority",
            0.3,
            {"bulk": backlog(0.3, 0.4, 0.4)},
            {"urgent": 0.4 * slots / 0.4},
            lambda: random.expovariate(2.5),
        ),
        Phase("mixed", 0.25, {"normal": backlog(0.25, 0.6, 0.7)}, {}, lambda: random.choice((0.05, 0.1, 0.2, 2.05))),
        Phase("quiet", 0.08, {}, {}, lambda: 0.2),
    ]


@dataclass
class Sample:
    """One prediction and, in the end, what came true (s)."""

    phase: str
    lane: str
    id: str
    predicted: float | None
    real: float | None = None

    @property
    def error(self) -> float | None:
        """Predicted less real; None where one is missing."""
        return None if self.predicted is None or self.real is None else self.predicted - self.real


async def submit(client: httpx.AsyncClient, lane: str, lengths: list[float]) -> list[str]:
    """Submits tasks and returns their ids."""
    ids: list[str] = []
    for at in range(0, len(lengths), 500):
        tasks = [{"type": "nap", "lane": lane, "payload": {"seconds": s}} for s in lengths[at : at + 500]]
        answer = await client.post(f"{Q}/tasks/batch", json=tasks)
        answer.raise_for_status()
        ids += [item["id"] for item in answer.json()["results"]]
    return ids


async def run_phase(client: httpx.AsyncClient, phase: Phase, seconds: float, samples: list[Sample]) -> None:
    """Makes the load of one phase, and samples."""
    loop = asyncio.get_running_loop()
    for lane, n in phase.at_once.items():
        await submit(client, lane, [phase.length() for _ in range(n)])
    began, owed, last_sample = loop.time(), dict.fromkeys(LANES, 0.0), loop.time()
    before = began
    while (now := loop.time()) - began < seconds:
        for lane, rate in phase.each_second.items():
            owed[lane] += rate * (now - before)
            if (whole := int(owed[lane])) > 0:
                owed[lane] -= whole
                await submit(client, lane, [phase.length() for _ in range(whole)])
        before = now
        if now - last_sample >= 1.0:
            last_sample = now
            for lane in LANES:
                eta = (await client.get(f"{Q}/lanes/{lane}/eta")).json()["etaSeconds"]
                (id,) = await submit(client, lane, [phase.length()])
                samples.append(Sample(phase.name, lane, id, eta))
        await asyncio.sleep(0.1)


async def measure(seconds: float, slots: int, kafka: str | None = None) -> tuple[list[Sample], str]:
    """Runs it all; the samples, and the gateway's own metric of the same."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "eta_app.py").write_text(APP)
        (Path(folder) / "eta.yaml").write_text(MANIFESTS.format(slots=slots))
        port = free_port()
        stack = LocalStack(
            load_manifests([Path(folder) / "eta.yaml"]),
            LocalOptions(kafka=kafka, port=port, app_folders=(Path(folder),), log_level="warning"),
        )
        await stack.start()
        store = stack.store("eta")
        samples: list[Sample] = []
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                await ready(client)
                for phase in phases(slots, seconds):
                    print(f"{phase.name} ...", file=sys.stderr, flush=True)
                    await run_phase(client, phase, seconds * phase.share, samples)
                async with asyncio.timeout(seconds * 2 + 60):
                    while missing := [sample for sample in samples if sample.real is None]:
                        views = await store.get([id_bytes(sample.id) for sample in missing[:200]])
                        for sample, view in zip(missing, views, strict=False):
                            if view is not None and view.record is not None and view.record.started_ms:
                                sample.real = max(0.0, (view.record.started_ms - view.envelope.submitted_ms) / 1000)
                        await asyncio.sleep(0.2)
                metrics = (await client.get("/metrics")).text
        finally:
            await store.close()
            await stack.stop()
    own = [line for line in metrics.splitlines() if line.startswith("laneway_eta_error_seconds_bucket")]
    return samples, "\n".join(own)


async def ready(client: httpx.AsyncClient) -> None:
    """Waits until the gateway knows a worker."""
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{Q}/lanes/normal/eta")).json().get("basis") == "idle":
                    return
            except httpx.TransportError:
                pass  # (it does not listen yet)
            await asyncio.sleep(0.1)


def report(samples: list[Sample]) -> list[dict[str, Any]]:
    """One row for each phase and lane, and one for all."""
    rows = []
    keys = list(dict.fromkeys((sample.phase, sample.lane) for sample in samples))
    for phase, lane in [*keys, ("all", "all")]:
        group = [s for s in samples if phase == "all" or (s.phase, s.lane) == (phase, lane)]
        errors = [(s.error, s.real) for s in group if s.error is not None and s.real is not None]
        if not errors:
            continue
        sizes = sorted(abs(error) for error, _ in errors)
        good = sum(abs(error) <= max(_MOMENT_S, _SHARE * real) for error, real in errors)
        rows.append({
            "phase": phase, "lane": lane, "samples": len(group), "unknown": len(group) - len(errors),
            "waited": round(statistics.fmean(real for _, real in errors), 2),
            "median": round(statistics.median(sizes), 2),
            "p90": round(sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))], 2),
            "bias": round(statistics.fmean(error for error, _ in errors), 2),
            "good": round(good / len(errors), 2),
        })  # fmt: skip
    return rows


def main() -> int:
    """Runs it and prints a table, or JSON."""
    assert __doc__
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=150.0, help="how long to make load (150)")
    parser.add_argument("--slots", type=int, default=8, help="slots of the worker (8)")
    parser.add_argument("--seed", type=int, default=1, help="of the run times that are random (1)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="dispatch by Kafka")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--samples", type=Path, help="write every sample to this file, a JSON object a line")
    options = parser.parse_args()
    random.seed(options.seed)
    setup_logging("warning", "console")
    samples, metric = asyncio.run(measure(options.seconds, options.slots, options.kafka))
    if options.samples:
        options.samples.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    rows = report(samples)
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print("phase     lane    samples unknown   waited   median      p90     bias  within 20 % or 0.5 s")
    for r in rows:
        print(
            f"{r['phase']:9} {r['lane']:7} {r['samples']:7} {r['unknown']:7} {r['waited']:8.2f} {r['median']:8.2f} "
            f"{r['p90']:8.2f} {r['bias']:8.2f}  {r['good']:.0%}"
        )
    print("\nand as the gateway measured it by itself:\n" + metric)
    return 0


if __name__ == "__main__":
    sys.exit(main())
