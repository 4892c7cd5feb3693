"""SAQ on Redis: async client and handlers."""

import asyncio
import os

import handlers
import uvloop
from producer import PAD, gathered, serve
from saq import Queue

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
RECOVERY = os.environ["PEER_PLAN"] == "recovery"
# ttl -1: a job leaves nothing behind when it ends. retries 2 and a heartbeat: only so does the sweep take it up again.
OPTIONS = {"ttl": -1, "timeout": 0, **({"retries": 2, "heartbeat": 5} if RECOVERY else {})}

queue = Queue.from_url(os.environ["PEER_REDIS"], max_concurrent_ops=100)


async def noop(ctx: object, *, n: int, pad: str) -> None:
    """SAQ gives a context first."""
    await handlers.noop(n, pad)


async def nap(ctx: object, *, n: int, pad: str) -> None:
    """SAQ gives a context first."""
    await handlers.nap(n, pad)


async def hold(ctx: dict, *, n: int, pad: str) -> None:
    """SAQ gives a context first; a job with a heartbeat has to say that it lives."""
    held = asyncio.create_task(handlers.hold(n, pad))
    while not held.done():
        await asyncio.wait([held], timeout=2)
        await ctx["job"].update()


settings = {
    "queue": queue,
    "functions": [noop, nap, hold],
    "concurrency": int(os.environ.get("PEER_SLOTS", "10")),
    "timers": {"sweep": 5} if RECOVERY else {},
}


class SaqProducer:
    """There is one queue to a worker, and no bulk call: ``enqueue`` is safe for many at once."""

    async def open(self) -> None:
        await queue.connect()

    async def one(self, kind: str, n: int, to: str) -> None:
        await queue.enqueue(kind, n=n, pad=PAD, **OPTIONS)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        await gathered(self, kind, tasks)


if __name__ == "__main__":
    serve(SaqProducer())
