"""How long lists of tasks take over a million tasks: each kind of list, with filters that let much or little through.

``python benchmarks/lists.py [--tasks 1000000] [--requests 200] [--redis URL [--filled]]``

Starts a redis-server of its own unless it is given one (empty, or ``--filled`` by an earlier run), fills a queue by
``submit_many`` and the settlements of a worker, and asks the gateway inside this process. Printed are the times of
single answers (a page of 50 items at most, wherever in the list) and, for filters that let little through, of a search
to its end. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import uvloop
from starlette.applications import Starlette

from laneway.adapters.embedded import EmbeddedRedis
from laneway.adapters.redis import RedisStore
from laneway.gateway.app import build_app
from laneway.kit.ids import id_text, new_incarnation
from laneway.model.config import Keep, Kept, LaneConfig, QueueConfig
from laneway.model.settlement import Kind, Settlement
from laneway.ports.browse import Filter, Sort
from laneway.submit import NewTask, Receipt, Submitter

_LANES = tuple(LaneConfig(n=n, name=name) for n, name in enumerate(("high", "default", "low"), 1))
_KEEP = Kept(ended=Keep(n=10_000_000, ms=0), dead=Keep(n=10_000_000, ms=0))
_TENANTS, _TYPES, _SHOPS = 200, 20, 50
_PAYLOAD = msgspec.msgpack.encode({"to": "someone@example.org", "text": "x" * 100})
#: Of all tasks: those that end (dead, succeeded, cancelled) and those that wait for their time; the rest is queued.
_DEAD, _SUCCEEDED, _CANCELLED, _SCHEDULED = 0.1, 0.15, 0.05, 0.1
_TARGET_MS = 50.0
_CALL = 500


def task(n: int, **fields: Any) -> NewTask:
    """One task of the mixture; one in a hundred thousand is of the type ``rare``."""
    kind = "rare" if n % 100_000 == 77_777 else f"type{n % _TYPES}"
    labels = {"shop": f"s{n % _SHOPS}", "order": str(n)}
    return NewTask(type=kind, payload=_PAYLOAD, sound=True, tenant=f"t{n % _TENANTS}", labels=labels, **fields)


async def submit(submitter: Submitter, first: int, count: int, **fields: Any) -> list[bytes]:
    """Submits ``count`` tasks; their ids."""
    ids: list[bytes] = []
    for at in range(first, first + count, 5000):
        batch = [
            task(n, lane=_LANES[n % 3].name, priority=n % 10, **fields)
            for n in range(at, min(at + 5000, first + count))
        ]
        for result in await submitter.submit_many(batch):
            if not isinstance(result, Receipt):
                raise result
            ids.append(result.id)
    return ids


async def fill(store: RedisStore, tasks: int) -> None:
    """Makes the queue: what ends first, then what waits."""
    submitter = Submitter(store)
    dead, succeeded, cancelled = (int(tasks * share) for share in (_DEAD, _SUCCEEDED, _CANCELLED))
    await submit(submitter, 0, dead + succeeded)
    inc, slots = new_incarnation(), _CALL
    await store.register(inc, "bench", "direct", slots, 0, 0)
    settled: list[Settlement] = []
    for request in range(1, (dead + succeeded) // slots + 2):
        if request % 20 == 1:
            await store.heartbeat(inc, 2, slots, 0, [])
        turn = await store.turn(inc, request, slots, settled)
        settled = []
        for n, claimed in enumerate(turn.tasks):
            failed = n % 5 < 2  # two of five: dead is 0.1 of 0.25
            error = msgspec.msgpack.encode(
                {
                    "kind": "TimeoutError",
                    "message": f"no answer from shop {n % 7} in 30 s",
                    "at": turn.now_ms,
                    "traceback": "Traceback (most recent call last):\n" + '  File "app.py", line 7, in f\n' * 20,
                }
            )
            if failed:
                settled.append(Settlement(Kind.DEAD, claimed.id, claimed.fence, data=error))
            else:
                settled.append(Settlement(Kind.COMPLETE, claimed.id, claimed.fence))
    await store.settle(inc, settled)
    await store.deregister(inc)
    first = dead + succeeded
    await store.cancel(await submit(submitter, first, cancelled))
    first += cancelled
    scheduled = int(tasks * _SCHEDULED)
    await submit(submitter, first, scheduled, delay=86_400.0)
    first += scheduled
    await submit(submitter, first, tasks - first)


class Figures:
    """Times of the answers of one kind of list."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.times: list[float] = []
        self.items = self.scanned = self.searches = 0
        self.search_s = self.gateway_cpu = self.redis_cpu = 0.0

    def at(self, share: float) -> float:
        """A quantile, in ms."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


async def redis_cpu(store: RedisStore) -> float:
    """Seconds of CPU that the redis-server has used."""
    info = await store._client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def measure(
    client: httpx.AsyncClient, store: RedisStore, name: str, query: dict[str, Any], requests: int, whole: bool
) -> Figures:
    """Asks for page after page; from the beginning again at the end. ``whole``: times a search to its end, too."""
    found, cursor = Figures(name), None
    used, cpu = await redis_cpu(store), time.process_time()
    began = time.perf_counter()
    while len(found.times) < requests or (whole and not found.searches):
        start = time.perf_counter()
        answer = await client.get(
            "/api/v1/queues/bench/tasks", params={**query, **({"cursor": cursor} if cursor else {})}
        )
        found.times.append(time.perf_counter() - start)
        answer.raise_for_status()
        page = answer.json()
        found.items += len(page["items"])
        found.scanned += page["scanned"]
        cursor = page["next"]
        if cursor is None:
            if whole and not found.searches:
                found.search_s = time.perf_counter() - began
            found.searches += 1
    found.gateway_cpu = time.process_time() - cpu
    found.redis_cpu = await redis_cpu(store) - used
    return found


def kinds(now: float, some_id: str) -> list[tuple[str, dict[str, Any], bool]]:
    """(name, query, whether to search to the end): every kind of list."""
    stamp = datetime.fromtimestamp(now, UTC).isoformat()
    return [
        ("all states", {}, False),
        ("queued, as they would run", {"state": "queued", "sort": "next"}, False),
        ("scheduled, by due time", {"state": "scheduled", "sort": "due"}, False),
        ("dead, newest first", {"state": "dead"}, False),
        ("dead, oldest first", {"state": "dead", "sort": "ended"}, False),
        ("all ended, merged by time", {"state": "dead,succeeded,cancelled,expired"}, False),
        ("200 at once", {"state": "succeeded", "limit": 200}, False),
        ("by type (1 in 20)", {"type": "type7"}, False),
        ("by lane", {"lane": "low"}, False),
        ("by tenant (1 in 200)", {"tenant": "t7"}, False),
        ("by label (1 in 50)", {"label": "shop:s7"}, False),
        ("by type and tenant and label", {"type": "type7", "tenant": "t7", "label": "shop:s7"}, False),
        ("by text of the error (1 in 7)", {"state": "dead", "error": "shop 3"}, False),
        ("by id", {"q": some_id}, False),
        ("by type, 1 in 100,000", {"type": "rare"}, True),
        ("by label, one of all", {"label": "order:424242"}, True),
        ("by text of no error", {"state": "dead", "error": "nobody said so"}, True),
        ("by type that there is not", {"type": "none"}, True),
        ("by how an id begins", {"q": some_id[:14]}, True),
        ("created before the first", {"createdTo": "2020-01-01T00:00:00Z"}, True),
        ("ended in the last second", {"endedFrom": stamp}, False),
    ]


async def run(url: str, tasks: int, requests: int, filled: bool) -> dict[str, Any]:
    """Fills, asks, prints."""
    store = RedisStore(url, "bench")
    if not filled:
        await store.configure(QueueConfig(lanes=_LANES, default_lane="default", keep=_KEEP), {}, expected="")
        began = time.perf_counter()
        await fill(store, tasks)
        print(f"filled in {time.perf_counter() - began:.0f} s")
    counts = (await store.stats()).counts
    print(f"{ {state: n for state, n in counts.items() if n} }", flush=True)
    some_id = id_text((await store.browse.page(Filter(), Sort.STATES, 1)).rows[0].id)
    app: Starlette = build_app({"bench": store})
    print(f"{'':34} {'ms':>7} {'':>7} {'':>7}    {'a page:':>6} {'':>8} {'ms of CPU':>15}    whole")
    head = f"{'list':34} {'p50':>7} {'p99':>7} {'most':>7}    {'items':>6} {'scanned':>8}"
    print(f"{head} {'gateway':>8} {'Redis':>6}    search", flush=True)
    result: dict[str, Any] = {"tasks": tasks, "lists": {}}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
        await measure(client, store, "warm", {}, 20, False)
        for name, query, whole in kinds(time.time() - 1, some_id):
            f = await measure(client, store, name, query, requests, whole)
            pages = len(f.times)
            search = f"{f.search_s:6.1f} s" if whole else ""
            gateway, redis = f.gateway_cpu / pages * 1000, f.redis_cpu / pages * 1000
            print(
                f"{name:34} {f.at(0.5):7.1f} {f.at(0.99):7.1f} {f.at(1):7.1f}    {f.items / pages:6.1f} "
                f"{f.scanned / pages:8.0f} {gateway:8.1f} {redis:6.1f}    {search}",
                flush=True,
            )
            result["lists"][name] = {
                "p50_ms": f.at(0.5), "p99_ms": f.at(0.99), "most_ms": f.at(1), "search_s": f.search_s,
                "gateway_cpu_ms": gateway, "redis_cpu_ms": redis, "items": f.items / pages,
                "scanned": f.scanned / pages,
            }  # fmt: skip
    await store.close()
    slow = [name for name, figures in result["lists"].items() if figures["p99_ms"] > _TARGET_MS]
    print(f"over {_TARGET_MS:.0f} ms at p99: {', '.join(slow) or 'none'}")
    return result


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=200, help="answers timed of each kind of list")
    parser.add_argument("--redis", help="the URL of a redis-server to use")
    parser.add_argument("--filled", action="store_true", help="an earlier run has filled it")
    args = parser.parse_args()
    if args.redis:
        print(json.dumps(uvloop.run(run(args.redis, args.tasks, args.requests, args.filled))))
        return
    server = EmbeddedRedis()
    server.start()
    try:
        print(json.dumps(uvloop.run(run(server.url, args.tasks, args.requests, False))))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
