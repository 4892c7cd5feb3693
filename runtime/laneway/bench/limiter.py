"""Limiter: what rate limits cost a submission, and whether they let through exactly what they should."""

from __future__ import annotations

import copy
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from laneway.adapters.redis import RedisStore
from laneway.bench import app as bench_app
from laneway.bench.bucket import ExactBucket
from laneway.bench.crew import BenchFailed
from laneway.bench.figures import percentile
from laneway.bench.ground import LANE, NAMESPACE, Ground, redis_time_us, wipe
from laneway.bench.settings import setting
from laneway.errors import RateLimited
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig
from laneway.submit import Submitter

_FREELY = 1e9  # a limit that is counted and never reached


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    pairs: int = setting(5_000, 20, 200_000, "tasks submitted to both of two queues that are compared")
    rate: float = setting(1_000.0, 1, 100_000, "tokens per second of the bucket that is checked")
    burst: float = setting(100.0, 1, 100_000, "what that bucket holds at most")
    seconds: float = setting(4.0, 0.2, 60, "how long that bucket is submitted to as fast as it goes")


async def measure(ground: Ground, settings: Settings) -> dict[str, Any]:
    """Two queues on one Redis, one with limits of queue, lane and tenant: each task goes to both, one right after
    the other, in turns which comes first. What is compared is the time that Redis spends in the script, read from
    its own statistics around each call; clients do the same for both. The percentiles are of all differences within
    a pair, so they include what disturbed one of the two.

    Then a third queue with one bucket is submitted to as fast as one client can, and each answer is judged by an
    exact bucket and the time of Redis before and after it.
    """
    async with AsyncExitStack() as stack:

        async def queue(name: str, config: QueueConfig) -> Submitter:
            store = RedisStore(ground.url, f"{ground.queue}-{name}", namespace=NAMESPACE)
            stack.push_async_callback(store.close)
            stack.push_async_callback(wipe, ground.redis, store)
            await store.configure(config, {}, expected=None)
            return Submitter(store)

        plain = await queue("plain", QueueConfig())
        limited = await queue(
            "limited",
            QueueConfig(
                lanes=(LaneConfig(n=1, name="default", rate=_FREELY, burst=_FREELY),),
                tenant=TenantConfig(rate=_FREELY, burst=_FREELY),
                rate=_FREELY,
                burst=_FREELY,
            ),
        )
        bucket = await queue("bucket", QueueConfig(lanes=(LANE,), rate=settings.rate, burst=settings.burst))
        compared = await _compare(ground, limited, plain, settings.pairs)
        exact = await _judge(ground, bucket, settings)
    added = [a - b for a, b in zip(compared.limited, compared.plain, strict=True)]

    return {
        "pairs": len(added),
        "pairs_left_out": compared.left_out,
        "p50_us": percentile(added, 50),
        "p99_us": percentile(added, 99),
        "limited_p50_us": percentile(compared.limited, 50),
        "limited_p99_us": percentile(compared.limited, 99),
        "plain_p50_us": percentile(compared.plain, 50),
        "plain_p99_us": percentile(compared.plain, 99),
        "rate": settings.rate,
        "burst": settings.burst,
        "allowed": exact.allowed,
        "refused": exact.refused,
        "wrongly_allowed": exact.wrongly_allowed,
        "wrongly_refused": exact.wrongly_refused,
        "error": exact.error,
    }


@dataclass(slots=True)
class _Compared:
    """Script times of pairs (us). A pair is left out when somebody else ran a script in between."""

    limited: list[int] = field(default_factory=list)
    plain: list[int] = field(default_factory=list)
    left_out: int = 0


async def _compare(ground: Ground, limited: Submitter, plain: Submitter, pairs: int) -> _Compared:
    compared = _Compared()
    warm_up = min(200, pairs)
    before = await _script_time(ground)
    for i in range(-warm_up, pairs):
        n = i + warm_up
        new = bench_app.noop.options(tenant="tenant").call(n=n, pad=bench_app.pad_for(n)).new
        took: dict[Submitter, int] = {}
        alone = True
        for submitter in (limited, plain) if i % 2 else (plain, limited):
            await submitter.submit(copy.copy(new))
            after = await _script_time(ground)
            took[submitter] = after[1] - before[1]
            alone = alone and after[0] - before[0] == 1
            before = after
        if i >= 0 and alone:
            compared.limited.append(took[limited])
            compared.plain.append(took[plain])
        elif i >= 0:
            compared.left_out += 1
        if i % 250 == 0:
            ground.say("pairs of submissions", max(i, 0), pairs)
    if not compared.plain:
        raise BenchFailed("other clients run scripts on this Redis all the time: give the bench one of its own")
    return compared


async def _script_time(ground: Ground) -> tuple[int, int]:
    """How many scripts this Redis has run, and for how many us in all."""
    stats = (await ground.redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return int(stats["calls"]), int(stats["usec"])


async def _judge(ground: Ground, submitter: Submitter, settings: Settings) -> ExactBucket:
    exact = ExactBucket(settings.rate, settings.burst)
    end = time.monotonic() + settings.seconds
    before = await redis_time_us(ground.redis)
    n = 0
    while time.monotonic() < end:
        try:
            await submitter.submit(bench_app.blank.call(pad=bench_app.BLANK_PAD).new)
            allowed = True
        except RateLimited:
            allowed = False
        after = await redis_time_us(ground.redis)
        exact.judge(before, after, allowed)
        before = after
        n += 1
        if n % 500 == 0:
            ground.say("one bucket, as fast as it goes", 0, 0)
    return exact
