"""Measures what the operator costs: N TaskQueues and N WorkerPools, applied at once on a real API server.

An object is *settled* when its status speaks of its present generation and its Deployments are there (of a queue:
gateway and poller; of a pool: its workers). No node runs here, so no Deployment ever becomes available, and no object
Ready. The time of each object is from the answer to its creation to when a watch has shown both.

Then nothing is changed for a minute, and what the operator still does is counted. Its Lease is left out of that: the
leader renews it each 2 s by design, and that is no object of anybody's.

The API server, etcd, Redis, the operator and this program share the machine. The last line is one JSON object.

python benchmarks/operator_cost.py [--queues 500] [--pools 500] [--idle 60]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "hack")]

from laneway_operator import names  # noqa: E402
from laneway_operator.engine.connect import configuration, http_session  # noqa: E402
from laneway_operator.keys import Body, ObjectKey, Resource, key_of  # noqa: E402
from servers.envtest import Envtest  # noqa: E402  (hack is no package of ours, only a folder)
from servers.ports import free_port  # noqa: E402
from servers.process import ServerProcess  # noqa: E402
from servers.redis import RedisServer, find_redis7  # noqa: E402

NAMESPACE = "bench"
_WRITES = frozenset(("apply", "patch", "create", "update", "delete"))
_SAMPLE = re.compile(r'laneway_operator_api_requests_total\{code="(\d+)",resource="([^"]*)",verb="([^"]*)"\} (\S+)')


class Objects:
    """What is applied, when, and when each has settled."""

    def __init__(self, queues: int, pools: int, redis: str) -> None:
        self.bodies = [queue(at, redis) for at in range(queues)] + [pool(at, at % queues) for at in range(pools)]
        self.created: dict[ObjectKey, float] = {}
        self.settled: dict[ObjectKey, float] = {}
        self._said: set[ObjectKey] = set()
        self._deployments: set[str] = set()
        self.done = asyncio.Event()

    def seen(self, body: Body, now: float) -> None:
        """The watch has shown an object."""
        key = key_of(body)
        if key.kind == "Deployment":
            self._deployments.add(key.name)
            labels = body["metadata"]["labels"]
            queue_name, pool_name = labels.get(names.QUEUE_LABEL), labels.get(names.POOL_LABEL)
            key = names.pool_key(NAMESPACE, pool_name) if pool_name else names.queue_key(NAMESPACE, str(queue_name))
        elif (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]:
            self._said.add(key)
        if key in self._said and key not in self.settled and all(name in self._deployments for name in wanted(key)):
            self.settled[key] = now
            if len(self.settled) == len(self.bodies):
                self.done.set()

    def seconds(self, kind: str = "") -> list[float]:
        """How long each object took, sorted; one that was seen before its creation was answered took 0 s."""
        rows = (max(0.0, at - self.created[key]) for key, at in self.settled.items() if kind in ("", key.kind))
        return sorted(rows)


def wanted(key: ObjectKey) -> tuple[str, ...]:
    """The Deployments of an object."""
    if key.kind == names.POOL:
        return (names.worker_name(key.name),)
    return (names.gateway_name(key.name), names.poller_name(key.name))


def queue(at: int, redis: str) -> Body:
    """A TaskQueue without Kafka."""
    spec = {"source": "Direct", "redis": {"url": redis}, "limits": {"maxDepth": 100_000}}
    return _object(names.QUEUE, f"q{at}", spec)


def pool(at: int, queue: int) -> Body:
    """A WorkerPool of one of the queues, of a fixed size."""
    spec = {
        "queueRef": {"name": f"q{queue}"},
        "app": "app:app",
        "image": "registry.example.com/handlers:1",
        "replicas": 1,
        "env": [{"name": "LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
    }
    return _object(names.POOL, f"p{at}", spec)


def _object(kind: str, name: str, spec: Body) -> Body:
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": names.RESOURCES[kind].api_version, "kind": kind, "metadata": meta, "spec": spec}


class Api:
    """Requests of this program itself; none is the operator's."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def create(self, body: Body) -> None:
        """Makes an object. Raises RuntimeError if the API server refuses it."""
        path = names.RESOURCES[body["kind"]].path(body["metadata"]["namespace"])
        async with self._session.post(self._url + path, json=body) as answer:
            if answer.status != 201:
                raise RuntimeError(f"{body['kind']} {body['metadata']['name']}: {await answer.text()}")

    async def watch(self, resource: Resource, objects: Objects) -> None:
        """Shows ``objects`` each change of a kind, for ever. The API server ends watches when it pleases (of custom
        resources, soon after their CRD was made); one that begins anew shows all objects again, which does no harm.
        """
        path = self._url + resource.path(NAMESPACE) + "?watch=true&resourceVersion=0"
        while True:
            async with self._session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as answer:
                async for line in answer.content:
                    event = msgspec.json.decode(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        objects.seen(event["object"], time.monotonic())


class CpuClock:
    """CPU seconds of each process since this was made."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._began = {name: (process := psutil.Process(pid), _cpu(process)) for name, pid in pids.items()}

    def __str__(self) -> str:
        spent = ((name, _cpu(process) - began) for name, (process, began) in self._began.items())
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Operator(ServerProcess):
    """The operator's process, and what its /metrics say."""

    def __init__(self, envtest: Envtest, folder: Path, options: list[str]) -> None:
        self.port = free_port()
        argv = [
            *(sys.executable, "-m", "laneway_operator", "run", "--kubeconfig", str(envtest.kubeconfig)),
            *("--lease-namespace", NAMESPACE, "--host", "127.0.0.1", "--port", str(self.port)),
            *("--runtime-image", "registry.example.com/laneway:1", *options),
        ]
        super().__init__("laneway-operator", argv, cwd=folder, log=folder / "operator.log")

    async def metrics(self, session: aiohttp.ClientSession) -> str:
        """The text of /metrics; "" while there is none."""
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
                return await answer.text()
        except aiohttp.ClientError:
            return ""

    @property
    def peak_mb(self) -> float:
        """The most memory that it has had resident (MB)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def value(text: str, name: str) -> float:
    """The value of a metric without labels; 0 if it is not there."""
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    return float(found[1]) if found else 0.0


def requests(text: str) -> Counter[tuple[str, str]]:
    """Requests to the API server by verb and resource, those for the Lease left out."""
    counts: Counter[tuple[str, str]] = Counter()
    for _code, resource, verb, count in _SAMPLE.findall(text):
        if resource != "leases":
            counts[verb, resource] += round(float(count))
    return counts


def writes(counts: Counter[tuple[str, str]]) -> int:
    """How many of them wrote."""
    return sum(count for (verb, _), count in counts.items() if verb in _WRITES)


def percentile(sorted_values: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed."""
    return sorted_values[min(len(sorted_values) - 1, round(share * (len(sorted_values) - 1)))]


async def measure(envtest: Envtest, redis: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Runs it all, and returns the last line."""
    plain = aiohttp.ClientSession()
    session = http_session(await configuration(str(envtest.kubeconfig)))
    operator = Operator(envtest, folder, args.option)
    watches: list[asyncio.Task[None]] = []
    try:
        operator.start({"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("runtime", "operator"))})
        while value(await operator.metrics(plain), "laneway_operator_leader") != 1:
            if not operator.alive:
                raise RuntimeError(f"the operator ended:\n{operator.log_tail()}")
            await asyncio.sleep(0.1)
        api, objects = Api(session, envtest.url), Objects(args.queues, args.pools, redis)
        for kind in (names.QUEUE, names.POOL, "Deployment"):
            watches.append(asyncio.create_task(api.watch(names.RESOURCES[kind], objects)))
        before = requests(await operator.metrics(plain))
        pids = {"operator": operator.pid, "API server": envtest.pid, "etcd": envtest.etcd.process.pid}
        cpu_clock = CpuClock({**pids, "this program": os.getpid()})
        applied_s = await apply_all(api, objects)
        await settle(objects, watches, operator, args.timeout)
        print_settled(objects, applied_s)
        print(f"CPU time until then: {cpu_clock}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        text = await quiet(operator, plain)
        made = requests(text) - before
        print_requests("requests until all was quiet", made, len(objects.bodies))
        await asyncio.sleep(args.idle)
        idle = await operator.metrics(plain)
        minutes = args.idle / 60
        rest = requests(idle) - requests(text)
        print_requests(f"requests in {args.idle} s with nothing to do", rest, len(objects.bodies))
        cpu = value(idle, "process_cpu_seconds_total") - value(text, "process_cpu_seconds_total")
        passes = sum(float(count) for count in re.findall(r"laneway_operator_reconciles_total\S+ (\S+)", idle))
        print(f"CPU while idle: {100 * cpu / args.idle:.0f}% of a core; passes in all: {passes:.0f}")
        took = objects.seconds()
        return {
            "objects": len(objects.bodies),
            "settled_p50_s": round(statistics.median(took), 2),
            "settled_p99_s": round(percentile(took, 0.99), 2),
            "requests_per_object": round(made.total() / len(objects.bodies), 2),
            "idle_writes_per_min": round(writes(rest) / minutes, 2),
            "idle_requests_per_min": round(rest.total() / minutes, 2),
            "rss_mb": round(value(idle, "process_resident_memory_bytes") / 2**20, 1),
            "rss_peak_mb": round(operator.peak_mb, 1),
        }
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await session.close()
        await plain.close()
        operator.stop()


async def apply_all(api: Api, objects: Objects) -> float:
    """Creates all objects, 16 at a time, and returns how many seconds that took."""
    limit = asyncio.Semaphore(16)
    began = time.monotonic()

    async def create(body: Body) -> None:
        async with limit:
            await api.create(body)
            objects.created[key_of(body)] = time.monotonic()

    await asyncio.gather(*map(create, objects.bodies))
    return time.monotonic() - began


async def settle(objects: Objects, watches: list[asyncio.Task[None]], operator: Operator, timeout: float) -> None:
    """Waits until all have settled. Raises RuntimeError when they have not after ``timeout`` seconds."""
    done = asyncio.create_task(objects.done.wait())
    ended, _ = await asyncio.wait({done, *watches}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if done in ended:
        return
    done.cancel()
    for watch in watches:
        if watch in ended:
            watch.result()
    missing = [str(key) for key in objects.created if key not in objects.settled]
    raise RuntimeError(f"{len(missing)} not settled, such as {missing[:3]}\n{operator.log_tail()}")


async def quiet(operator: Operator, session: aiohttp.ClientSession) -> str:
    """The metrics, once nothing was written for 12 s: longer than any timer of a pass."""
    text, since = await operator.metrics(session), time.monotonic()
    while time.monotonic() - since < 12:
        await asyncio.sleep(1)
        now = await operator.metrics(session)
        if writes(requests(now)) != writes(requests(text)):
            text, since = now, time.monotonic()
        if time.monotonic() - since > 300:
            raise RuntimeError("the operator goes on writing")
    return await operator.metrics(session)


def print_settled(objects: Objects, applied_s: float) -> None:
    """The table of times."""
    print(f"{len(objects.bodies)} objects created in {applied_s:.1f} s")
    for kind in (names.QUEUE, names.POOL):
        took = objects.seconds(kind)
        if took:
            p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
            print(f"{kind:<12} {len(took):>5} settled   p50 {p50:6.2f} s   p99 {p99:6.2f} s   max {took[-1]:6.2f} s")


def print_requests(title: str, counts: Counter[tuple[str, str]], objects: int) -> None:
    """The table of requests."""
    print(f"{title}: {counts.total()}, {counts.total() / objects:.2f} per object")
    for (verb, resource), count in counts.most_common():
        print(f"  {verb:<7} {resource:<28} {count:>7}")


def install_crds(envtest: Envtest) -> None:
    """Laneway's kinds, served."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        envtest.admin.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}", crd)
    for kind in names.OUR_KINDS:
        while envtest.admin.raw("GET", names.RESOURCES[kind].path())[0] != 200:
            time.sleep(0.1)


def main() -> None:
    """Starts the servers, measures, and prints the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queues", type=int, default=500, help="TaskQueues to apply")
    parser.add_argument("--pools", type=int, default=500, help="WorkerPools to apply")
    parser.add_argument("--idle", type=int, default=60, help="seconds to watch it idle")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that all may take to settle")
    parser.add_argument("--option", action="append", default=[], help="an option for laneway-operator run")
    parser.add_argument("--log", default="", help="keep the operator's log in this file")
    args = parser.parse_args()
    binary = find_redis7()
    if binary is None:
        sys.exit("redis-server 7 or newer is not on PATH (Debian: apt-get install redis-server)")
    with (
        tempfile.TemporaryDirectory(prefix="laneway-bench-") as folder,
        RedisServer(binary) as redis,
        Envtest() as envtest,
    ):
        envtest.admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        install_crds(envtest)
        try:
            line = asyncio.run(measure(envtest, redis.url, Path(folder), args))
        finally:
            if args.log:
                shutil.copy(Path(folder) / "operator.log", args.log)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
