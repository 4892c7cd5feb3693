"""Where the time of a task goes: microseconds per task in each script (Redis) beside what its bare commands cost there.

``python benchmarks/stages.py [--batch 100] [--rounds 60] [--tenants 0] [--depth 0] [--json]``

Scripts run on a real Redis with an append-only file, with batches as a busy worker has them. Each figure is the
smallest of all rounds: what else the machine does only ever adds to it. The floor is one script that gives the same
commands with the same arguments, ready made, and decides nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import redis.asyncio
from rich.console import Console
from rich.table import Table

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import new_incarnation, new_task_ids
from laneway.model.config import Keep, Kept, LaneConfig, QueueConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind, Settlement
from servers.redis import RedisServer, find_redis7, find_redis62

_PAYLOAD = 100
_FILL = 500


def _envelope(tenant: str = "") -> bytes:
    return encode_envelope(Envelope(1, 4, 0, tenant, Body("noop", bytes(_PAYLOAD))))


_ENVELOPE = _envelope()

#: Per task: the commands of a stage, as the floor gives them. K: keys; I: an id; E: an envelope; R: a record.
_FLOOR = """
local call, n = redis.call, tonumber(ARGV[1])
local ids, envelopes, records, members, scores = {}, {}, {}, {}, {}
for i = 1, n do
  local id = ARGV[1 + i]
  ids[i] = id
  envelopes[2 * i - 1], envelopes[2 * i] = id, ARGV[n + 2]
  records[2 * i - 1], records[2 * i] = id, ARGV[n + 3]
  members[2 * i - 1], members[2 * i] = '0', 'incarnat' .. id
  scores[2 * i - 1], scores[2 * i] = ARGV[n + 4], id
end
local held = {}
for i = 1, n do held[i] = members[2 * i] end
local what = ARGV[n + 5]
if what == 'submit' then
  call('HMGET', KEYS[1], unpack(ids))
  call('XADD', KEYS[6], '*', 'i', ARGV[n + 6])
  call('ZADD', KEYS[3], unpack(scores))
  call('HSET', KEYS[1], unpack(envelopes))
elseif what == 'claim' or what == 'dispatch' then
  local page = call('ZRANGE', KEYS[3], 0, n - 1, 'WITHSCORES')
  local raws = call('HMGET', KEYS[1], unpack(ids))
  call('HMGET', KEYS[2], unpack(ids))
  call('HSET', KEYS[2], unpack(records))
  call('ZADD', KEYS[4], unpack(members))
  if what == 'dispatch' then call('ZADD', KEYS[7], unpack(scores)) end
  call('ZREM', KEYS[3], unpack(ids))
  return raws
elseif what == 'start' then
  call('HMGET', KEYS[2], unpack(ids))
  call('HSET', KEYS[2], unpack(records))
  call('ZREM', KEYS[7], unpack(ids))
elseif what == 'settle' then
  call('HMGET', KEYS[2], unpack(ids))
  call('XADD', KEYS[6], '*', 'i', ARGV[n + 6])
  call('HSET', KEYS[2], unpack(records))
  call('ZADD', KEYS[5], unpack(scores))
  call('ZREM', KEYS[4], unpack(held))
elseif what == 'forget' then
  call('HDEL', KEYS[2], unpack(ids))
  call('ZREM', KEYS[5], unpack(ids))
  call('HDEL', KEYS[1], unpack(ids))
end
return 'ok'
"""
_FLOOR_KEYS = ["tasks", "records", "lane", "held", "done", "outbox", "dispatched"]


class Meter:
    """Microseconds that Redis spends in scripts, per task, by stage."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self.least: dict[str, float] = defaultdict(lambda: float("inf"))

    async def _spent(self) -> int:
        stats = await self._client.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("usec", 0)) for name in ("evalsha", "eval"))

    async def __call__(self, stage: str, tasks: int, work: Callable[[], Awaitable[Any]]) -> Any:
        before = await self._spent()
        result = await work()
        if stage != "forget" or result[0] == tasks:  # (what is kept for a moment is not forgotten yet)
            self.least[stage] = min(self.least[stage], (await self._spent() - before) / tasks)
        return result


async def scripts(url: str, batch: int, rounds: int, mode: str, tenants: int, depth: int) -> dict[str, float]:
    """What the scripts cost with the source ``mode``, when tasks belong to so many tenants in turn (0: to none) and
    ``depth`` others are queued."""
    envelopes = [_envelope(f"tenant-{i}") for i in range(tenants)] or [_ENVELOPE]
    client = redis.asyncio.Redis.from_url(url)
    await client.flushall()
    store, meter = RedisStore(url, f"stages-{mode}"), Meter(client)
    lanes = (LaneConfig(n=1, name="default"),)
    config = QueueConfig(lanes=lanes, keep=Kept(ended=Keep(n=10 * batch, ms=3_600_000)), keep_least_ms=0)
    await store.configure(config, {}, expected=None)
    inc, request = new_incarnation(), 1
    await store.register(inc, "stages", mode, batch, batch, 1 if mode == "kafka" else 0)
    await store.heartbeat(inc, 2, batch, batch, ())
    settled: list[Settlement] = []
    for ids in _batches(depth):
        await store.submit([(id_, _ENVELOPE) for id_ in ids])
        entries, gap = await store.outbox(100)
        await store.lease_relay("stages", 5_000)
        await store.relayed("stages", entries, gap)
    for i in range(rounds):
        new = [(id_, envelopes[(i * batch + n) % len(envelopes)]) for n, id_ in enumerate(new_task_ids(batch))]
        await meter("submit", batch, lambda new=new: store.submit(new))
    for _ in range(rounds):
        await store.heartbeat(inc, 2, batch, batch, [one.id for one in settled])
        if mode == "direct":
            # Settles the last batch and claims the next; alone, for the claim to be seen apart, each second time.
            work = lambda r=request, s=tuple(settled): store.turn(inc, r, batch, s)  # noqa: E731
            got = await meter("turn" if settled else "claim", batch, work)
            request += 1
            tasks = list(got.tasks)
        else:
            sent = await meter("dispatch", batch, lambda: store.dispatch(batch))
            tasks = [task for _, _, task in sent.tasks]
            await meter("start", batch, lambda t=tasks: store.start(inc, [(one.id, one.fence) for one in t]))
        if len(tasks) != batch:
            raise SystemExit(f"{mode}: {len(tasks)} tasks came where {batch} were expected")
        settled = [Settlement(Kind.COMPLETE, one.id, one.fence) for one in tasks]
        if mode == "kafka" or request % 4 == 0:
            await meter("settle", batch, lambda s=tuple(settled): store.settle(inc, s))
            settled = []
        entries, gap = await store.outbox(100)
        await store.lease_relay("stages", 5_000)
        await store.relayed("stages", entries, gap)
        await meter("forget", batch, lambda: store.trim(batch))
    await store.close()
    await client.aclose()
    return dict(meter.least)


def _batches(depth: int) -> Iterator[list[bytes]]:
    """New ids for ``depth`` tasks, some hundreds at a time."""
    for at in range(0, depth, _FILL):
        yield new_task_ids(min(_FILL, depth - at))


async def floors(url: str, batch: int, rounds: int, depth: int) -> dict[str, float]:
    """What the bare commands cost, with ``depth`` other tasks in the lane and the hash of tasks."""
    client = redis.asyncio.Redis.from_url(url)
    await client.flushall()
    meter, keys = Meter(client), [f"{{floor}}:{name}" for name in _FLOOR_KEYS]
    sha = await client.script_load(_FLOOR)
    record, event = bytes(51), bytes(17 * batch)
    all_ids = [new_task_ids(batch) for _ in range(rounds)]
    at = 0.0

    def args(ids: list[bytes], what: str) -> list[Any]:
        nonlocal at
        at += 1
        return [len(ids), *ids, b"123456" + _ENVELOPE, record, f"{at:.0f}", what, event]

    async def fill() -> None:
        for ids in _batches(depth):
            await client.evalsha(sha, len(keys), *keys, *args(ids, "submit"))
            await client.delete(keys[5])

    await fill()
    for ids in all_ids:
        await meter("submit", batch, lambda i=ids: client.evalsha(sha, len(keys), *keys, *args(i, "submit")))
    for ids in all_ids:
        for what in ("dispatch", "start", "settle", "forget"):
            await meter(
                f"{what} " if what == "forget" else what,
                batch,
                lambda i=ids, w=what: client.evalsha(sha, len(keys), *keys, *args(i, w)),
            )
        await client.delete(keys[5])
    await client.flushall()
    await fill()
    for ids in all_ids:
        await client.evalsha(sha, len(keys), *keys, *args(ids, "submit"))
    for ids in all_ids:
        await meter("claim", batch, lambda i=ids: client.evalsha(sha, len(keys), *keys, *args(i, "claim")))
        await client.delete(keys[5])
    meter.least["forget"] = meter.least.pop("forget ")
    meter.least["turn"] = meter.least["claim"] + meter.least["settle"]
    await client.aclose()
    return dict(meter.least)


async def _measure(batch: int, rounds: int, tenants: int, depth: int) -> dict[str, dict[str, float]]:
    binary = find_redis7() or find_redis62()
    if binary is None:
        raise SystemExit("no redis-server here: apt-get install redis-server, or pip install 'laneway[embedded]'")
    with RedisServer(binary) as server:
        found = await scripts(server.url, batch, rounds, "direct", tenants, depth)
        kafka = await scripts(server.url, batch, rounds, "kafka", tenants, depth)
        found |= {name: least for name, least in kafka.items() if name not in found}
        floor = await floors(server.url, batch, rounds, depth)
    return {name: {"us": round(found[name], 2), "floor_us": round(floor.get(name, 0.0), 2)} for name in found}


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=100, help="tasks in one call (default 100)")
    parser.add_argument("--rounds", type=int, default=60, help="calls of each kind (default 60)")
    parser.add_argument("--tenants", type=int, default=0, help="whose tasks come in turn (default 0: nobody's)")
    parser.add_argument("--depth", type=int, default=0, help="other tasks that are queued (default 0)")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    found = asyncio.run(_measure(options.batch, options.rounds, options.tenants, options.depth))
    asked = {"batch": options.batch, "tenants": options.tenants, "depth": options.depth}
    if not options.json:
        table = Table("script", "us per task", "its bare commands", "what deciding costs")
        for name, row in found.items():
            table.add_row(name, f"{row['us']:.2f}", f"{row['floor_us']:.2f}", f"{row['us'] - row['floor_us']:.2f}")
        Console(stderr=True).print(table)
    sys.stdout.write(json.dumps(asked | {"scripts": found}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
