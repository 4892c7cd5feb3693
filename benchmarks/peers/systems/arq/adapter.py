"""arq: async client and handlers."""

import asyncio
import os

import handlers
import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func
from producer import PAD, gathered, serve

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
RECOVERY = os.environ["PEER_PLAN"] == "recovery"
REDIS = RedisSettings.from_dsn(os.environ["PEER_REDIS"])


async def noop(ctx: object, n: int, pad: str) -> None:
    """arq gives a context first."""
    await handlers.noop(n, pad)


async def nap(ctx: object, n: int, pad: str) -> None:
    """arq gives a context first."""
    await handlers.nap(n, pad)


async def hold(ctx: object, n: int, pad: str) -> None:
    """arq gives a context first."""
    await handlers.hold(n, pad)


class WorkerSettings:
    """What ``arq adapter.WorkerSettings`` runs."""

    redis_settings = REDIS
    functions = [func(f, keep_result=0) for f in (noop, nap, hold)]  # noqa: RUF012  # arq reads a plain list
    max_jobs = int(os.environ.get("PEER_SLOTS", "10"))
    poll_delay = 0.5 if RECOVERY else 0.01
    log_results = False
    # A killed worker's job is free again after its time-out and 10 s more.
    job_timeout = 20 if RECOVERY else 300


class ArqProducer:
    """There is one queue to a worker, and no bulk call."""

    async def open(self) -> None:
        self._pool = await create_pool(REDIS)

    async def one(self, kind: str, n: int, to: str) -> None:
        await self._pool.enqueue_job(kind, n, PAD)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        await gathered(self, kind, tasks)


if __name__ == "__main__":
    serve(ArqProducer())
